// SPDX-License-Identifier: MIT
// GGUF: files put together byte by byte; and what the writer writes, read again.
#include "format/gguf_writer.h"

#include "failing_allocator.h"
#include "gguf_image.h"

// ---- What is right --------------------------------------------------------------------------

static const uint8_t value_sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

static void check_numbers(const rill__gguf *g) {
    static const struct {
        uint32_t type;
        int64_t value;
    } expected[] = {{RILL_GGUF_U8, 0xfe},
                    {RILL_GGUF_I8, -2},
                    {RILL_GGUF_U16, 0xfefe},
                    {RILL_GGUF_I16, (int16_t)0xfefe},
                    {RILL_GGUF_U32, 0xfefefefe},
                    {RILL_GGUF_I32, (int32_t)0xfefefefe},
                    {RILL_GGUF_I64, (int64_t)0xfefefefefefefefe}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        char key[16];
        int64_t whole = 0;
        double real = 0;
        bool flag;
        snprintf(key, sizeof key, "k%u", expected[i].type);
        assert_true(rill__gguf_integer(g, key, &whole));
        assert_int_equal(whole, expected[i].value);
        assert_true(rill__gguf_real(g, key, &real));
        assert_true(real == (double)expected[i].value);
        assert_false(rill__gguf_bool(g, key, &flag));
        snprintf(key, sizeof key, "a%u", expected[i].type);
        const rill__gguf_value *list = rill__gguf_find(g, key);
        assert_non_null(list);
        assert_true(list->is_array);
        assert_int_equal(list->count, 2);
        assert_int_equal(rill__gguf_array_integer(list, 0), 0);
        assert_int_equal(rill__gguf_array_integer(list, 1), expected[i].value);
        assert_false(rill__gguf_integer(g, key, &whole));
        assert_false(rill__gguf_real(g, key, &real));
    }
}

static void put_element(uint32_t type, uint64_t bits, int i) {
    if (type == RILL_GGUF_ARRAY) {  // [i, i, ..]
        put_number(RILL_GGUF_U16, 4);
        put_number(3, 8);
        put_data(6);
    } else if (type == RILL_GGUF_STRING) {
        put_string(i ? "second" : "");
    } else {
        put_number(i ? bits : 0, value_sizes[type]);
    }
}

// "kN", a value of type N, and "aN", an array of two.
static void put_kind(uint32_t type) {
    char key[16];
    uint64_t bits = 0xfefefefefefefefe;
    float f = -2.5f;
    double d = 1e300;
    if (type == RILL_GGUF_F32) memcpy(&bits, &f, sizeof f);
    if (type == RILL_GGUF_F64) memcpy(&bits, &d, sizeof d);
    if (type == RILL_GGUF_BOOL) bits = 1;
    snprintf(key, sizeof key, "k%u", type);
    if (type == RILL_GGUF_ARRAY) {
        put_array_key(key, RILL_GGUF_U8, 0);
    } else if (type == RILL_GGUF_STRING) {
        put_key(key, type);
        put_string("text");
    } else {
        put_key(key, type);
        put_number(bits, value_sizes[type]);
    }
    snprintf(key, sizeof key, "a%u", type);
    put_array_key(key, type, 2);
    for (int i = 0; i < 2; i++) put_element(type, bits, i);
}

static void put_every_kind(void) {
    begin(3, 0, 2 * 13 + 2);
    for (uint32_t type = 0; type < RILL_GGUF_TYPES; type++) put_kind(type);
    put_key("last", RILL_GGUF_U32);
    put_number(5, 4);
    put_array_key("deep", RILL_GGUF_ARRAY, 1);  // [[["x"]]]
    put_number(RILL_GGUF_ARRAY, 4);
    put_number(1, 8);
    put_number(RILL_GGUF_STRING, 4);
    put_number(1, 8);
    put_string("x");
}

static void every_kind_of_value_is_read(void **state) {
    (void)state;
    rill__gguf g;
    rill_error err;
    put_every_kind();
    assert_int_equal(open_image(&g, &err), RILL_OK);
    assert_int_equal(g.n_values, 28);
    assert_int_equal(g.n_tensors, 0);
    check_numbers(&g);
    int64_t whole;
    double real;
    bool flag = false;
    rill__gguf_string text;
    assert_true(rill__gguf_real(&g, "k6", &real) && real == -2.5);
    assert_true(rill__gguf_array_f32(rill__gguf_find(&g, "a6"), 1) == -2.5f);
    assert_false(rill__gguf_integer(&g, "k6", &whole));
    assert_true(rill__gguf_bool(&g, "k7", &flag) && flag);
    assert_true(rill__gguf_text(&g, "k8", &text));
    assert_int_equal(text.length, 4);
    assert_memory_equal(text.data, "text", 4);
    assert_false(rill__gguf_text(&g, "a8", &text));
    const uint8_t *at = rill__gguf_find(&g, "a8")->data;
    assert_int_equal(rill__gguf_next_string(&at).length, 0);
    text = rill__gguf_next_string(&at);
    assert_memory_equal(text.data, "second", text.length);
    assert_int_equal(text.length, 6);
    assert_int_equal(rill__gguf_find(&g, "k9")->count, 0);
    assert_int_equal(rill__gguf_find(&g, "a9")->bytes, 2 * (4 + 8 + 6));
    // Larger than an int64: not a whole number that anything here could want.
    assert_false(rill__gguf_integer(&g, "k10", &whole));
    assert_true(rill__gguf_real(&g, "k12", &real) && real == 1e300);
    assert_int_equal(rill__gguf_find(&g, "deep")->count, 1);
    assert_true(rill__gguf_integer(&g, "last", &whole) && whole == 5);
    assert_null(rill__gguf_find(&g, "missing"));
    assert_false(rill__gguf_integer(&g, "missing", &whole));
    rill__gguf_close(&g);
}

