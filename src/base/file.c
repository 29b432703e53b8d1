// SPDX-License-Identifier: MIT
// Files: mapping, reading, and writing through a temporary file that is renamed at the end.
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static rill_status fail_system(rill_error *err, const char *path, const char *what) {
    int code = errno;
    return rill__fail(err, code == ENOMEM ? RILL_ENOMEM : RILL_EIO, "%s: %s: %s", path, what,
                      strerror(code));
}

rill_status rill__mapping_open(const char *path, rill__mapping *out, rill_error *err) {
    *out = (rill__mapping){0};
    // Without O_NONBLOCK a pipe with no writer would hang here.
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return fail_system(err, path, "cannot open");
    struct stat info;
    rill_status status = RILL_OK;
    if (fstat(fd, &info) != 0) {
        status = fail_system(err, path, "cannot look at");
    } else if (!S_ISREG(info.st_mode)) {
        status = rill__fail(err, RILL_EIO, "%s: %s, but a file is right", path,
                            S_ISDIR(info.st_mode) ? "a directory" : "not a regular file");
    } else if (info.st_size > 0) {
        void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (data == MAP_FAILED)
            status = fail_system(err, path, "cannot map");
        else
            *out = (rill__mapping){.data = data, .size = (size_t)info.st_size};
    }
    close(fd);
    return status;
}

void rill__mapping_rest(const rill__mapping *m) {
    if (m->data) (void)madvise((void *)(uintptr_t)m->data, m->size, MADV_DONTNEED);
}

void rill__mapping_touch(const void *at, size_t bytes) {
    enum { POPULATE_READ = 22 };  // MADV_POPULATE_READ, which older headers lack
    size_t before = (uintptr_t)at % (size_t)sysconf(_SC_PAGESIZE);
    (void)madvise((void *)((uintptr_t)at - before), bytes + before, POPULATE_READ);
}

void rill__mapping_close(rill__mapping *m) {
    if (m->data) munmap((void *)(uintptr_t)m->data, m->size);
    *m = (rill__mapping){0};
}

static rill_status fail_length(rill_error *err, const char *path, size_t ceiling) {
    return rill__fail(err, RILL_EFORMAT, "%s: longer than %zu bytes, the most that is right", path,
                      ceiling);
}

static ssize_t read_some(int fd, char *to, size_t n) {
    ssize_t got;
    do got = read(fd, to, n);
    while (got < 0 && errno == EINTR);
    return got;
}

// Reads fd to its end into memory of `capacity` bytes that doubles where that is not enough.
static rill_status read_to_end(int fd, const char *path, size_t capacity, size_t ceiling,
                               char **out, size_t *length, rill_error *err) {
    size_t n = 0;
    char *data = rill__malloc(capacity + 1);
    while (data) {
        ssize_t got = read_some(fd, data + n, capacity - n);
        if (got < 0) {
            rill_status status = fail_system(err, path, "cannot read");
            rill__free(data);
            return status;
        }
        if (got == 0) {
            data[n] = '\0';
            *out = data;
            *length = n;
            return RILL_OK;
        }
        n += (size_t)got;
        if (n > ceiling) {
            rill__free(data);
            return fail_length(err, path, ceiling);
        }
        if (n == capacity) {
            capacity *= 2;
            char *grown = rill__realloc(data, capacity + 1);
            if (!grown) rill__free(data);
            data = grown;
        }
    }
    return rill__fail_memory(err, path, capacity);
}

rill_status rill__file_read(const char *path, size_t ceiling, char **out, size_t *length,
                            rill_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail_system(err, path, "cannot open");
    struct stat info;
    rill_status status;
    size_t capacity = 4096;
    bool regular = fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
    if (regular && (uint64_t)info.st_size > ceiling) {
        status = fail_length(err, path, ceiling);
    } else {
        if (regular && (size_t)info.st_size >= capacity)
            capacity = (size_t)info.st_size + 1;  // the last read finds the end
        status = read_to_end(fd, path, capacity, ceiling, out, length, err);
    }
    close(fd);
    return status;
}

bool rill__file_exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0;
}

