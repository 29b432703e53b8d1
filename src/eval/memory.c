// SPDX-License-Identifier: MIT
// What a text costs in a cache. A token's keys and values take the same bytes wherever it stands,
// so both caches are a product: length of the text, or n + m, times the bytes of one token.
#include "eval/memory.h"

#include "base/base.h"

static rill_status cache_bytes(uint64_t token_bytes, uint64_t tokens, uint64_t *out,
                               rill_error *err) {
    if (__builtin_mul_overflow(token_bytes, tokens, out))
        return rill__fail(err, RILL_EINVAL, "lengths: a cache of %llu tokens is beyond 2^64 bytes",
                          (unsigned long long)tokens);
    return RILL_OK;
}

rill_status rill__memory_compare(const rill_model_info *info, const rill__memory_case *c,
                                 rill__memory *out, rill_error *err) {
    rill__memory m = {.token_bytes = rill_token_bytes(info, c->key_type, c->value_type)};
    if (c->tokens == 0) return rill__fail(err, RILL_EINVAL, "lengths: 0: at least 1 is right");
    rill_status status = cache_bytes(m.token_bytes, c->tokens, &m.dense_bytes, err);
    if (status == RILL_OK)
        status =
            cache_bytes(m.token_bytes, (uint64_t)c->sinks + c->window, &m.streaming_bytes, err);
    if (status != RILL_OK) return status;
    m.saved = m.dense_bytes ? 1 - (double)m.streaming_bytes / (double)m.dense_bytes : 0;
    *out = m;
    return RILL_OK;
}
