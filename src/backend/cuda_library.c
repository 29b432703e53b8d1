// SPDX-License-Identifier: MIT
// Finds and loads the CUDA backend.
#include "backend/cuda_library.h"

#include <dlfcn.h>
#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Seen from the folder of librill.so or of the running program: installed beside the one, under the
// same prefix as the other; and in a build folder, for librill, the command, and the tests.
static const char *const places[] = {"", "../lib/", "backend/cuda/", "../backend/cuda/",
                                     "../../src/backend/cuda/"};
enum { N_PLACES = sizeof places / sizeof *places, PATH_BYTES = 1500 };

// On the stack: "auto" may not fail where it only looks, not even for want of memory.
typedef struct library {
    void *handle;
    char path[PATH_BYTES];  // where it was found, for messages
} library;

// Never unloaded: the runtime in it has threads and handlers that end with the process.
static void *load(const char *path) {
    return dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}

// The loader maps what the file says it has, and dies of a copy that was cut short: its table of
// sections stands at the end (ELF-64). What cannot be looked at is the loader's to refuse.
static bool is_cut_short(const char *path) {
    Elf64_Ehdr head;
    FILE *file = fopen(path, "rb");
    if (!file) return false;
    bool elf = fread(&head, sizeof head, 1, file) == 1 &&
               memcmp(head.e_ident, ELFMAG, SELFMAG) == 0 && head.e_ident[EI_CLASS] == ELFCLASS64;
    off_t size = fseeko(file, 0, SEEK_END) == 0 ? ftello(file) : 0;
    (void)fclose(file);
    uint64_t end = head.e_shoff + (uint64_t)head.e_shnum * head.e_shentsize;
    return elf && (end < head.e_shoff || end > (uint64_t)size);
}

static rill_status refuse_cut(const char *path, rill_error *err) {
    return rill__fail(err, RILL_EUNSUPPORTED,
                      "device: cuda: %s: is cut short: copy or install the whole %s", path,
                      RILL_CUDA_LIBRARY);
}

// A file that is there is the one that is meant: if it cannot be loaded, that is said.
static bool find_beside(library *lib, const char *file) {
    const char *slash = strrchr(file, '/');
    if (file[0] != '/') return false;
    for (size_t i = 0; i < N_PLACES; i++) {
        int n = snprintf(lib->path, sizeof lib->path, "%.*s/%s%s", (int)(slash - file), file,
                         places[i], RILL_CUDA_LIBRARY);
        if (n < PATH_BYTES && access(lib->path, R_OK) == 0) return true;
    }
    return false;
}

static bool find_beside_program(library *lib) {
    char program[PATH_BYTES];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length <= 0) return false;
    program[length] = 0;
    return find_beside(lib, program);
}

// Where this code is: a librill.so tells where it was loaded from; a program, how it was called.
static bool find_beside_librill(library *lib) {
    Dl_info info;
    static const char here;
    return dladdr(&here, &info) && info.dli_fname && find_beside(lib, info.dli_fname);
}

static rill_status find(library *lib, rill_error *err) {
    const char *chosen = getenv("RILL_CUDA_LIBRARY");
    if (chosen && *chosen) {
        // A name without a slash is the loader's to find, unless there is such a file.
        bool here = !strchr(chosen, '/') && access(chosen, R_OK) == 0;
        snprintf(lib->path, sizeof lib->path, "%s%s", here ? "./" : "", chosen);
        if (is_cut_short(lib->path)) return refuse_cut(lib->path, err);
        lib->handle = load(lib->path);
        if (lib->handle) return RILL_OK;
        return rill__fail(err, RILL_EUNSUPPORTED,
                          "device: cuda: RILL_CUDA_LIBRARY: %s; the path of a %s is right",
                          dlerror(), RILL_CUDA_LIBRARY);
    }
    if (find_beside_librill(lib) || find_beside_program(lib)) {
        if (is_cut_short(lib->path)) return refuse_cut(lib->path, err);
        lib->handle = load(lib->path);
        if (lib->handle) return RILL_OK;
        return rill__fail(err, RILL_EUNSUPPORTED, "device: cuda: %s", dlerror());
    }
    snprintf(lib->path, sizeof lib->path, "%s", RILL_CUDA_LIBRARY);
    lib->handle = load(lib->path);
    if (lib->handle) return RILL_OK;
    return rill__fail(err, RILL_EUNSUPPORTED,
                      "device: cuda: no %s: neither beside this program or librill, nor where the "
                      "system's loader looks; it comes with a build that finds nvcc, and "
                      "RILL_CUDA_LIBRARY may name it",
                      RILL_CUDA_LIBRARY);
}

// What ISO C has no cast for, POSIX promises: the address of a function in a void *.
static bool find_function(const library *lib, const char *name, void *out, rill_error *err) {
    void *address = dlsym(lib->handle, name);
    if (address)
        memcpy(out, &address, sizeof address);
    else
        (void)rill__fail(err, RILL_EUNSUPPORTED,
                         "device: cuda: %s: has no %s: is it the %s of this rill?", lib->path, name,
                         RILL_CUDA_LIBRARY);
    return address != NULL;
}

static rill_status open_through(const library *lib, const rill_device_options *options, int device,
                                rill__backend **out, rill_error *err) {
    rill__cuda_version_function *version = NULL;
    rill__cuda_open_function *open = NULL;
    if (!find_function(lib, RILL_CUDA_VERSION_SYMBOL, &version, err) ||
        !find_function(lib, RILL_CUDA_OPEN_SYMBOL, &open, err))
        return RILL_EUNSUPPORTED;
    char right[RILL_CUDA_VERSION_BYTES];
    rill__cuda_library_version(RILL_VERSION, right);
    if (strcmp(version(), right) != 0)
        return rill__fail(err, RILL_EUNSUPPORTED,
                          "device: cuda: %s: is of version %.60s; %s is right: build both together",
                          lib->path, version(), right);
    return open(options, device, out, err);
}

rill_status rill__cuda_library_open(const rill_device_options *options, int device,
                                    rill__backend **out, rill_error *err) {
    library lib = {0};
    rill_status status = find(&lib, err);
    if (status != RILL_OK) return status;
    status = open_through(&lib, options, device, out, err);
    dlclose(lib.handle);
    return status;
}