bool rill__directory_exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool rill__file_begins_otherwise(const char *path, const void *bytes, size_t n) {
    char first[64];
    struct stat what;
    if (stat(path, &what) != 0 || !S_ISREG(what.st_mode) || what.st_size == 0) return false;
    FILE *file = fopen(path, "rb");
    if (!file) return false;
    bool same = fread(first, 1, n, file) == n && memcmp(first, bytes, n) == 0;
    (void)fclose(file);
    return !same;
}

bool rill__same_file(const char *a, const char *b) {
    struct stat one, other;
    return stat(a, &one) == 0 && stat(b, &other) == 0 && one.st_dev == other.st_dev &&
           one.st_ino == other.st_ino;
}

char *rill__path_join(const char *directory, const char *name) {
    size_t a = strlen(directory), b = strlen(name);
    char *path = rill__malloc(a + b + 2);
    if (path)
        snprintf(path, a + b + 2, "%s%s%s", directory, a && directory[a - 1] == '/' ? "" : "/",
                 name);
    return path;
}

enum {
    WRITER_BUFFER = 1 << 18,
    MAX_LINKS = 40,   // as the kernel's own limit
    MAX_NAMES = 100,  // tries at a name that nobody has taken
};

struct rill__file_writer {
    char *path;       // where it shall appear: links followed
    char *directory;  // of path
    char *temporary;  // what is written, in directory; NULL when writing into something that is no
                      // file, or has no name
    int fd;
    bool failed;  // a write failed: the content is incomplete
    uint64_t offset;
    size_t buffered;
    char buffer[WRITER_BUFFER];
};

// The directory part of a path, the caller's; NULL: out of memory.
static char *directory_of(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash) return rill__strdup(".");
    return rill__strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

// Where a symbolic link leads, which need not exist yet; NULL with errno.
static char *link_target(const char *path) {
    char target[PATH_MAX];
    ssize_t n = readlink(path, target, sizeof target - 1);
    if (n < 0) return NULL;
    target[n] = '\0';
    if (target[0] == '/') return rill__strdup(target);
    char *directory = directory_of(path);
    char *joined = directory ? rill__path_join(directory, target) : NULL;
    rill__free(directory);
    return joined;
}

// The file that `path` names, links followed, also a link to what is not there yet; NULL: out of
// memory.
static char *final_path(const char *path) {
    char *at = rill__strdup(path);
    struct stat info;
    for (int i = 0; at && i < MAX_LINKS && lstat(at, &info) == 0 && S_ISLNK(info.st_mode); i++) {
        char *next = link_target(at);
        rill__free(at);
        at = next;
    }
    return at;
}

