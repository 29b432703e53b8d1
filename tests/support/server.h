// SPDX-License-Identifier: MIT
// A server of completions that says the same to everybody, one connection at a time.
#ifndef RILL_TESTS_SERVER_H
#define RILL_TESTS_SERVER_H

#include <stddef.h>

// What is said: `text`, as it stands in JSON, so often; and what was asked last. Not to be touched
// while a request is on its way.
typedef struct test_server {
    char url[64];
    const char *text;
    size_t n_texts;
    char head[1 << 14];  // of the last request
    char body[1 << 14];
    size_t n_requests;
} test_server;

// Starts the process's one server, on a port of its own. NULL on failure.
test_server *test_server_start(void);
// Ends it.
void test_server_stop(void);

#endif
