// SPDX-License-Identifier: MIT
// Writing that loses nothing: a full disk, a killed writer, links, modes.
#include "base/file.h"

#include "failing_allocator.h"
#include "file_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>

static void assert_content(const char *path, const char *text) {
    char *found;
    size_t length;
    assert_int_equal(rill__file_read(path, 1 << 20, &found, &length, NULL), RILL_OK);
    assert_string_equal(found, text);
    rill__free(found);
}

static int count_entries(void) {
    int n = 0;
    DIR *open = opendir(directory);
    while (readdir(open)) n++;
    closedir(open);
    return n - 2;
}

static rill_status write_text(const char *path, const char *text, rill_error *err) {
    return rill__file_write(path, text, strlen(text), err);
}

static mode_t mode_of(const char *path) {
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return info.st_mode & 07777;
}

static bool readonly_directory_is_said(void) {
    rill_error err;
    return write_text(in("closed/new"), "x", &err) == RILL_EIO &&
           strstr(err.message, "Permission denied") && strstr(err.message, "closed/new");
}

static void readonly_directory_is_named(void **state) {
    (void)state;
    assert_int_equal(mkdir(in("closed"), 0555), 0);
    assert_true(as_nobody(readonly_directory_is_said));
    rill_error err;
    assert_int_equal(write_text(in("none/new"), "x", &err), RILL_EIO);
    assert_non_null(strstr(err.message, "No such file"));
    assert_int_equal(write_text(directory, "x", &err), RILL_EIO);
    assert_non_null(strstr(err.message, "directory"));
}

static void written_file_appears_whole(void **state) {
    (void)state;
    enum { N = 300000 };
    uint32_t *numbers = malloc(N * sizeof *numbers);
    for (uint32_t i = 0; i < N; i++) numbers[i] = i * 2654435761u;
    rill__file_writer *w;
    assert_int_equal(rill__writer_open(in("big"), &w, NULL), RILL_OK);
    size_t at = 0, total = N * sizeof *numbers, portion = 1;
    while (at < total) {  // portions on both sides of the buffer's size
        size_t n = portion < total - at ? portion : total - at;
        assert_int_equal(rill__writer_write(w, (char *)numbers + at, n, NULL), RILL_OK);
        at += n;
        assert_int_equal(rill__writer_offset(w), at);
        portion = portion > 400000 ? 1 : portion * 3;
    }
    assert_int_equal(rill__writer_write(w, NULL, 0, NULL), RILL_OK);
    assert_false(rill__file_exists(in("big")));
    assert_int_equal(rill__writer_commit(&w, NULL), RILL_OK);
    rill__mapping m;
    assert_int_equal(rill__mapping_open(in("big"), &m, NULL), RILL_OK);
    assert_int_equal(m.size, total);
    assert_memory_equal(m.data, numbers, total);
    rill__mapping_close(&m);
    free(numbers);
    assert_int_equal(count_entries(), 1);
}

static void discard_leaves_nothing(void **state) {
    (void)state;
    rill__file_writer *w;
    put(in("a"), "old");
    assert_int_equal(rill__writer_open(in("a"), &w, NULL), RILL_OK);
    assert_int_equal(rill__writer_write(w, "new", 3, NULL), RILL_OK);
    assert_int_equal(count_entries(), 2);
    rill__writer_discard(&w);
    assert_null(w);
    rill__writer_discard(&w);
    assert_int_equal(count_entries(), 1);
    assert_content(in("a"), "old");
}

static void modes_are_kept(void **state) {
    (void)state;
    umask(027);
    assert_int_equal(write_text(in("new"), "x", NULL), RILL_OK);
    assert_int_equal(mode_of(in("new")), 0640);
    assert_int_equal(chmod(in("new"), 0604), 0);
    assert_int_equal(write_text(in("new"), "y", NULL), RILL_OK);
    assert_int_equal(mode_of(in("new")), 0604);
    assert_content(in("new"), "y");
}

