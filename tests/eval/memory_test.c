// SPDX-License-Identifier: MIT
// Bytes of caches against numbers worked out by hand, and against what a stream really takes.
#include "eval/memory.h"

#include "support/open.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const rill_model_info write_up = {
    .n_layers = 24, .hidden_size = 768, .n_heads = 12, .n_kv_heads = 12, .head_dim = 64};

static rill__memory compare(const rill_model_info *info, rill__memory_case c) {
    rill__memory out;
    rill_error err;
    must(rill__memory_compare(info, &c, &out, &err), &err);
    return out;
}

// The public write-up of the method: 24 layers, 768 wide, float16. A token is 2 x 24 x 768 x 2 =
// 73,728 bytes; 10,000 of them 703.125 x 2^20, and 4 + 2,044 of them 144 x 2^20: 79.5% less.
static void test_the_public_example(void **state) {
    (void)state;
    rill__memory m = compare(&write_up, (rill__memory_case){.key_type = RILL_TYPE_F16,
                                                            .value_type = RILL_TYPE_F16,
                                                            .tokens = 10000,
                                                            .sinks = 4,
                                                            .window = 2044});
    assert_int_equal(m.token_bytes, 73728);
    assert_int_equal(m.dense_bytes, 737280000);
    assert_int_equal(m.streaming_bytes, 144 << 20);
    assert_true((double)m.dense_bytes == 703.125 * 1048576);
    assert_true(m.saved == 0.7952);
}

// Keys and values of their own types; 32 numbers are 34 bytes in q8_0, 18 in q4_0.
static void test_types(void **state) {
    (void)state;
    static const struct {
        rill_type key, value;
        uint64_t token_bytes;  // 24 layers x 12 heads x (key + value of 64 numbers)
    } rows[] = {
        {RILL_TYPE_F32, RILL_TYPE_F32, 24 * 12 * (256 + 256)},
        {RILL_TYPE_F16, RILL_TYPE_F16, 24 * 12 * (128 + 128)},
        {RILL_TYPE_Q8_0, RILL_TYPE_Q8_0, 24 * 12 * (68 + 68)},
        {RILL_TYPE_Q8_0, RILL_TYPE_F16, 24 * 12 * (68 + 128)},
        {RILL_TYPE_BF16, RILL_TYPE_Q4_0, 24 * 12 * (128 + 36)},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rill__memory m = compare(&write_up, (rill__memory_case){.key_type = rows[i].key,
                                                                .value_type = rows[i].value,
                                                                .tokens = 10000000,
                                                                .window = 7});
        assert_int_equal(m.token_bytes, rows[i].token_bytes);
        assert_int_equal(m.dense_bytes, rows[i].token_bytes * 10000000);
        assert_int_equal(m.streaming_bytes, rows[i].token_bytes * 7);
    }
}

// A text shorter than the cache saves nothing, and the number says so.
static void test_short_texts(void **state) {
    (void)state;
    rill__memory_case c = {.key_type = RILL_TYPE_F16,
                           .value_type = RILL_TYPE_F16,
                           .tokens = 1024,
                           .sinks = 4,
                           .window = 2044};
    assert_true(compare(&write_up, c).saved == -1);
    c.tokens = 2048;
    assert_true(compare(&write_up, c).saved == 0);
}

static void test_refused(void **state) {
    (void)state;
    rill__memory out;
    rill_error err;
    rill__memory_case c = {.key_type = RILL_TYPE_F16, .value_type = RILL_TYPE_F16, .window = 1};
    assert_int_equal(rill__memory_compare(&write_up, &c, &out, &err), RILL_EINVAL);
    // 2^64 / 73,728 = 250,199,979,298,360.97: the last count that fits, and the first that does
    // not.
    c.tokens = 250199979298360;
    assert_int_equal(rill__memory_compare(&write_up, &c, &out, &err), RILL_OK);
    c.tokens++;
    assert_int_equal(rill__memory_compare(&write_up, &c, &out, &err), RILL_EINVAL);
    assert_non_null(strstr(err.message, "250199979298361"));
}

// What streams take at open: dense exactly this, streaming one chunk less a token more.
static void test_beside_streams(void **state) {
    (void)state;
    rill_device_options one = {.threads = 1};
    rill_model *model = test_model(test_shipped_model(), &one);
    rill_model_info info;
    rill_stream_bytes bytes;
    rill_error err;
    rill_model_get_info(model, &info);
    rill__memory m = compare(&info, (rill__memory_case){.key_type = RILL_TYPE_Q8_0,
                                                        .value_type = RILL_TYPE_F16,
                                                        .tokens = 500,
                                                        .sinks = 4,
                                                        .window = 252});
    rill_stream_options o;
    rill_stream_options_default(&o);
    o.default_types = false;
    o.key_type = RILL_TYPE_Q8_0;
    o.method = RILL_METHOD_DENSE;
    o.window = 500;
    must(rill_stream_estimate(model, &o, NULL, &bytes, &err), &err);
    assert_int_equal(bytes.cache, m.dense_bytes);
    o.method = RILL_METHOD_STREAMING;
    o.window = 252;
    o.chunk = 16;
    must(rill_stream_estimate(model, &o, NULL, &bytes, &err), &err);
    assert_int_equal(bytes.cache, m.streaming_bytes + 15 * m.token_bytes);
    rill_model_close(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_public_example), cmocka_unit_test(test_types),
        cmocka_unit_test(test_short_texts),        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_beside_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