static void every_type_of_tensor_is_read(void **state) {
    (void)state;
    static const struct {
        rill_type type;
        size_t bytes;  // of 2 rows of 256
    } types[] = {{RILL_TYPE_F32, 2048}, {RILL_TYPE_F16, 1024},   {RILL_TYPE_BF16, 1024},
                 {RILL_TYPE_Q8_0, 544}, {RILL_TYPE_Q4_0, 288},   {RILL_TYPE_Q4_1, 320},
                 {RILL_TYPE_Q5_0, 352}, {RILL_TYPE_Q5_1, 384},   {RILL_TYPE_Q4_K, 288},
                 {RILL_TYPE_Q6_K, 420}, {RILL_TYPE_Q2_K, 168},   {RILL_TYPE_Q3_K, 220},
                 {RILL_TYPE_Q5_K, 352}, {RILL_TYPE_IQ4_NL, 288}, {RILL_TYPE_IQ4_XS, 272},
                 {RILL_TYPE_MXFP4, 272}};
    enum { N = sizeof types / sizeof *types };
    rill__gguf g;
    rill_error err;
    size_t offset = 0;
    begin(3, N, 1);
    put_key("general.alignment", RILL_GGUF_U64);
    put_number(64, 8);
    for (size_t i = 0; i < N; i++) {
        put_tensor(rill_type_name(types[i].type), (uint32_t)types[i].type, 256, 2, offset);
        offset += (types[i].bytes + 63) / 64 * 64;
    }
    put_padding(64);
    size_t data = used;
    put_data(offset);
    assert_int_equal(open_image(&g, &err), RILL_OK);
    assert_int_equal(g.n_tensors, N);
    offset = 0;
    for (size_t i = 0; i < N; i++) {
        const rill__tensor *t = rill__gguf_tensor(&g, rill_type_name(types[i].type));
        assert_non_null(t);
        assert_int_equal(t->type, types[i].type);
        assert_int_equal(t->n_dims, 2);
        assert_int_equal(t->shape[0], 2);
        assert_int_equal(t->shape[1], 256);
        assert_int_equal(t->bytes, types[i].bytes);
        assert_int_equal(t->data - g.mapping.data, data + offset);
        assert_memory_equal(t->data, image + data + offset, t->bytes);
        offset += (types[i].bytes + 63) / 64 * 64;
    }
    assert_null(rill__gguf_tensor(&g, "nothing"));
    rill__gguf_close(&g);
}

static void versions_2_and_3_are_read(void **state) {
    (void)state;
    for (uint32_t version = 0; version < 6; version++) {
        rill__gguf g;
        rill_error err;
        make_small(version);
        bool known = version == 2 || version == 3;
        assert_int_equal(open_image(&g, &err), known ? RILL_OK : RILL_EUNSUPPORTED);
        if (known)
            rill__gguf_close(&g);
        else
            assert_non_null(strstr(err.message, "version"));
    }
}

// ---- The writer -----------------------------------------------------------------------------

static rill_status write_file(const char *path, rill_error *err) {
    rill__gguf_writer w;
    const uint64_t shape[2] = {3, 64};
    static const float vector[5] = {1, 2, 3, 4, 5};
    static uint8_t blocks[204];
    for (size_t i = 0; i < sizeof blocks; i++) blocks[i] = (uint8_t)i;
    rill__gguf_writer_init(&w, err);
    rill__gguf_put_u32(&w, "u", 4000000000u);
    rill__gguf_put_f32(&w, "f", 0.1);
    rill__gguf_put_bool(&w, "b", true);
    rill__gguf_put_text(&w, "t", "two words");
    rill__gguf_put_array(&w, "as", RILL_GGUF_STRING, 2);
    rill__gguf_put_string(&w, "x\0y", 3);
    rill__gguf_put_string(&w, "", 0);
    rill__gguf_put_array(&w, "au", RILL_GGUF_U8, 5);
    rill__gguf_put_bytes(&w, "abcde", 5);
    rill__gguf_add_tensor(&w, "vector", RILL_TYPE_F32, 1, &(uint64_t){5});
    rill__gguf_add_tensor(&w, "matrix", RILL_TYPE_Q8_0, 2, shape);
    rill_status status = rill__gguf_writer_begin(&w, path);
    if (status == RILL_OK) status = rill__gguf_write_data(&w, vector, sizeof vector);
    if (status == RILL_OK) status = rill__gguf_end_tensor(&w);
    for (size_t i = 0; i < sizeof blocks && status == RILL_OK; i += 68)
        status = rill__gguf_write_data(&w, blocks + i, 68);
    if (status == RILL_OK) status = rill__gguf_end_tensor(&w);
    if (status == RILL_OK) status = rill__gguf_writer_finish(&w);
    rill__gguf_writer_deinit(&w);
    return status;
}

