// SPDX-License-Identifier: MIT
// The journal: descriptions compared, records appended, and a head that ties them to snapshots.
#include "eval/journal.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEAD = 64, MAX_NAME = 128, MAX_DESCRIPTION = 1 << 16, BETWEEN_SAVES = 30 };

// What a save left: records that led to a stream that had seen so many tokens.
typedef struct save {
    uint64_t seen, count;
    double seconds;
} save;

typedef struct head {
    char magic[8];
    uint32_t record_bytes;
    uint16_t finished;  // 1: all is done
    uint16_t last;      // the newer of the two saves
    save saves[2];
} head;
_Static_assert(sizeof(head) == HEAD, "the head's layout is the file's");

static const char magic[8] = "rilljrn1";

struct rill__journal {
    char *directory;
};

struct rill__case {
    char *records_path, *stream_path;
    int file;
    head head;
    uint64_t count;     // on disk
    rill__bytes added;  // not yet on disk
    double saved_at;
};

rill_status rill__journal_open(const char *directory, rill__journal **out, rill_error *err) {
    if (mkdir(directory, 0777) != 0 && errno != EEXIST)
        return rill__fail(err, RILL_EIO, "%s: %s", directory, strerror(errno));
    if (!rill__directory_exists(directory))
        return rill__fail(err, RILL_EIO, "%s: not a directory", directory);
    rill__journal *j = rill__calloc(1, sizeof *j);
    if (j) j->directory = rill__strdup(directory);
    if (!j || !j->directory) {
        rill__free(j);
        return rill__fail_memory(err, "a journal", sizeof *j);
    }
    *out = j;
    return RILL_OK;
}

void rill__journal_close(rill__journal **journal) {
    if (!*journal) return;
    rill__free((*journal)->directory);
    rill__free(*journal);
    *journal = NULL;
}

// DIRECTORY/NAME.ENDING with a name that suits every file system; the caller's.
static char *case_path(const rill__journal *j, const char *name, const char *ending) {
    char file[MAX_NAME + 16];
    snprintf(file, sizeof file, "%.*s.%s", MAX_NAME, name, ending);
    for (char *c = file; *c; c++)
        if (!(*c >= 'a' && *c <= 'z') && !(*c >= 'A' && *c <= 'Z') && !(*c >= '0' && *c <= '9') &&
            !strchr("+-_.", *c))
            *c = '_';
    if (file[0] == '.') file[0] = '_';
    return rill__path_join(j->directory, file);
}

// The first line in which two texts differ; of both, at the same place.
static void different_lines(const char **a, const char **b) {
    const char *x = *a, *y = *b;
    while (*x && *x == *y) {
        if (*x == '\n') *a = x + 1, *b = y + 1;
        x++, y++;
    }
}

static rill_status check_description(const char *path, const char *description, rill_error *err) {
    char *before = NULL;
    size_t length;
    if (rill__file_exists(path)) {
        rill_status status = rill__file_read(path, MAX_DESCRIPTION, &before, &length, err);
        if (status != RILL_OK) return status;
        if (strcmp(before, description) != 0) {
            const char *was = before, *is = description;
            different_lines(&was, &is);
            status =
                rill__fail(err, RILL_EMISMATCH,
                           "%s: was begun with '%.*s', now it is '%.*s': give the same command, "
                           "or another directory",
                           path, (int)strcspn(was, "\n"), was, (int)strcspn(is, "\n"), is);
        }
        rill__free(before);
        return status;
    }
    return rill__file_write(path, description, strlen(description), err);
}

static rill_status fail_file(const rill__case *c, rill_error *err) {
    return rill__fail(err, RILL_EIO, "%s: %s", c->records_path, strerror(errno));
}

