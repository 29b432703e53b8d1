// SPDX-License-Identifier: MIT
// Output for machines: one JSON object a line, keys in the order written, never renamed.
#ifndef RILL_CLI_MACHINE_H
#define RILL_CLI_MACHINE_H

#include "rill/rill.h"

#include <jansson.h>

// A JSON string of text that may hold NULs and bytes that are no UTF-8 (U+FFFD in their place).
// NULL when memory is out, which json_object_set_new takes.
json_t *rill__machine_text(const char *text, size_t length);
// The numbers of a report under stable keys, into an object that has others already.
void rill__machine_report(json_t *object, const rill_stream_report *report);
// Prints the object on one line, and frees it; NULL (no memory) fails. Returns false if it did not
// go out.
bool rill__machine_line(json_t *object);

#endif