static void links_are_followed(void **state) {
    (void)state;
    struct stat info;
    assert_int_equal(mkdir(in("sub"), 0700), 0);
    put(in("sub/target"), "old");
    assert_int_equal(symlink("sub/target", in("link")), 0);
    assert_int_equal(symlink("link", in("link2")), 0);
    assert_int_equal(write_text(in("link2"), "new", NULL), RILL_OK);
    assert_content(in("sub/target"), "new");
    assert_int_equal(lstat(in("link"), &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    // A link to what is not there yet makes it there.
    assert_int_equal(symlink("sub/later", in("dangling")), 0);
    assert_int_equal(write_text(in("dangling"), "made", NULL), RILL_OK);
    assert_content(in("sub/later"), "made");
    assert_int_equal(symlink("loop", in("loop")), 0);
    (void)write_text(in("loop"), "x", NULL);  // refused or replaced, but it ends
}

static void relative_paths_work(void **state) {
    (void)state;
    char before[512];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(directory), 0);
    assert_int_equal(write_text("plain", "x", NULL), RILL_OK);
    assert_int_equal(chdir(before), 0);
    assert_content(in("plain"), "x");
    assert_int_equal(count_entries(), 1);
}

static void full_disk_is_said(void **state) {
    (void)state;
    rill_error err;
    assert_int_equal(write_text("/dev/full", "x", &err), RILL_EIO);
    assert_non_null(strstr(err.message, "No space left on device"));
    assert_non_null(strstr(err.message, "/dev/full"));
    assert_int_equal(write_text("/dev/null", "x", &err), RILL_OK);
    // Past the buffer, so that the write itself fails and commit refuses afterwards.
    char *large = calloc(1, 1 << 20);
    rill__file_writer *w;
    assert_int_equal(rill__writer_open("/dev/full", &w, &err), RILL_OK);
    assert_int_equal(rill__writer_write(w, large, 1 << 20, &err), RILL_EIO);
    assert_int_equal(rill__writer_commit(&w, &err), RILL_EIO);
    assert_null(w);
    free(large);
}

// A limit on the size of files makes the same failure on a regular file.
static void failed_write_keeps_the_old_file(void **state) {
    (void)state;
    struct rlimit before, small;
    put(in("a"), "old");
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 100000;
    char *large = calloc(1, 1 << 20);
    rill__file_writer *w;
    rill_error err;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(rill__writer_open(in("a"), &w, &err), RILL_OK);
    rill_status status = rill__writer_write(w, large, 1 << 20, &err);
    rill_status committed = rill__writer_commit(&w, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);
    free(large);
    assert_int_equal(status, RILL_EIO);
    assert_int_equal(committed, RILL_EIO);
    assert_non_null(strstr(err.message, "File too large"));
    assert_content(in("a"), "old");
    assert_int_equal(count_entries(), 1);
}

static void ignore_signal(int number) {
    (void)number;
}

// A pipe that is read slowly, with a timer going off all the time: short writes and EINTR.
static void interrupted_writes_go_on(void **state) {
    (void)state;
    enum { TOTAL = 3 << 20 };
    assert_int_equal(mkfifo(in("fifo"), 0600), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char block[7001];
        size_t sum = 0;
        ssize_t n;
        int fd = open(in("fifo"), O_RDONLY);
        while ((n = read(fd, block, sizeof block)) > 0) {
            sum += (size_t)n;
            usleep(20);
        }
        _exit(sum == TOTAL ? 0 : 1);
    }
    struct sigaction action = {.sa_handler = ignore_signal};
    struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
    char *data = calloc(1, TOTAL);
    rill__file_writer *w;
    assert_int_equal(rill__writer_open(in("fifo"), &w, NULL), RILL_OK);
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    rill_status status = rill__writer_write(w, data, TOTAL, NULL);
    rill_status committed = rill__writer_commit(&w, NULL);
    setitimer(ITIMER_REAL, &never, NULL);
    free(data);
    int end;
    while (waitpid(child, &end, 0) < 0 && errno == EINTR)
        ;
    assert_int_equal(status, RILL_OK);
    assert_int_equal(committed, RILL_OK);
    assert_true(WIFEXITED(end) && WEXITSTATUS(end) == 0);
}

static void write_for_ever(const char *path) {
    char block[5000];
    for (int round = 0;; round++) {
        rill__file_writer *w;
        memset(block, 'a' + round % 26, sizeof block);
        if (rill__writer_open(path, &w, NULL) != RILL_OK) _exit(1);
        for (int i = 0; i < 100; i++)
            if (rill__writer_write(w, block, sizeof block, NULL) != RILL_OK) _exit(1);
        if (rill__writer_commit(&w, NULL) != RILL_OK) _exit(1);
    }
}

static void killed_writer_loses_nothing(void **state) {
    (void)state;
    enum { SIZE = 500000 };
    for (int i = 0; i < 25; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) write_for_ever(in("a"));
        while (!rill__file_exists(in("a"))) usleep(200);
        usleep(1000 + 700 * (useconds_t)i);
        kill(child, SIGKILL);
        int status;
        waitpid(child, &status, 0);
        assert_true(WIFSIGNALED(status));
        rill__mapping m;
        assert_int_equal(rill__mapping_open(in("a"), &m, NULL), RILL_OK);
        assert_int_equal(m.size, SIZE);
        for (size_t at = 0; at < SIZE; at += 499) assert_int_equal(m.data[at], m.data[0]);
        rill__mapping_close(&m);
    }
    // What the killed ones left behind is in nobody's way.
    assert_true(count_entries() > 1);
    assert_int_equal(write_text(in("a"), "after", NULL), RILL_OK);
    assert_content(in("a"), "after");
}

