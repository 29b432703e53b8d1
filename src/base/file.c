// SPDX-License-Identifier: MIT
// Files: mapping, reading, and writing through a temporary file that is renamed at the end.
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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
    if (fd < 0)
        return fail_system(err, path, "cannot open");
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

void rill__mapping_close(rill__mapping *m) {
    if (m->data)
        munmap((void *)(uintptr_t)m->data, m->size);
    *m = (rill__mapping){0};
}

static ssize_t read_some(int fd, char *to, size_t n) {
    ssize_t got;
    do
        got = read(fd, to, n);
    while (got < 0 && errno == EINTR);
    return got;
}

// Reads fd to its end into memory that doubles.
static rill_status read_to_end(int fd, const char *path, size_t ceiling, char **out, size_t *length,
                               rill_error *err) {
    size_t capacity = 4096, n = 0;
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
            return rill__fail(err, RILL_EFORMAT, "%s: longer than %zu bytes, the most that is right",
                              path, ceiling);
        }
        if (n == capacity) {
            char *grown = rill__realloc(data, 2 * capacity + 1);
            if (!grown)
                rill__free(data);
            data = grown;
            capacity *= 2;
        }
    }
    return rill__fail_memory(err, path, capacity);
}

rill_status rill__file_read(const char *path, size_t ceiling, char **out, size_t *length,
                            rill_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail_system(err, path, "cannot open");
    rill_status status = read_to_end(fd, path, ceiling, out, length, err);
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

char *rill__path_join(const char *directory, const char *name) {
    size_t a = strlen(directory), b = strlen(name);
    char *path = rill__malloc(a + b + 2);
    if (path)
        snprintf(path, a + b + 2, "%s%s%s", directory, a && directory[a - 1] == '/' ? "" : "/",
                 name);
    return path;
}

enum { WRITER_BUFFER = 1 << 18 };

struct rill__file_writer {
    char *path;       // where it shall appear: links followed
    char *temporary;  // where it is written; NULL when writing straight into something that is no file
    int fd;
    uint64_t offset;
    size_t buffered;
    char buffer[WRITER_BUFFER];
};

// The file that `path` names, links followed; or path itself if there is none yet. NULL: out of memory.
static char *final_path(const char *path) {
    char *real = realpath(path, NULL);
    char *copy = rill__strdup(real ? real : path);
    free(real);
    return copy;
}

static rill_status open_temporary(rill__file_writer *w, rill_error *err) {
    size_t size = strlen(w->path) + sizeof ".XXXXXX";
    w->temporary = rill__malloc(size);
    if (!w->temporary)
        return rill__fail_memory(err, "a path", size);
    snprintf(w->temporary, size, "%s.XXXXXX", w->path);
    w->fd = mkostemp(w->temporary, O_CLOEXEC);
    if (w->fd < 0) {
        rill_status status = fail_system(err, w->path, "cannot write beside it");
        rill__free(w->temporary);
        w->temporary = NULL;
        return status;
    }
    // mkostemp makes it private; give it what a plain open would have, or what is being replaced has.
    struct stat old;
    mode_t mask = umask(0);
    umask(mask);
    mode_t mode = stat(w->path, &old) == 0 ? old.st_mode & 07777 : 0666 & ~mask;
    if (fchmod(w->fd, mode) != 0)
        return fail_system(err, w->temporary, "cannot set its mode");
    return RILL_OK;
}

rill_status rill__writer_open(const char *path, rill__file_writer **out, rill_error *err) {
    rill__file_writer *w = rill__malloc(sizeof *w);
    if (!w)
        return rill__fail_memory(err, "a file's buffer", sizeof *w);
    w->fd = -1;
    w->temporary = NULL;
    w->offset = w->buffered = 0;
    w->path = final_path(path);
    rill_status status = RILL_OK;
    struct stat info;
    if (!w->path) {
        status = rill__fail_memory(err, "a path", strlen(path));
    } else if (stat(w->path, &info) == 0 && !S_ISREG(info.st_mode)) {
        w->fd = open(w->path, O_WRONLY | O_CLOEXEC);
        if (w->fd < 0)
            status = fail_system(err, path, "cannot write");
    } else {
        status = open_temporary(w, err);
    }
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
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_system(err, w->path, "cannot write");
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
    if (bytes > WRITER_BUFFER - w->buffered)
        status = flush_buffer(w, err);
    if (status == RILL_OK && bytes > WRITER_BUFFER) {
        status = write_out(w, data, bytes, err);
    } else if (status == RILL_OK) {
        memcpy(w->buffer + w->buffered, data, bytes);
        w->buffered += bytes;
    }
    w->offset += bytes;
    return status;
}

uint64_t rill__writer_offset(const rill__file_writer *w) { return w->offset; }

// Makes the renaming itself durable. Some file systems cannot sync a directory: not an error.
static void sync_directory(const char *path) {
    char *copy = rill__strdup(path);
    if (!copy)
        return;
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    rill__free(copy);
}

rill_status rill__writer_commit(rill__file_writer **writer, rill_error *err) {
    rill__file_writer *w = *writer;
    rill_status status = flush_buffer(w, err);
    if (status == RILL_OK && w->temporary) {
        if (fsync(w->fd) != 0) {
            status = fail_system(err, w->path, "cannot sync");
        } else if (rename(w->temporary, w->path) != 0) {
            status = fail_system(err, w->path, "cannot rename to it");
        } else {
            rill__free(w->temporary);
            w->temporary = NULL;
            sync_directory(w->path);
        }
    }
    rill__writer_discard(writer);
    return status;
}

void rill__writer_discard(rill__file_writer **writer) {
    rill__file_writer *w = *writer;
    *writer = NULL;
    if (!w)
        return;
    if (w->fd >= 0)
        close(w->fd);
    if (w->temporary)
        unlink(w->temporary);
    rill__free(w->temporary);
    rill__free(w->path);
    rill__free(w);
}
