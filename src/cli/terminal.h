// SPDX-License-Identifier: MIT
// The terminal and the signals: what goes to stdout, the status line on stderr, Ctrl-C.
#ifndef RILL_CLI_TERMINAL_H
#define RILL_CLI_TERMINAL_H

#include "base/base.h"

#include <sys/types.h>

// ---- Interrupts -----------------------------------------------------------------------------

// From here on SIGINT, SIGTERM and SIGHUP set a mark; a second one leaves at once with status 130.
// SIGPIPE is ignored: writing says so instead.
void rill__interrupt_install(void);
// True once a signal came.
bool rill__interrupted(void);
// The opposite, for whoever asks whether to go on.
bool rill__going_on(void);
// True once it was one that asks to leave for good (SIGTERM, SIGHUP).
bool rill__terminated(void);
// Forgets it: the next signal is a first one again.
void rill__interrupt_clear(void);
// read(2), which a signal of these ends with EINTR even if it came just before; other signals do
// not end it.
ssize_t rill__read_input(int file, void *buffer, size_t size);

// ---- Standard output ------------------------------------------------------------------------

// Writes all bytes to stdout at once. Returns false when nobody can take them any more; the first
// failure other than a closed pipe is kept for rill__output_status.
bool rill__output(const char *text, size_t length);
// printf to stdout, of any length; the same result.
bool rill__outputf(const char *format, ...) RILL_PRINTF(1, 2);
// 0, or 1 after a failure, which it prints on stderr. A closed pipe is none: who reads `rill run |
// head` has what was wanted.
int rill__output_status(void);
// True once writing failed, a closed pipe included.
bool rill__output_closed(void);

// ---- Status line ----------------------------------------------------------------------------

// One line below the text, rewritten in place; only where stderr is a terminal, else all are
// no-ops. When stdout is the same terminal the last row is set aside for it.
void rill__status_open(void);
// True if it is time to show another (5 times a second).
bool rill__status_due(void);
void rill__status_show(const char *format, ...) RILL_PRINTF(1, 2);
// Takes the line away and gives the terminal back whole.
void rill__status_close(void);

// A progress bar on stderr, with the rate so far and the time left. One for each piece of work.
typedef struct rill__bar {
    const char *label;
    const char *unit;  // what is counted: "tokens", "bytes"; NULL: shares only, no rate
    // The bar's own, zero before: when it was first called, with how much done, last shown.
    double began, shown;
    uint64_t first;
} rill__bar;

// For rill_progress_fn: user is a rill__bar *. Returns false after Ctrl-C.
bool rill__progress(void *user, uint64_t done, uint64_t total);
// For work whose end nobody knows: says from now on what is being read, with the seconds that it
// takes, once they are worth saying and while no bar is shown. `what` is borrowed.
void rill__reading(const char *what);
// To be asked now and then while it lasts: rill__going_on, which shows the line.
bool rill__reading_on(void);
// Takes the bar, or the line, away, if one is there.
void rill__progress_clear(void);

#endif
