// SPDX-License-Identifier: MIT
// Signals, stdout and the status line. These are the process's own, hence the file-static state.
#include "cli/terminal.h"

#include "base/clock.h"
#include "base/number.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { MAX_LINE = 512, MIN_ROWS = 4 };

// ---- Interrupts -----------------------------------------------------------------------------

static volatile sig_atomic_t interrupts;
static volatile sig_atomic_t terminated;
static volatile sig_atomic_t reserved_rows;  // rows of the terminal while its last is set aside

// Save the cursor, all rows scroll again, clear the last row, cursor back.
static const char release_format[] = "\0337\033[r\033[%d;1H\033[2K\0338";

static void on_interrupt(int signal_number) {
    if (signal_number != SIGINT) terminated = 1;
    if (interrupts++ == 0) return;
    // The second time: only what is safe in a handler.
    static const char release[] = "\0337\033[r\033[999;1H\033[2K\0338\n";
    if (reserved_rows && write(STDERR_FILENO, release, sizeof release - 1) < 0) _exit(130);
    _exit(130);
}

void rill__interrupt_install(void) {
    struct sigaction action = {.sa_handler = on_interrupt};
    sigemptyset(&action.sa_mask);
    // No SA_RESTART: waiting for input ends too.
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    struct sigaction before;
    sigaction(SIGHUP, NULL, &before);
    if (before.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, NULL);  // not under nohup
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
}

bool rill__interrupted(void) {
    return interrupts > 0;
}

bool rill__going_on(void) {
    return interrupts == 0;
}

bool rill__terminated(void) {
    return terminated != 0;
}

void rill__interrupt_clear(void) {
    interrupts = 0;
}

// A signal between asking for the mark and waiting would be seen at the next key only: so they are
// held back until ppoll waits.
static int wait_for_input(int file) {
    struct pollfd input = {.fd = file, .events = POLLIN};
    sigset_t held, before;
    sigemptyset(&held);
    sigaddset(&held, SIGINT);
    sigaddset(&held, SIGTERM);
    sigaddset(&held, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &held, &before);
    errno = EINTR;
    int n = interrupts ? -1 : ppoll(&input, 1, NULL, &before);
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return n;
}

ssize_t rill__read_input(int file, void *buffer, size_t size) {
    for (;;) {
        ssize_t n = wait_for_input(file) < 0 ? -1 : read(file, buffer, size);
        if (n >= 0 || errno != EINTR || interrupts) return n;
    }
}

// ---- Standard output ------------------------------------------------------------------------

static int output_error;  // errno of the first failure

bool rill__output(const char *text, size_t length) {
    while (length > 0 && !output_error) {
        ssize_t written = write(STDOUT_FILENO, text, length);
        if (written >= 0) {
            text += written;
            length -= (size_t)written;
        } else if (errno != EINTR) {
            output_error = errno;
        }
    }
    return !output_error;
}

bool rill__outputf(const char *format, ...) {
    char small[MAX_LINE], *text = small;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(small, sizeof small, format, arguments);
    va_end(arguments);
    if (length >= (int)sizeof small) {
        text = rill__malloc((size_t)length + 1);
        if (!text) {
            output_error = ENOMEM;
            return false;
        }
        va_start(arguments, format);
        vsnprintf(text, (size_t)length + 1, format, arguments);
        va_end(arguments);
    }
    bool ok = rill__output(text, length > 0 ? (size_t)length : 0);
    if (text != small) rill__free(text);
    return ok;
}

int rill__output_status(void) {
    if (!output_error || output_error == EPIPE) return 0;
    fprintf(stderr, "rill: standard output: %s\n", strerror(output_error));
    return 1;
}

bool rill__output_closed(void) {
    return output_error != 0;
}

// ---- Status line ----------------------------------------------------------------------------

static struct {
    bool open;     // stderr is a terminal that understands
    bool shared;   // stdout is a terminal too: text and line share the screen
    double shown;  // when the line was last written
} line;

static bool screen_size(int *rows, int *columns) {
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row < MIN_ROWS || size.ws_col < 20)
        return false;
    *rows = size.ws_row;
    *columns = size.ws_col;
    return true;
}

// Sets the last row aside: make room below the text, let the rows above scroll, cursor back up.
static void reserve_row(int rows) {
    fprintf(stderr, "\n\0337\033[1;%dr\0338\033[1A", rows - 1);
    reserved_rows = rows;
}

void rill__status_open(void) {
    const char *terminal = getenv("TERM");
    int rows, columns;
    line.open = isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb") != 0 &&
                screen_size(&rows, &columns);
    line.shared = line.open && isatty(STDOUT_FILENO);
    line.shown = 0;
    if (line.shared) reserve_row(rows);
}

bool rill__status_due(void) {
    return line.open && rill__seconds() - line.shown > 0.2;
}