static void memory_may_run_out_anywhere(void **state) {
    (void)state;
    put(in("a"), "old");
    failing_allocator_install();
    bool fired = true;
    uint64_t n = 0;
    while (fired) {
        rill_error err;
        failing_allocator_arm(++n, false);
        rill_status status = write_text(in("a"), "new", &err);
        fired = failing_allocator_disarm();
        assert_int_equal(status, fired ? RILL_ENOMEM : RILL_OK);
        assert_int_equal(failing_allocator_live_blocks(), 0);
        assert_int_equal(count_entries(), 1);
        assert_content(in("a"), fired ? "old" : "new");
    }
    assert_true(n > 3);
    failing_allocator_remove();
}

static void whether_a_file_can_be_made(void **state) {
    (void)state;
    rill_error err;
    put(in("there"), "before");
    assert_int_equal(rill__file_check_writable(in("there"), &err), RILL_OK);
    assert_content(in("there"), "before");
    assert_int_equal(rill__file_check_writable(in("new"), &err), RILL_OK);
    assert_int_equal(rill__file_check_writable("/dev/null", &err), RILL_OK);
    assert_int_equal(mkfifo(in("pipe"), 0600), 0);
    assert_int_equal(rill__file_check_writable(in("pipe"), &err), RILL_OK);  // nobody reads it yet
    assert_int_equal(unlink(in("pipe")), 0);
    assert_int_equal(rill__file_check_writable(".", &err), RILL_EIO);
    assert_int_equal(rill__file_check_writable(in("nowhere/new"), &err), RILL_EIO);
    assert_non_null(strstr(err.message, in("nowhere/new")));
    assert_int_equal(count_entries(), 1);
}

// What has no name is written in its place, and is then only as long as what was written.
static void a_file_without_a_name(void **state) {
    (void)state;
    char path[64];
    int file = open(in("gone"), O_RDWR | O_CREAT, 0600);
    assert_true(file >= 0);
    assert_int_equal(unlink(in("gone")), 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    assert_int_equal(write_text(path, "a long text", NULL), RILL_OK);
    assert_content(path, "a long text");
    assert_int_equal(write_text(path, "short", NULL), RILL_OK);
    assert_int_equal(rill__file_check_writable(path, NULL), RILL_OK);
    assert_content(path, "short");
    assert_int_equal(count_entries(), 0);
    close(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_DIRECTORY(readonly_directory_is_named), IN_DIRECTORY(written_file_appears_whole),
        IN_DIRECTORY(discard_leaves_nothing),      IN_DIRECTORY(modes_are_kept),
        IN_DIRECTORY(links_are_followed),          IN_DIRECTORY(relative_paths_work),
        IN_DIRECTORY(full_disk_is_said),           IN_DIRECTORY(failed_write_keeps_the_old_file),
        IN_DIRECTORY(interrupted_writes_go_on),    IN_DIRECTORY(killed_writer_loses_nothing),
        IN_DIRECTORY(memory_may_run_out_anywhere), IN_DIRECTORY(whether_a_file_can_be_made),
        IN_DIRECTORY(a_file_without_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
