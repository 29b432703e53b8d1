// SPDX-License-Identifier: MIT
// Regular expressions, by PCRE2 with its just-in-time compiler where the machine has it.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "tokenizer/pattern.h"

#include "base/buffer.h"

#include <pcre2.h>
#include <string.h>

enum {
    MAX_PATTERN = 1 << 16,  // bytes of a pattern
    MATCH_LIMIT = 50 * 1000 * 1000,
    JIT_STACK_FIRST = 1 << 15,  // bytes
    JIT_STACK_MOST = 1 << 23,
};

struct rill__pattern {
    char *text;
    pcre2_code *code;
    bool looks_back;
    bool jit;
    bool no_memory;  // PCRE2 asked for memory and there was none
};

struct rill__matcher {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

// `no_memory` is set when there is none; NULL where nobody asks.
static void *take(PCRE2_SIZE bytes, void *no_memory) {
    void *memory = rill__malloc(bytes);
    if (!memory && no_memory) *(bool *)no_memory = true;
    return memory;
}

static void give(void *memory, void *user) {
    (void)user;
    rill__free(memory);
}

#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"

// White space and letters are Unicode's properties in Oniguruma and in Rust's regular expressions,
// and PCRE2's own lists elsewhere; the properties are written out.
static const char *translation(char escaped, bool in_class) {
    switch (escaped) {
    case 's': return "\\p{White_Space}";
    case 'S': return "\\P{White_Space}";
    case 'w': return in_class ? WORD : "[" WORD "]";
    case 'W': return in_class ? NULL : "[^" WORD "]";
    default: return NULL;
    }
}

static rill_status translate(const char *text, size_t length, rill__bytes *out, bool *looks_back,
                             rill_error *err) {
    bool in_class = false;
    rill_status status = RILL_OK;
    *looks_back = false;
    for (size_t i = 0; status == RILL_OK && i < length; i++) {
        char c = text[i];
        if (c == '\\' && i + 1 < length) {
            char escaped = text[++i];
            const char *other = translation(escaped, in_class);
            if (strchr("bBAGK", escaped) && !in_class) *looks_back = true;
            if (other)
                status = rill__bytes_append(out, other, strlen(other), err);
            else
                status = rill__bytes_append(out, text + i - 1, 2, err);
            continue;
        }
        if (in_class) {
            in_class = c != ']';
        } else if (c == '[') {
            in_class = true;
            // A bracket right after the opening one (or its ^) is a plain character.
            size_t next = i + 1 < length && text[i + 1] == '^' ? i + 2 : i + 1;
            if (next < length && text[next] == ']') {
                status = rill__bytes_append(out, text + i, next - i, err);
                if (status == RILL_OK) status = rill__bytes_append(out, "\\]", 2, err);
                i = next;
                continue;
            }
        } else if (c == '^' || (c == '(' && i + 2 < length && memcmp(text + i, "(?<", 3) == 0)) {
            *looks_back = true;
        }
        status = rill__bytes_append(out, &c, 1, err);
    }
    return status;
}

static rill_status compile(rill__pattern *p, const char *text, size_t length, rill_error *err) {
    pcre2_general_context *general = pcre2_general_context_create(take, give, &p->no_memory);
    pcre2_compile_context *context = general ? pcre2_compile_context_create(general) : NULL;
    rill_status status = RILL_OK;
    int code;
    PCRE2_SIZE offset;
    if (!context) {
        status = rill__fail_memory(err, "a pattern", length);
        goto out;
    }
    p->code = pcre2_compile((PCRE2_SPTR)text, length,
                            PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK | PCRE2_NEVER_BACKSLASH_C,
                            &code, &offset, context);
    if (!p->code) {
        char why[128];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
        status = code == PCRE2_ERROR_HEAP_FAILED || code == PCRE2_ERROR_NOMEMORY
                     ? rill__fail_memory(err, "a pattern", length)
                     : rill__fail(err, RILL_EUNSUPPORTED, "pattern '%.60s': %s (at byte %zu)",
                                  p->text, why, (size_t)offset);
        goto out;
    }
    // The interpreter does it where there is no compiler, or no memory that may be executed.
    p->jit = pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD) == 0;
    if (p->no_memory) status = rill__fail_memory(err, "a pattern", length);
out:
    pcre2_compile_context_free(context);
    pcre2_general_context_free(general);
    return status;
}

