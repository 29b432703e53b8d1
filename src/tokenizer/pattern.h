// SPDX-License-Identifier: MIT
// Regular expressions of tokenizer files, compiled by PCRE2 for UTF-8 with Unicode properties.
#ifndef RILL_TOKENIZER_PATTERN_H
#define RILL_TOKENIZER_PATTERN_H

#include "base/base.h"

typedef struct rill__pattern rill__pattern;

// Compiles a pattern as tokenizers write it (Oniguruma's dialect); \s, \S, \w, \W take Unicode's
// properties. RILL_EUNSUPPORTED names what PCRE2 does not take, RILL_ENOMEM. Immutable after that.
RILL_NODISCARD rill_status rill__pattern_open(const char *text, size_t length, rill__pattern **out,
                                              rill_error *err);
void rill__pattern_close(rill__pattern **p);
// The text that was compiled, terminated.
const char *rill__pattern_text(const rill__pattern *p);
// True if a match may depend on what stands before it (look-behind, \b, anchors).
bool rill__pattern_looks_back(const rill__pattern *p);

// What a thread needs for matching.
typedef struct rill__matcher rill__matcher;
RILL_NODISCARD rill_status rill__matcher_open(rill__matcher **out, rill_error *err);
void rill__matcher_close(rill__matcher **m);

typedef enum rill__found {
    RILL_FOUND_NONE,
    RILL_FOUND_MATCH,
    RILL_FOUND_PARTIAL,  // from *begin on, more text could make another answer
} rill__found;

// The first match at or after `at` in valid UTF-8. With `partial` it never depends on where the
// text ends. RILL_EUNSUPPORTED if the pattern takes too many steps; RILL_ENOMEM.
RILL_NODISCARD rill_status rill__pattern_find(const rill__pattern *p, rill__matcher *m,
                                              const char *text, size_t length, size_t at,
                                              bool partial, rill__found *found, size_t *begin,
                                              size_t *end, rill_error *err);

#endif