static void what_is_written_is_read(void **state) {
    (void)state;
    rill__gguf g;
    rill_error err;
    int64_t whole;
    double real;
    bool flag;
    rill__gguf_string text;
    const char *path = scratch_path("written.gguf");
    assert_int_equal(write_file(path, &err), RILL_OK);
    assert_int_equal(rill__gguf_open(path, &g, &err), RILL_OK);
    assert_int_equal(g.n_values, 6);
    assert_true(rill__gguf_integer(&g, "u", &whole) && whole == 4000000000);
    assert_true(rill__gguf_real(&g, "f", &real) && (float)real == 0.1f);
    assert_true(rill__gguf_bool(&g, "b", &flag) && flag);
    assert_true(rill__gguf_text(&g, "t", &text) && text.length == 9);
    const uint8_t *at = rill__gguf_find(&g, "as")->data;
    text = rill__gguf_next_string(&at);
    assert_int_equal(text.length, 3);
    assert_memory_equal(text.data, "x\0y", 3);
    assert_memory_equal(rill__gguf_find(&g, "au")->data, "abcde", 5);
    const rill__tensor *t = rill__gguf_tensor(&g, "matrix");
    assert_non_null(t);
    assert_int_equal(t->shape[0], 3);
    assert_int_equal(t->shape[1], 64);
    assert_int_equal(t->bytes, 204);
    for (size_t i = 0; i < t->bytes; i++) assert_int_equal(t->data[i], (uint8_t)i);
    assert_int_equal((t->data - g.mapping.data) % 32, 0);
    assert_int_equal(rill__gguf_tensor(&g, "vector")->bytes, 20);
    // And again: a value of another file as it is.
    rill__gguf_writer w;
    rill__gguf again;
    const char *second = scratch_path("second.gguf");
    rill__gguf_writer_init(&w, &err);
    for (size_t i = 0; i < g.n_values; i++) rill__gguf_put_value(&w, &g.values[i]);
    assert_int_equal(rill__gguf_writer_begin(&w, second), RILL_OK);
    assert_int_equal(rill__gguf_writer_finish(&w), RILL_OK);
    rill__gguf_writer_deinit(&w);
    assert_int_equal(rill__gguf_open(second, &again, &err), RILL_OK);
    assert_int_equal(again.n_values, g.n_values);
    for (size_t i = 0; i < g.n_values; i++) {
        assert_int_equal(again.values[i].type, g.values[i].type);
        assert_int_equal(again.values[i].bytes, g.values[i].bytes);
        assert_memory_equal(again.values[i].data, g.values[i].data, g.values[i].bytes);
    }
    rill__gguf_close(&again);
    rill__gguf_close(&g);
}

static void writer_keeps_its_first_failure(void **state) {
    (void)state;
    rill__gguf_writer w;
    rill_error err;
    rill__gguf_writer_init(&w, &err);
    rill__gguf_add_tensor(&w, "odd", RILL_TYPE_Q4_0, 1, &(uint64_t){33});
    rill__gguf_put_u32(&w, "later", 1);
    assert_int_equal(rill__gguf_writer_begin(&w, scratch_path("odd.gguf")), RILL_EINVAL);
    assert_non_null(strstr(err.message, "odd"));
    rill__gguf_writer_deinit(&w);
    rill__gguf_writer_init(&w, &err);
    assert_int_equal(rill__gguf_writer_begin(&w, "/nowhere/at/all.gguf"), RILL_EIO);
    rill__gguf_writer_deinit(&w);
}

static void memory_may_end_anywhere(void **state) {
    (void)state;
    make_small(3);
    const char *small = scratch_file("small.gguf", image, used);
    const char *path = scratch_path("memory.gguf");
    failing_allocator_install();
    for (int part = 0; part < 2; part++) {
        uint64_t n = 1;
        for (bool fired = true; fired; n++) {
            rill__gguf g;
            rill_error err;
            failing_allocator_arm(n, false);
            rill_status status =
                part == 0 ? rill__gguf_open(small, &g, &err) : write_file(path, &err);
            fired = failing_allocator_disarm();
            assert_int_equal(status, fired ? RILL_ENOMEM : RILL_OK);
            if (part == 0 && status == RILL_OK) rill__gguf_close(&g);
            assert_int_equal(failing_allocator_live_blocks(), 0);
        }
        assert_true(n > 3);
    }
    failing_allocator_remove();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_value_is_read),
        cmocka_unit_test(every_type_of_tensor_is_read),
        cmocka_unit_test(versions_2_and_3_are_read),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(writer_keeps_its_first_failure),
        cmocka_unit_test(memory_may_end_anywhere),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