// Opens a new file of a name that nobody has, with the mode that a plain open would give; what a
// killed process left behind is in nobody's way.
static rill_status open_temporary(rill__file_writer *w, rill_error *err) {
    size_t size = strlen(w->directory) + sizeof "/.rill-0123456789abcdef";
    w->temporary = rill__malloc(size);
    if (!w->temporary) return rill__fail_memory(err, "a path", size);
    for (int i = 0; i < MAX_NAMES && w->fd < 0; i++) {
        uint64_t name;
        if (getrandom(&name, sizeof name, 0) != (ssize_t)sizeof name) break;
        snprintf(w->temporary, size, "%s/.rill-%016" PRIx64, w->directory, name);
        w->fd = open(w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (w->fd < 0 && errno != EEXIST) break;
    }
    if (w->fd < 0) {
        rill_status status = fail_system(err, w->path, "cannot write a file beside it");
        rill__free(w->temporary);
        w->temporary = NULL;
        return status;
    }
    struct stat old;
    if (stat(w->path, &old) == 0 && fchmod(w->fd, old.st_mode & 07777) != 0)
        return fail_system(err, w->path, "cannot give the new file its mode");
    return RILL_OK;
}

// Whether what is at path is written in its place: no file, or one without a name
// (/proc/self/fd/N of a temporary one), which has no place to be renamed to.
static bool is_written_straight(const char *path, struct stat *info) {
    return stat(path, info) == 0 && (!S_ISREG(info->st_mode) || info->st_nlink == 0);
}

static rill_status open_target(rill__file_writer *w, const char *path, rill_error *err) {
    struct stat info;
    bool straight = is_written_straight(path, &info);
    w->path = straight ? rill__strdup(path) : final_path(path);
    w->directory = w->path ? directory_of(w->path) : NULL;
    if (!w->directory) return rill__fail_memory(err, "a path", strlen(path));
    if (!straight) return open_temporary(w, err);
    w->fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    return w->fd < 0 ? fail_system(err, path, "cannot write") : RILL_OK;
}

rill_status rill__writer_open(const char *path, rill__file_writer **out, rill_error *err) {
    rill__file_writer *w = rill__malloc(sizeof *w);
    if (!w) return rill__fail_memory(err, "a file's buffer", sizeof *w);
    w->path = w->directory = w->temporary = NULL;
    w->fd = -1;
    w->failed = false;
    w->offset = w->buffered = 0;
    rill_status status = open_target(w, path, err);
    if (status != RILL_OK)
        rill__writer_discard(&w);
    else
        *out = w;
    return status;
}

static rill_status write_out(rill__file_writer *w, const char *data, size_t bytes,
                             rill_error *err) {
    while (bytes > 0) {
        ssize_t n = write(w->fd, data, bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            w->failed = true;
            return fail_system(err, w->path, "cannot write");
        }
        data += n;
        bytes -= (size_t)n;
    }
    return RILL_OK;
}

static rill_status flush_buffer(rill__file_writer *w, rill_error *err) {
    rill_status status = write_out(w, w->buffer, w->buffered, err);
    w->buffered = 0;
    return status;
}

rill_status rill__writer_write(rill__file_writer *w, const void *data, size_t bytes,
                               rill_error *err) {
    rill_status status = RILL_OK;
    if (bytes > WRITER_BUFFER - w->buffered) status = flush_buffer(w, err);
    if (status == RILL_OK && bytes > WRITER_BUFFER) {
        status = write_out(w, data, bytes, err);
    } else if (status == RILL_OK && bytes > 0) {
        memcpy(w->buffer + w->buffered, data, bytes);
        w->buffered += bytes;
    }
    w->offset += bytes;
    return status;
}

uint64_t rill__writer_offset(const rill__file_writer *w) {
    return w->offset;
}

// Makes the renaming itself durable. The new file is in place already, and some file systems cannot
// sync a directory: a failure is not reported.
static void sync_directory(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
}

// Puts the finished temporary file in the place of path.
static rill_status move_into_place(rill__file_writer *w, rill_error *err) {
    if (fsync(w->fd) != 0) return fail_system(err, w->path, "cannot sync");
    if (rename(w->temporary, w->path) != 0)
        return fail_system(err, w->path, "cannot put the new file there");
    rill__free(w->temporary);
    w->temporary = NULL;
    sync_directory(w->directory);
    return RILL_OK;
}

rill_status rill__writer_commit(rill__file_writer **writer, rill_error *err) {
    rill__file_writer *w = *writer;
    rill_status status;
    if (w->failed)
        status = rill__fail(err, RILL_EIO, "%s: an earlier write failed", w->path);
    else
        status = flush_buffer(w, err);
    if (status == RILL_OK && w->temporary) status = move_into_place(w, err);
    rill__writer_discard(writer);
    return status;
}

void rill__writer_discard(rill__file_writer **writer) {
    rill__file_writer *w = *writer;
    *writer = NULL;
    if (!w) return;
    if (w->fd >= 0) close(w->fd);
    if (w->temporary) unlink(w->temporary);
    rill__free(w->temporary);
    rill__free(w->directory);
    rill__free(w->path);
    rill__free(w);
}

rill_status rill__file_write(const char *path, const void *data, size_t bytes, rill_error *err) {
    rill__file_writer *w = NULL;
    rill_status status = rill__writer_open(path, &w, err);
    if (status == RILL_OK) status = rill__writer_write(w, data, bytes, err);
    if (status == RILL_OK) return rill__writer_commit(&w, err);
    rill__writer_discard(&w);
    return status;
}

rill_status rill__file_check_writable(const char *path, rill_error *err) {
    rill__file_writer *w = NULL;
    struct stat info;
    // Not opened: a file would be emptied, and a pipe's reader would take the closing for the end.
    if (is_written_straight(path, &info)) {
        errno = EISDIR;
        bool right = !S_ISDIR(info.st_mode) && access(path, W_OK) == 0;
        return right ? RILL_OK : fail_system(err, path, "cannot write");
    }
    rill_status status = rill__writer_open(path, &w, err);
    rill__writer_discard(&w);
    return status;
}
