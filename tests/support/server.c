// SPDX-License-Identifier: MIT
// As much of HTTP as a test of its client wants.
#include "server.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static test_server server;
static int listener;
static pthread_t thread;

// Reads a request to its end.
static void read_request(int connection) {
    static char buffer[1 << 16];
    size_t length = 0, body = 0;
    char *end = NULL;
    buffer[0] = 0;
    while (length + 1 < sizeof buffer) {
        ssize_t n = recv(connection, buffer + length, sizeof buffer - length - 1, 0);
        if (n <= 0) break;
        length += (size_t)n;
        buffer[length] = 0;
        end = strstr(buffer, "\r\n\r\n");
        const char *size = end ? strstr(buffer, "Content-Length: ") : NULL;
        if (size) body = strtoul(size + 16, NULL, 10);
        if (end && length >= (size_t)(end + 4 - buffer) + body) break;
    }
    snprintf(server.body, sizeof server.body, "%.*s", (int)sizeof server.body - 1,
             end ? end + 4 : "");
    if (end) end[2] = 0;
    snprintf(server.head, sizeof server.head, "%.*s", (int)sizeof server.head - 1, buffer);
    server.n_requests++;
}

static bool say(int connection, const char *text) {
    size_t length = strlen(text);
    while (length) {
        ssize_t n = send(connection, text, length, MSG_NOSIGNAL);
        if (n <= 0) return false;
        text += n;
        length -= (size_t)n;
    }
    return true;
}

static void *serve(void *unused) {
    for (;;) {
        int connection = accept(listener, NULL, NULL);
        if (connection < 0) return unused;
        read_request(connection);
        bool there = say(connection, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
                                     "{\"choices\": [{\"text\": \"");
        for (size_t i = 0; i < server.n_texts && there; i++) there = say(connection, server.text);
        if (there) say(connection, "\"}]}");
        close(connection);
    }
}

test_server *test_server_start(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 8) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0)
        return NULL;
    snprintf(server.url, sizeof server.url, "http://127.0.0.1:%d", ntohs(address.sin_port));
    return pthread_create(&thread, NULL, serve, NULL) == 0 ? &server : NULL;
}

void test_server_stop(void) {
    shutdown(listener, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(listener);
}
