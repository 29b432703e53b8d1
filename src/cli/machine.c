// SPDX-License-Identifier: MIT
// JSON lines.
#include "cli/machine.h"

#include "cli/terminal.h"

#include "base/buffer.h"
#include "base/json.h"
#include "base/utf8.h"

json_t *rill__machine_text(const char *text, size_t length) {
    json_t *string = json_stringn(text, length);
    if (string) return string;
    rill__bytes clean;
    rill__bytes_init(&clean, 0);
    rill_status status = RILL_OK;
    for (size_t i = 0; i < length && status == RILL_OK;) {
        uint32_t code;
        char encoded[4];
        i += rill__utf8_decode(text + i, length - i, &code);
        status = rill__bytes_append(&clean, encoded, rill__utf8_encode(code, encoded), NULL);
    }
    if (status == RILL_OK) string = json_stringn(clean.data ? clean.data : "", clean.length);
    rill__bytes_deinit(&clean);
    return string;
}

void rill__machine_report(json_t *object, const rill_stream_report *report) {
    json_object_set_new(object, "seen", json_integer((json_int_t)report->seen));
    json_object_set_new(object, "held", json_integer((json_int_t)report->held));
    json_object_set_new(object, "evicted", json_integer((json_int_t)report->evicted));
    json_object_set_new(object, "evictions", json_integer((json_int_t)report->evictions));
    json_object_set_new(object, "messages_seen", json_integer((json_int_t)report->messages_seen));
    json_object_set_new(object, "messages_held", json_integer((json_int_t)report->messages_held));
    json_object_set_new(object, "sinks", json_integer(report->sinks));
    json_object_set_new(object, "window", json_integer(report->window));
    json_object_set_new(object, "cache_bytes", json_integer((json_int_t)report->bytes.cache));
    json_object_set_new(object, "total_bytes", json_integer((json_int_t)report->bytes.total));
}

// One write a line: a reader that follows never sees half of one.
bool rill__machine_line(json_t *object) {
    rill__bytes line;
    rill__bytes_init(&line, 0);
    bool ok =
        rill__json_append(object, JSON_COMPACT | JSON_REAL_PRECISION(12), &line, NULL) == RILL_OK &&
        rill__bytes_append(&line, "\n", 1, NULL) == RILL_OK && rill__output(line.data, line.length);
    json_decref(object);
    rill__bytes_deinit(&line);
    return ok;
}