static rill_status write_at(rill__case *c, uint64_t offset, const void *data, size_t bytes,
                            rill_error *err) {
    const char *from = data;
    while (bytes) {
        ssize_t n = pwrite(c->file, from, bytes, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_file(c, err);
        from += n, offset += (uint64_t)n, bytes -= (size_t)n;
    }
    return RILL_OK;
}

static rill_status read_at(rill__case *c, uint64_t offset, void *out, size_t bytes,
                           rill_error *err) {
    char *to = out;
    while (bytes) {
        ssize_t n = pread(c->file, to, bytes, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_file(c, err);
        if (n == 0)
            return rill__fail(err, RILL_EFORMAT, "%s: cut short: delete it to begin this case anew",
                              c->records_path);
        to += n, offset += (uint64_t)n, bytes -= (size_t)n;
    }
    return RILL_OK;
}

static rill_status sync_file(rill__case *c, rill_error *err) {
    return fdatasync(c->file) == 0 ? RILL_OK : fail_file(c, err);
}

// Opens the records, or begins them.
static rill_status open_records(rill__case *c, size_t record_bytes, rill_error *err) {
    struct stat info;
    c->file = open(c->records_path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (c->file < 0) return fail_file(c, err);
    if (flock(c->file, LOCK_EX | LOCK_NB) != 0)
        return rill__fail(err, RILL_EIO, "%s: another process works on it", c->records_path);
    if (fstat(c->file, &info) != 0) return fail_file(c, err);
    if (info.st_size == 0) {
        memcpy(c->head.magic, magic, sizeof magic);
        c->head.record_bytes = (uint32_t)record_bytes;
        return write_at(c, 0, &c->head, HEAD, err);
    }
    rill_status status = read_at(c, 0, &c->head, HEAD, err);
    if (status != RILL_OK) return status;
    if (memcmp(c->head.magic, magic, sizeof magic) != 0 || c->head.record_bytes != record_bytes ||
        c->head.last > 1)
        return rill__fail(err, RILL_EFORMAT,
                          "%s: not the records of this case: delete it to begin anew",
                          c->records_path);
    // Only what a save made safe counts: a file that grew and lost its power may end in zeros.
    uint64_t whole = ((uint64_t)info.st_size - HEAD) / record_bytes;
    uint64_t saved = c->head.saves[c->head.last].count;
    c->count = whole < saved ? whole : saved;
    // A finished case has all of its records, or it is none.
    if (c->head.finished && whole < saved)
        return rill__fail(err, RILL_EFORMAT, "%s: cut short: delete it to begin this case anew",
                          c->records_path);
    return RILL_OK;
}

static rill_status remove_stream(const rill__case *c, rill_error *err) {
    if (unlink(c->stream_path) == 0 || errno == ENOENT) return RILL_OK;
    return rill__fail(err, RILL_EIO, "%s: %s", c->stream_path, strerror(errno));
}

rill_status rill__journal_case(rill__journal *j, const char *name, const char *description,
                               size_t record_bytes, rill__case **out, rill_error *err) {
    *out = NULL;
    if (!j) return RILL_OK;
    rill__case *c = rill__calloc(1, sizeof *c);
    char *path = case_path(j, name, "case");
    if (c) {
        c->file = -1;
        rill__bytes_init(&c->added, 0);
        c->records_path = case_path(j, name, "records");
        c->stream_path = case_path(j, name, "stream");
        c->saved_at = rill__seconds();
    }
    rill_status status = RILL_OK;
    if (!c || !path || !c->records_path || !c->stream_path)
        status = rill__fail_memory(err, "a journal", sizeof *c);
    if (status == RILL_OK) status = check_description(path, description, err);
    if (status == RILL_OK) status = open_records(c, record_bytes, err);
    // A process may have ended between marking the case as finished and this.
    if (status == RILL_OK && c->head.finished) status = remove_stream(c, err);
    rill__free(path);
    if (status == RILL_OK)
        *out = c;
    else
        rill__case_close(&c);
    return status;
}

void rill__case_close(rill__case **c) {
    rill__case *old = *c;
    if (!old) return;
    if (old->file >= 0) close(old->file);
    rill__bytes_deinit(&old->added);
    rill__free(old->records_path);
    rill__free(old->stream_path);
    rill__free(old);
    *c = NULL;
}

uint64_t rill__case_count(const rill__case *c) {
    return c ? c->count + c->added.length / c->head.record_bytes : 0;
}

bool rill__case_finished(const rill__case *c) {
    return c && c->head.finished;
}

double rill__case_seconds(const rill__case *c) {
    return c ? c->head.saves[c->head.last].seconds : 0;
}

static rill_status cut(rill__case *c, uint64_t count, rill_error *err) {
    rill__bytes_reset(&c->added);
    if (ftruncate(c->file, (off_t)(HEAD + count * c->head.record_bytes)) != 0)
        return fail_file(c, err);
    c->count = count;
    return RILL_OK;
}

rill_status rill__case_load(rill__case *c, rill_model *model, rill_stream **stream,
                            rill_error *err) {
    *stream = NULL;
    if (!c) return RILL_OK;
    if (!rill__file_exists(c->stream_path)) {
        memset(c->head.saves, 0, sizeof c->head.saves);
        return cut(c, 0, err);
    }
    rill_stream *loaded = NULL;
    rill_status status = rill_stream_load(model, c->stream_path, &loaded, err);
    if (status != RILL_OK) return status;
    rill_stream_report report;
    rill_stream_get_report(loaded, &report);
    uint16_t which = c->head.last;
    if (c->head.saves[which].seen != report.seen) which ^= 1;
    const save *s = &c->head.saves[which];
    if (s->seen != report.seen || s->count > c->count)
        status =
            rill__fail(err, RILL_EFORMAT,
                       "%s: has not the records that led to %s: delete both to begin this case "
                       "anew",
                       c->records_path, c->stream_path);
    if (status == RILL_OK) status = cut(c, s->count, err);
    if (status != RILL_OK) {
        rill_stream_close(&loaded);
        return status;
    }
    c->head.last = which;
    c->saved_at = rill__seconds();
    *stream = loaded;
    return RILL_OK;
}

rill_status rill__case_append(rill__case *c, const void *records, size_t n, rill_error *err) {
    return c ? rill__bytes_append(&c->added, records, n * c->head.record_bytes, err) : RILL_OK;
}

rill_status rill__case_read(rill__case *c, uint64_t first, size_t n, void *out, rill_error *err) {
    if (!c) return RILL_OK;
    size_t size = c->head.record_bytes;
    if (first > rill__case_count(c) || n > rill__case_count(c) - first)
        return rill__fail(err, RILL_EINVAL, "%s: no such records", c->records_path);
    size_t on_disk = first >= c->count ? 0 : c->count - first < n ? (size_t)(c->count - first) : n;
    rill_status status =
        on_disk ? read_at(c, HEAD + first * size, out, on_disk * size, err) : RILL_OK;
    if (status == RILL_OK && n > on_disk)
        memcpy((char *)out + on_disk * size, c->added.data + (first + on_disk - c->count) * size,
               (n - on_disk) * size);
    return status;
}

bool rill__case_due(const rill__case *c) {
    return c && rill__seconds() - c->saved_at > BETWEEN_SAVES;
}

static rill_status save_records(rill__case *c, uint64_t seen, double seconds, rill_error *err) {
    uint64_t count = rill__case_count(c);
    rill_status status =
        write_at(c, HEAD + c->count * c->head.record_bytes, c->added.data, c->added.length, err);
    if (status == RILL_OK) status = sync_file(c, err);
    if (status != RILL_OK) return status;
    rill__bytes_reset(&c->added);
    c->count = count;
    // The save before stays: its snapshot is the one in place until the new one is.
    c->head.last ^= 1;
    c->head.saves[c->head.last] = (save){seen, count, seconds};
    status = write_at(c, 0, &c->head, HEAD, err);
    return status == RILL_OK ? sync_file(c, err) : status;
}

rill_status rill__case_save(rill__case *c, const rill_stream *stream, double seconds,
                            rill_error *err) {
    if (!c) return RILL_OK;
    rill_stream_report report = {0};
    if (stream) rill_stream_get_report(stream, &report);
    rill_status status = save_records(c, report.seen, seconds, err);
    if (status == RILL_OK && stream) status = rill_stream_save(stream, c->stream_path, err);
    c->saved_at = rill__seconds();
    return status;
}

rill_status rill__case_finish(rill__case *c, double seconds, rill_error *err) {
    if (!c) return RILL_OK;
    rill_status status = save_records(c, 0, seconds, err);
    if (status != RILL_OK) return status;
    c->head.finished = 1;
    status = write_at(c, 0, &c->head, HEAD, err);
    if (status == RILL_OK) status = sync_file(c, err);
    return status == RILL_OK ? remove_stream(c, err) : status;
}

rill_status rill__case_once(rill__case *c, void *records, size_t n, rill__fill_fn fill, void *user,
                            rill_error *err) {
    if (rill__case_finished(c)) return rill__case_read(c, 0, n, records, err);
    double began = rill__seconds();
    rill_status status = c ? cut(c, 0, err) : RILL_OK;
    if (status == RILL_OK) status = fill(user, records, n, err);
    if (status == RILL_OK) status = rill__case_append(c, records, n, err);
    return status == RILL_OK ? rill__case_finish(c, rill__seconds() - began, err) : status;
}