void rill__status_show(const char *format, ...) {
    int rows, columns;
    if (!line.open || !screen_size(&rows, &columns)) return;
    char text[MAX_LINE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (line.shared) {
        if (rows != reserved_rows) {  // the window was resized
            fprintf(stderr, release_format, reserved_rows < rows ? (int)reserved_rows : rows);
            reserve_row(rows);
        }
        fprintf(stderr, "\0337\033[%d;1H\033[2K\033[2m%.*s\033[0m\0338", rows, columns - 1, text);
    } else {
        fprintf(stderr, "\r\033[K%.*s", columns - 1, text);
    }
    line.shown = rill__seconds();
}

void rill__status_close(void) {
    if (!line.open) return;
    if (line.shared)
        fprintf(stderr, release_format, (int)reserved_rows);
    else
        fprintf(stderr, "\r\033[K");
    reserved_rows = 0;
    line.open = false;
}

static bool bar_shown;

static struct {
    const char *what;  // NULL: nothing
    double began, shown;
    bool on_screen;  // in the place of a bar
} reading;

void rill__progress_clear(void) {
    if (bar_shown || reading.on_screen) fprintf(stderr, "\r\033[K");
    bar_shown = reading.on_screen = false;
}

// "45 s", "3 min 20 s", "2 h 05 min", "4 d 3 h".
static void duration(char *out, size_t capacity, double seconds) {
    unsigned long s = seconds < 1e9 ? (unsigned long)(seconds + 0.5) : 1000000000;
    if (s < 60)
        snprintf(out, capacity, "%lu s", s);
    else if (s < 3600)
        snprintf(out, capacity, "%lu min %02lu s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(out, capacity, "%lu h %02lu min", s / 3600, s / 60 % 60);
    else
        snprintf(out, capacity, "%lu d %lu h", s / 86400, s / 3600 % 24);
}

static void rate(char *out, size_t capacity, double a_second, const char *unit) {
    if (strcmp(unit, "bytes") == 0) {
        char bytes[32];
        rill__number_bytes(bytes, sizeof bytes, (uint64_t)a_second);
        snprintf(out, capacity, "  %s/s", bytes);
    } else {
        snprintf(out, capacity, a_second < 10 ? "  %.1f %s/s" : "  %.0f %s/s", a_second, unit);
    }
}

// What stands behind the bar, once enough was done to know it.
static void prospects(char *out, size_t capacity, const rill__bar *bar, uint64_t done,
                      uint64_t total, double now) {
    char left[32], speed[48] = "";
    double seconds = now - bar->began, made = (double)(done - bar->first);
    *out = 0;
    if (seconds < 0.5 || done <= bar->first) return;
    if (bar->unit) rate(speed, sizeof speed, made / seconds, bar->unit);
    duration(left, sizeof left, (double)(total - done) * seconds / made);
    snprintf(out, capacity, "%s  %s left", speed, left);
}

void rill__reading(const char *what) {
    reading.what = what;
    reading.began = rill__seconds();
}

bool rill__reading_on(void) {
    double now = rill__seconds(), since = now - reading.began;
    char taken[32], text[MAX_LINE];
    int rows, columns;
    if (!reading.what || bar_shown || since < 0.5 || now - reading.shown < 0.1 ||
        !isatty(STDERR_FILENO))
        return rill__going_on();
    if (!screen_size(&rows, &columns)) columns = 80;
    duration(taken, sizeof taken, since);
    snprintf(text, sizeof text, "reading %s  %s", reading.what, taken);
    fprintf(stderr, "\r\033[K%.*s", columns - 1, text);
    reading.on_screen = true;
    reading.shown = now;
    return rill__going_on();
}

bool rill__progress(void *user, uint64_t done, uint64_t total) {
    enum { WIDTH = 30, MIN_WIDTH = 5 };
    static const char full[] = "##############################";
    rill__bar *bar = user;
    double now = rill__seconds();
    int rows, columns;
    if (bar->began <= 0) {
        bar->began = now;
        bar->first = done;
    }
    if (!isatty(STDERR_FILENO)) return !rill__interrupted();
    if (done >= total) {
        rill__progress_clear();
    } else if (now - bar->shown > 0.1) {
        char behind[96], text[MAX_LINE];
        double share = (double)done / (double)total;
        prospects(behind, sizeof behind, bar, done, total, now);
        if (!screen_size(&rows, &columns)) columns = 80;
        // The bar takes what the words leave; on a narrow screen the line's end goes.
        int width = columns - 1 - (int)strlen(bar->label) - (int)strlen(behind) - 8;
        width = width > WIDTH ? WIDTH : width < MIN_WIDTH ? MIN_WIDTH : width;
        snprintf(text, sizeof text, "%s [%-*.*s] %3.0f%%%s", bar->label, width,
                 (int)(share * width), full, share * 100, behind);
        fprintf(stderr, "\r\033[K%.*s", columns - 1, text);
        bar_shown = true;
        reading.on_screen = false;
        bar->shown = now;
    }
    return !rill__interrupted();
}
