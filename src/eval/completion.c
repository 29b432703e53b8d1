// SPDX-License-Identifier: MIT
// Completions over HTTP: libcurl carries them, jansson writes and reads them.
#include "eval/completion.h"

#include "base/json.h"
#include "base/utf8.h"

#include <curl/curl.h>

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    MAX_REPLY = 16 << 20,  // bytes; a completion of some tokens is far below
    CONNECT_SECONDS = 10,
    DEFAULT_SECONDS = 600,
    SHOWN = 120,  // bytes of a reply that is not understood
};

struct rill__completer {
    CURL *curl;
    struct curl_slist *headers;
    char *url;
    char *model;
    uint32_t timeout;
    rill__bytes request, reply;
    bool too_long;  // what ended the reply: its length, not memory
    bool (*go_on)(void);
    char reason[CURL_ERROR_SIZE];
};

static bool ends_in(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

// The address of completions on the server that `url` names.
static char *full_url(const char *url) {
    static const char path[] = "/v1/completions";
    size_t length = strlen(url);
    while (length && url[length - 1] == '/') length--;
    char *full = rill__malloc(length + sizeof path);
    if (!full) return NULL;
    snprintf(full, length + 1, "%s", url);
    if (ends_in(full, "/completions")) return full;
    const char *rest = ends_in(full, "/v1") ? path + strlen("/v1") : path;
    snprintf(full + length, sizeof path, "%s", rest);
    return full;
}

static size_t take_reply(char *data, size_t size, size_t n, void *user) {
    rill__completer *c = user;
    c->too_long = size * n > MAX_REPLY - c->reply.length;
    return rill__bytes_append(&c->reply, data, size * n, NULL) == RILL_OK ? size * n : 0;
}

static int ask_whether(void *user, curl_off_t a, curl_off_t b, curl_off_t d, curl_off_t e) {
    const rill__completer *c = user;
    (void)a, (void)b, (void)d, (void)e;
    return c->go_on && !c->go_on();
}

static bool add_header(rill__completer *c, const char *line) {
    struct curl_slist *longer = curl_slist_append(c->headers, line);
    if (longer) c->headers = longer;
    return longer != NULL;
}

static bool add_key(rill__completer *c, const char *key) {
    static const char bearer[] = "Authorization: Bearer ";
    rill__bytes line;
    rill__bytes_init(&line, 0);
    bool ok = rill__bytes_append(&line, bearer, strlen(bearer), NULL) == RILL_OK &&
              rill__bytes_append(&line, key, strlen(key), NULL) == RILL_OK &&
              add_header(c, line.data);
    rill__bytes_deinit(&line);
    return ok;
}

// What every request has alike.
static bool set_up(rill__completer *c, const char *key) {
    c->curl = curl_easy_init();
    if (!c->curl || !add_header(c, "Content-Type: application/json")) return false;
    // A large body is sent at once, without asking whether it is welcome.
    if (!add_header(c, "Expect:")) return false;
    if (key && !add_key(c, key)) return false;
    return curl_easy_setopt(c->curl, CURLOPT_URL, c->url) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, c->headers) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, take_reply) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, c) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_NOPROGRESS, 0L) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_XFERINFOFUNCTION, ask_whether) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_XFERINFODATA, c) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_ERRORBUFFER, c->reason) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_TIMEOUT, (long)c->timeout) == CURLE_OK;
}

rill_status rill__completer_open(const rill__completer_options *options, rill__completer **out,
                                 rill_error *err) {
    const char *url = options->url, *model = options->model;
    if (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0)
        return rill__fail(err, RILL_EINVAL, "%.200s: wants http://HOST:PORT", url);
    if (model && !rill__utf8_valid(model, strlen(model)))
        return rill__fail(err, RILL_EINVAL, "%.200s: the model's name '%.80s' is not UTF-8", url,
                          model);
    rill__completer *c = rill__calloc(1, sizeof *c);
    if (!c) return rill__fail_memory(err, "a client", sizeof *c);
    rill__bytes_init(&c->request, 0);
    rill__bytes_init(&c->reply, MAX_REPLY);
    c->timeout = options->timeout ? options->timeout : DEFAULT_SECONDS;
    c->go_on = options->go_on;
    c->url = full_url(url);
    c->model = model ? rill__strdup(model) : NULL;
    if (c->url && (c->model || !model) && curl_global_init(CURL_GLOBAL_DEFAULT) == 0 &&
        set_up(c, options->key)) {
        *out = c;
        return RILL_OK;
    }
    rill__completer_close(&c);
    return rill__fail_memory(err, "a client", sizeof *c);
}

