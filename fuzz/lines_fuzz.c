// SPDX-License-Identifier: MIT
// Files of JSON lines, read both as StreamEval's two-line format and as questions of ARC.
#include "fuzz.h"

#include "eval/arc.h"
#include "eval/records.h"

#include <string.h>

// Reads all of a question, as whoever asks it would.
static size_t use(const rill__quiz_item *item) {
    size_t length = strlen(item->question);
    if (item->right >= item->n_choices) __builtin_trap();
    for (size_t i = 0; i < item->n_choices; i++) length += strlen(item->choices[i]);
    return length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = fuzz_file("lines.jsonl", data, size);
    rill_error err;
    rill__records *records;
    rill__records_facts facts;
    if (rill__records_open(path, &records, &err) == RILL_OK) {
        if (rill__records_scan(records, NULL, &facts, &err) == RILL_OK) {
            rill__item item = {.kind = RILL_ITEM_RECORD};
            while (item.kind != RILL_ITEM_END)
                if (rill__records_next(records, &item, &err) != RILL_OK) __builtin_trap();
        }
        rill__records_close(&records);
    }
    rill__quiz *quiz;
    volatile size_t length = 0;
    if (rill__quiz_open(path, 0, &quiz, &err) != RILL_OK) return 0;
    for (size_t i = 0; i < rill__quiz_count(quiz); i++) length += use(rill__quiz_item_at(quiz, i));
    rill__quiz_close(&quiz);
    return 0;
}