rill_status rill__pattern_open(const char *text, size_t length, rill__pattern **out,
                               rill_error *err) {
    if (length > MAX_PATTERN)
        return rill__fail(err, RILL_EUNSUPPORTED, "pattern of %zu bytes: at most %d are taken",
                          length, MAX_PATTERN);
    rill__bytes translated;
    rill__bytes_init(&translated, 0);
    rill__pattern *p = rill__calloc(1, sizeof *p);
    if (p) p->text = rill__strndup(text, length);
    rill_status status = p && p->text ? translate(text, length, &translated, &p->looks_back, err)
                                      : rill__fail_memory(err, "a pattern", length);
    if (status == RILL_OK)
        status = compile(p, translated.data ? translated.data : "", translated.length, err);
    rill__bytes_deinit(&translated);
    if (status == RILL_OK)
        *out = p;
    else
        rill__pattern_close(&p);
    return status;
}

void rill__pattern_close(rill__pattern **p) {
    if (!*p) return;
    pcre2_code_free((*p)->code);
    rill__free((*p)->text);
    rill__free(*p);
    *p = NULL;
}

const char *rill__pattern_text(const rill__pattern *p) {
    return p->text;
}

bool rill__pattern_looks_back(const rill__pattern *p) {
    return p->looks_back;
}

rill_status rill__matcher_open(rill__matcher **out, rill_error *err) {
    pcre2_general_context *general = pcre2_general_context_create(take, give, NULL);
    rill__matcher *m = rill__calloc(1, sizeof *m);
    if (general && m) {
        m->data = pcre2_match_data_create(1, general);
        m->context = pcre2_match_context_create(general);
        m->stack = pcre2_jit_stack_create(JIT_STACK_FIRST, JIT_STACK_MOST, general);
    }
    // Without a just-in-time compiler there is no such stack, and none is needed.
    uint32_t compiles = 0;
    (void)pcre2_config(PCRE2_CONFIG_JIT, &compiles);
    bool whole = general && m && m->data && m->context && (m->stack || !compiles);
    pcre2_general_context_free(general);
    if (!whole) {
        rill__matcher_close(&m);
        return rill__fail_memory(err, "a matcher", sizeof *m);
    }
    pcre2_set_match_limit(m->context, MATCH_LIMIT);
    pcre2_jit_stack_assign(m->context, NULL, m->stack);
    *out = m;
    return RILL_OK;
}

void rill__matcher_close(rill__matcher **m) {
    if (!*m) return;
    pcre2_match_data_free((*m)->data);
    pcre2_match_context_free((*m)->context);
    pcre2_jit_stack_free((*m)->stack);
    rill__free(*m);
    *m = NULL;
}

rill_status rill__pattern_find(const rill__pattern *p, rill__matcher *m, const char *text,
                               size_t length, size_t at, bool partial, rill__found *found,
                               size_t *begin, size_t *end, rill_error *err) {
    uint32_t options = PCRE2_NO_UTF_CHECK | (partial ? PCRE2_PARTIAL_HARD : 0u);
    int rc = pcre2_match(p->code, (PCRE2_SPTR)text, length, at, options, m->data, m->context);
    const PCRE2_SIZE *ovector = pcre2_get_ovector_pointer(m->data);
    if (rc >= 0) {
        // \K may put the end before the beginning; patterns that use it are not split by it.
        *found = ovector[0] <= ovector[1] ? RILL_FOUND_MATCH : RILL_FOUND_NONE;
    } else if (rc == PCRE2_ERROR_PARTIAL) {
        *found = RILL_FOUND_PARTIAL;
    } else if (rc == PCRE2_ERROR_NOMATCH) {
        *found = RILL_FOUND_NONE;
        return RILL_OK;
    } else if (rc == PCRE2_ERROR_NOMEMORY || rc == PCRE2_ERROR_HEAPLIMIT) {
        return rill__fail_memory(err, "matching", length);
    } else {
        return rill__fail(err, RILL_EUNSUPPORTED,
                          "pattern '%.60s': takes too many steps on this text", p->text);
    }
    *begin = ovector[0];
    *end = ovector[1];
    return RILL_OK;
}
