// SPDX-License-Identifier: MIT
// The other processes of rill bench: a command line to compare with, and a neighbour that is busy.
#include "cli/bench.h"

#include "base/buffer.h"
#include "base/number.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_OUTPUT = 1 << 24 };

// In the child: signals as everybody has them, and the parent's end is its own.
static void begin_child(pid_t parent) {
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) signal(signals[i], SIG_DFL);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) _exit(127);
}

// ---- A busy neighbour -----------------------------------------------------------------------

rill_status rill__bench_busy_start(pid_t *out, rill_error *err) {
    pid_t parent = getpid();
    *out = fork();
    if (*out < 0) return rill__fail(err, RILL_EIO, "a busy process: %s", strerror(errno));
    if (*out == 0) {
        begin_child(parent);
        for (volatile unsigned i = 0;; i++) continue;
    }
    return RILL_OK;
}

void rill__bench_busy_stop(pid_t pid) {
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) continue;
}

// ---- Another command ------------------------------------------------------------------------

// The number behind the last "key": in `text`, unless it is none; false if there is none.
static bool last_number(const char *text, const char *key, const char **at, double *out) {
    bool found = false;
    for (const char *p = text; (p = strstr(p, key)); p++) {
        const char *value = p + strlen(key);
        value += strspn(value, " \t\r\n");
        if (*value != ':') continue;
        char *end;
        double number = strtod(value + 1, &end);
        if (end == value + 1 || !isfinite(number) || number <= 0) continue;
        *at = p;
        *out = number;
        found = true;
    }
    return found;
}

// The last line that is not empty, if it is a number alone.
static bool last_line(const char *text, double *out) {
    static const char space[] = " \t\r\n";
    char line[64];
    size_t end = strlen(text);
    while (end && strchr(space, text[end - 1])) end--;
    size_t begin = end;
    while (begin && text[begin - 1] != '\n') begin--;
    begin += strspn(text + begin, space);
    if (end <= begin || end - begin >= sizeof line) return false;
    memcpy(line, text + begin, end - begin);
    line[end - begin] = 0;
    return rill__number_real(line, out) && *out > 0;
}

bool rill__bench_rate(const char *output, double *rate) {
    const char *ours = output, *theirs = output;
    double first, second;
    bool has_ours = last_number(output, "\"tokens_per_second\"", &ours, &first);
    bool has_theirs = last_number(output, "\"avg_ts\"", &theirs, &second);
    if (!has_ours && !has_theirs) return last_line(output, rate);
    *rate = has_ours && (!has_theirs || ours > theirs) ? first : second;
    return true;
}

// Runs in a process group of its own, so that it ends whole; nobody types into it.
static void run_shell(const char *line, pid_t parent, int out) {
    begin_child(parent);
    setpgid(0, 0);
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (nothing < 0 || dup2(nothing, 0) < 0 || dup2(out, 1) < 0) _exit(127);
    execl("/bin/sh", "sh", "-c", line, (char *)NULL);
    _exit(127);
}

// Reads until the other end is closed, or Ctrl-C.
static rill_status read_all(int from, rill__bytes *out, rill_error *err) {
    for (;;) {
        char piece[4096];
        struct pollfd ready = {.fd = from, .events = POLLIN};
        if (rill__interrupted()) return rill__fail(err, RILL_EINTERRUPTED, "interrupted");
        if (poll(&ready, 1, 100) <= 0) continue;
        ssize_t n = read(from, piece, sizeof piece);
        if (n == 0) return RILL_OK;
        if (n < 0 && errno != EINTR)
            return rill__fail(err, RILL_EIO, "--compare: %s", strerror(errno));
        rill_status status = n > 0 ? rill__bytes_append(out, piece, (size_t)n, err) : RILL_OK;
        if (status != RILL_OK) return status;
    }
}

static rill_status finish(pid_t pid, rill_status status, rill_error *err) {
    int how = 0;
    if (status != RILL_OK) kill(-pid, SIGKILL);
    while (waitpid(pid, &how, 0) < 0 && errno == EINTR) continue;
    if (status != RILL_OK || (WIFEXITED(how) && WEXITSTATUS(how) == 0)) return status;
    if (WIFSIGNALED(how))
        return rill__fail(err, RILL_EIO, "--compare: the command ended by signal %d",
                          WTERMSIG(how));
    return rill__fail(err, RILL_EIO, "--compare: the command ended with status %d",
                      WEXITSTATUS(how));
}

rill_status rill__bench_command(const char *line, double *rate, rill_error *err) {
    int ends[2];
    rill__bytes output;
    pid_t parent = getpid();
    if (pipe2(ends, O_CLOEXEC) != 0)
        return rill__fail(err, RILL_EIO, "--compare: %s", strerror(errno));
    pid_t pid = fork();
    if (pid == 0) run_shell(line, parent, ends[1]);
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return rill__fail(err, RILL_EIO, "--compare: %s", strerror(errno));
    }
    setpgid(pid, pid);  // here too: whoever comes first
    rill__bytes_init(&output, MAX_OUTPUT);
    rill_status status = read_all(ends[0], &output, err);
    close(ends[0]);
    status = finish(pid, status, err);
    if (status == RILL_OK) status = rill__bytes_append(&output, "", 1, err);
    if (status == RILL_OK && !rill__bench_rate(output.data, rate))
        status = rill__fail(err, RILL_EFORMAT,
                            "--compare: no tokens a second in what the command printed: wants "
                            "\"tokens_per_second\" or \"avg_ts\" with a number, or a number on the "
                            "last line");
    rill__bytes_deinit(&output);
    return status;
}
