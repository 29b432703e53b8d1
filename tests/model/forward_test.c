// SPDX-License-Identifier: MIT
// The forward pass over a backend that fails: whatever it latches reaches the caller, whoever asks
// for it first.
#include "rill/rill.h"

#include "stream/handles.h"
#include "support/golden.h"
#include "support/open.h"

enum { TOKENS = 3, LAYERS = 3 };  // golden llama's

static struct {
    unsigned calls;
    unsigned fails_at;  // the call that reports a failure, once; 0: none
} backend;

static rill_status synchronize(rill__backend *be, rill_error *err) {
    (void)be;
    if (++backend.calls == backend.fails_at)
        return rill__fail(err, RILL_EIO, "the device went away");
    return RILL_OK;
}

static void count(void *user, const rill_attention_row *row) {
    (void)row;
    ++*(unsigned *)user;
}

// Feeds some tokens with a backend whose synchronize number `fails_at` reports a failure.
static rill_status feed_failing(rill_stream *stream, unsigned fails_at, float *logits,
                                rill_error *err) {
    static const rill_token tokens[TOKENS] = {1, 2, 3};
    backend.calls = 0;
    backend.fails_at = fails_at;
    *err = (rill_error){0};
    return rill_stream_feed(stream, tokens, TOKENS, logits, err);
}

// Observed, each layer waits for the backend, and then the logits do: before what is read, and
// behind it, for the reading may fail too.
static void failures_reach_the_caller(void **state) {
    (void)state;
    rill_model *model =
        test_model(golden_directory("llama"), &(rill_device_options){.exact = true, .threads = 1});
    rill__backend *be = model->network.backend;
    const rill__backend_ops *ops = be->ops;
    rill__backend_ops failing = *ops;
    failing.synchronize = synchronize;
    be->ops = &failing;
    assert_int_equal(model->model->description.n_layers, LAYERS);
    for (int observed = 0; observed < 2; observed++) {
        unsigned waits = 2 * (observed ? LAYERS + 1 : 1);
        for (unsigned at = 0; at <= waits; at++) {
            static float logits[TOKENS * GOLDEN_VOCABULARY];
            rill_error err;
            rill_stream *stream;
            unsigned seen = 0;
            must(rill_stream_open(model, NULL, &stream, &err), &err);
            if (observed) must(rill_stream_observe(stream, count, &seen, &err), &err);
            rill_status status = feed_failing(stream, at, logits, &err);
            if (at == 0) {
                must(status, &err);
                assert_int_equal(backend.calls, waits);
                assert_int_equal(seen, observed ? LAYERS * TOKENS : 0);
            } else {
                assert_int_equal(status, RILL_EIO);
                assert_string_equal(err.message, "the device went away");
                assert_int_equal(backend.calls, at);  // nothing goes on behind it
                assert_int_equal(seen, observed ? (at - 1) / 2 * TOKENS : 0);
            }
            rill_stream_close(&stream);
        }
    }
    be->ops = ops;
    rill_model_close(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failures_reach_the_caller),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