void rill__completer_close(rill__completer **completer) {
    rill__completer *c = *completer;
    if (!c) return;
    curl_easy_cleanup(c->curl);
    curl_slist_free_all(c->headers);
    curl_global_cleanup();
    rill__bytes_deinit(&c->request);
    rill__bytes_deinit(&c->reply);
    rill__free(c->url);
    rill__free(c->model);
    rill__free(c);
    *completer = NULL;
}

static rill_status write_request(rill__completer *c, const char *prompt, size_t length,
                                 uint32_t max_tokens, const char *stop, rill_error *err) {
    rill__bytes_reset(&c->request);
    // jansson has one failure for this and for memory.
    if (!rill__utf8_valid(prompt, length) || !rill__utf8_valid(stop, strlen(stop)))
        return rill__fail(err, RILL_EINVAL, "%s: the text to send is not UTF-8", c->url);
    json_t *o = json_pack("{s:s%,s:I,s:i,s:s,s:b}", "prompt", prompt, length, "max_tokens",
                          (json_int_t)max_tokens, "temperature", 0, "stop", stop, "stream", 0);
    bool named = !c->model || json_object_set_new(o, "model", json_string(c->model)) == 0;
    rill_status status = named ? rill__json_append(o, JSON_COMPACT, &c->request, err)
                               : rill__fail_memory(err, "a request", length);
    json_decref(o);
    return status;
}

static rill_status not_understood(const rill__completer *c, const char *what, rill_error *err) {
    return rill__fail(err, RILL_EFORMAT, "%s: %s: '%.*s'", c->url, what, SHOWN,
                      c->reply.data ? c->reply.data : "");
}

// An error of HTTP, in the server's own words if it has some.
static rill_status refused(const rill__completer *c, long code, const json_t *reply,
                           rill_error *err) {
    const json_t *error = json_object_get(reply, "error");
    const char *words = json_string_value(error);
    if (!words) words = json_string_value(json_object_get(error, "message"));
    if (!words) words = json_string_value(json_object_get(reply, "message"));
    if (!words && code == 404)
        words = "nothing is there: wants a server with the OpenAI API's /v1/completions";
    if (words) return rill__fail(err, RILL_EIO, "%s: HTTP %ld: %.300s", c->url, code, words);
    return rill__fail(err, RILL_EIO, "%s: HTTP %ld: '%.*s'", c->url, code, SHOWN,
                      c->reply.data ? c->reply.data : "");
}

static rill_status read_reply(const rill__completer *c, long code, rill__bytes *out,
                              rill_error *err) {
    json_t *reply = NULL;
    const char *data = c->reply.data ? c->reply.data : "";
    rill_status status = rill__json_parse(c->url, data, c->reply.length, &reply, NULL);
    if (status == RILL_ENOMEM) return rill__fail_memory(err, "a reply", c->reply.length);
    if (code < 200 || code > 299) {
        status = refused(c, code, reply, err);
    } else if (status != RILL_OK) {
        status = not_understood(c, "the answer is no JSON", err);
    } else {
        const json_t *choice = json_array_get(json_object_get(reply, "choices"), 0);
        const json_t *text = json_object_get(choice, "text");
        rill__bytes_reset(out);
        if (json_is_string(text))
            status =
                rill__bytes_append(out, json_string_value(text), json_string_length(text), err);
        else
            status = not_understood(c, "the answer has no choices[0].text", err);
    }
    json_decref(reply);
    return status;
}

rill_status rill__completer_ask(rill__completer *c, const char *prompt, size_t length,
                                uint32_t max_tokens, const char *stop, rill__bytes *out,
                                rill_error *err) {
    long code = 0;
    rill_status status = write_request(c, prompt, length, max_tokens, stop, err);
    if (status != RILL_OK) return status;
    rill__bytes_reset(&c->reply);
    c->reason[0] = 0;
    curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, c->request.data);
    curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->request.length);
    CURLcode result = curl_easy_perform(c->curl);
    if (result == CURLE_ABORTED_BY_CALLBACK)
        return rill__fail(err, RILL_EINTERRUPTED, "%s: interrupted", c->url);
    if (result == CURLE_WRITE_ERROR && !c->too_long)
        return rill__fail_memory(err, "a reply", c->reply.length);
    if (result == CURLE_WRITE_ERROR)
        return rill__fail(err, RILL_EFORMAT, "%s: the answer is longer than %d MiB", c->url,
                          MAX_REPLY >> 20);
    if (result != CURLE_OK)
        return rill__fail(err, RILL_EIO, "%s: no answer: %s", c->url,
                          c->reason[0] ? c->reason : curl_easy_strerror(result));
    curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &code);
    return read_reply(c, code, out, err);
}
