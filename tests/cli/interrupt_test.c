// SPDX-License-Identifier: MIT
// Reading what people type: a signal ends it, whenever it comes.
#include "cli/terminal.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

enum { SECONDS = 20 };  // a read that no signal ends is killed then

// Nothing comes from the pipe.
static void open_pipe(int ends[2]) {
    assert_int_equal(pipe(ends), 0);
    rill__interrupt_install();
    rill__interrupt_clear();
    alarm(SECONDS);
}

static void close_pipe(int ends[2]) {
    alarm(0);
    close(ends[0]);
    close(ends[1]);
    rill__interrupt_clear();
}

static void a_signal_just_before_is_not_lost(void **state) {
    (void)state;
    int ends[2];
    char byte;
    open_pipe(ends);
    raise(SIGINT);
    errno = 0;
    assert_int_equal(rill__read_input(ends[0], &byte, 1), -1);
    assert_int_equal(errno, EINTR);
    close_pipe(ends);
}

static void what_is_there_is_read(void **state) {
    (void)state;
    int ends[2];
    char bytes[4] = {0};
    open_pipe(ends);
    assert_int_equal(write(ends[1], "ab", 2), 2);
    assert_int_equal(rill__read_input(ends[0], bytes, sizeof bytes), 2);
    assert_string_equal(bytes, "ab");
    close(ends[1]);
    assert_int_equal(rill__read_input(ends[0], bytes, sizeof bytes), 0);
    ends[1] = -1;
    close_pipe(ends);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signal_just_before_is_not_lost),
        cmocka_unit_test(what_is_there_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
