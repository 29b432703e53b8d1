// SPDX-License-Identifier: MIT
// GGUF files that are cut short, changed or wrong: refused, by name, and nothing worse.
#include "gguf_image.h"

static void cut_anywhere_is_refused(void **state) {
    (void)state;
    rill__gguf g;
    rill_error err;
    make_small(3);
    size_t whole = used;
    for (used = 0; used < whole; used++) {
        assert_int_equal(open_image(&g, &err), RILL_EFORMAT);
        assert_non_null(strstr(err.message, "image.gguf: "));
        assert_null(strchr(err.message, '\n'));
    }
    assert_int_equal(open_image(&g, &err), RILL_OK);
    rill__gguf_close(&g);
}

// Every byte of the header in turn, with a few values: an error or not, nothing worse.
static void changed_anywhere_is_safe(void **state) {
    (void)state;
    static const uint8_t values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    size_t refused = 0;
    make_small(3);
    for (size_t i = 0; i < used - 100; i++) {
        uint8_t before = image[i];
        for (size_t j = 0; j < sizeof values; j++) {
            rill__gguf g;
            rill_error err;
            image[i] = values[j];
            if (open_image(&g, &err) == RILL_OK) {
                for (size_t k = 0; k < g.n_tensors; k++)
                    assert_ptr_equal(rill__gguf_tensor(&g, g.tensors[k].name), &g.tensors[k]);
                rill__gguf_close(&g);
            } else {
                refused++;
                assert_true(err.message[0] != '\0');
            }
        }
        image[i] = before;
    }
    assert_true(refused > 500);
}

static void bad_magic(void) {
    make_small(3);
    image[0] = 'g';
}

static void big_endian(void) {
    make_small(0x03000000);
}

static void many_values(void) {
    begin(3, 0, UINT64_MAX / 8);
}

static void many_tensors(void) {
    begin(3, UINT64_MAX / 2, 0);
}

static void long_key(void) {
    begin(3, 0, 1);
    put_number(UINT64_MAX - 3, 8);
    put_data(100);
}

static void key_twice(void) {
    begin(3, 0, 2);
    for (int i = 0; i < 2; i++) {
        put_key("same", RILL_GGUF_U8);
        put_number(1, 1);
    }
}

static void unknown_value(void) {
    begin(3, 0, 1);
    put_key("k", RILL_GGUF_TYPES);
    put_data(64);
}

static void unknown_element(void) {
    begin(3, 0, 1);
    put_array_key("k", RILL_GGUF_ARRAY, 1);
    put_number(99, 4);
    put_number(1, 8);
    put_data(64);
}

static void long_array(void) {
    begin(3, 0, 1);
    put_array_key("k", RILL_GGUF_U64, (UINT64_MAX >> 3) + 2);  // 8 bytes too few, by overflow
    put_data(64);
}

static void deep_array(void) {
    begin(3, 0, 1);
    put_array_key("k", RILL_GGUF_ARRAY, 1);
    for (int i = 0; i < 40; i++) {
        put_number(RILL_GGUF_ARRAY, 4);
        put_number(1, 8);
    }
}

// One tensor that is right but for what the arguments say.
static void make_tensor(const char *name, uint32_t type, uint64_t columns, uint64_t rows,
                        uint64_t offset) {
    begin(3, 1, 0);
    put_tensor(name, type, columns, rows, offset);
    put_padding(32);
    put_data(4096);
}

static void no_name(void) {
    make_tensor("", RILL_TYPE_F32, 1, 1, 0);
}

static void name_with_nul(void) {
    make_tensor("a.b", RILL_TYPE_F32, 1, 1, 0);
    image[24 + 8 + 1] = '\0';
}

static void no_dimensions(void) {
    make_tensor("t", RILL_TYPE_F32, 1, 1, 0);
    image[24 + 9] = 0;
}

static void five_dimensions(void) {
    make_tensor("t", RILL_TYPE_F32, 1, 1, 0);
    image[24 + 9] = 5;
}

static void empty_dimension(void) {
    make_tensor("t", RILL_TYPE_F32, 4, 0, 0);
}

static void product_overflows(void) {
    make_tensor("t", RILL_TYPE_F32, (uint64_t)1 << 33, (uint64_t)1 << 33, 0);
}

static void bytes_overflow(void) {
    make_tensor("t", RILL_TYPE_F32, (uint64_t)1 << 31, (uint64_t)1 << 31, 0);
}

static void type_not_known(void) {
    make_tensor("t", 16, 256, 1, 0);
}

static void type_not_there(void) {
    make_tensor("t", 12345, 256, 1, 0);
}

static void rows_of_half_blocks(void) {
    make_tensor("t", RILL_TYPE_Q8_0, 16, 2, 0);
}

static void offset_between(void) {
    make_tensor("t", RILL_TYPE_F32, 4, 1, 16);
}

static void offset_past_end(void) {
    make_tensor("t", RILL_TYPE_F32, 4, 1, 4096);
}

static void offset_overflows(void) {
    make_tensor("t", RILL_TYPE_F32, 4, 1, UINT64_MAX - 31);
}

static void make_pair(const char *first, const char *second, uint64_t offset) {
    begin(3, 2, 0);
    put_tensor(first, RILL_TYPE_F32, 16, 1, 0);
    put_tensor(second, RILL_TYPE_F32, 16, 1, offset);
    put_padding(32);
    put_data(256);
}

static void overlapping(void) {
    make_pair("a", "b", 32);
}

static void same_place(void) {
    make_pair("a", "b", 0);
}

static void name_twice(void) {
    make_pair("a", "a", 64);
}

static void make_alignment(uint32_t alignment) {
    begin(3, 1, 1);
    put_key("general.alignment", RILL_GGUF_U32);
    put_number(alignment, 4);
    put_tensor("t", RILL_TYPE_F32, 1, 1, 0);
    put_padding(64);
    put_data(256);
}

static void alignment_0(void) {
    make_alignment(0);
}

static void alignment_48(void) {
    make_alignment(48);
}

static void alignment_large(void) {
    make_alignment(1 << 17);
}

static void alignment_text(void) {
    begin(3, 1, 1);
    put_key("general.alignment", RILL_GGUF_STRING);
    put_string("32");
    put_tensor("t", RILL_TYPE_F32, 1, 1, 0);
    put_data(256);
}

static void damage_is_named(void **state) {
    (void)state;
    static const struct {
        void (*make)(void);
        rill_status status;
        const char *message;
    } cases[] = {
        {bad_magic, RILL_EFORMAT, "not a GGUF file"},
        {big_endian, RILL_EUNSUPPORTED, "little-endian"},
        {many_values, RILL_EFORMAT, "keys do not fit"},
        {many_tensors, RILL_EFORMAT, "tensors do not fit"},
        {long_key, RILL_EFORMAT, "ends within a key"},
        {key_twice, RILL_EFORMAT, "key 'same': it occurs twice"},
        {unknown_value, RILL_EFORMAT, "key 'k': a type that is not known"},
        {unknown_element, RILL_EFORMAT, "a value of type 99"},
        {long_array, RILL_EFORMAT, "ends within a value"},
        {deep_array, RILL_EFORMAT, "at most 4 deep"},
        {no_name, RILL_EFORMAT, "a name of 1 to"},
        {name_with_nul, RILL_EFORMAT, "a name of 1 to"},
        {no_dimensions, RILL_EFORMAT, "tensor 't': 1 to 4 dimensions"},
        {five_dimensions, RILL_EFORMAT, "tensor 't': 1 to 4 dimensions"},
        {empty_dimension, RILL_EFORMAT, "tensor 't': a dimension"},
        {product_overflows, RILL_EFORMAT, "tensor 't': a dimension"},
        {bytes_overflow, RILL_EFORMAT, "tensor 't': "},
        {type_not_known, RILL_EUNSUPPORTED, "type IQ2_XXS (16)"},
        {type_not_there, RILL_EUNSUPPORTED, "type unknown (12345)"},
        {rows_of_half_blocks, RILL_EFORMAT, "not whole blocks"},
        {offset_between, RILL_EFORMAT, "offset 16 is not a multiple"},
        {offset_past_end, RILL_EFORMAT, "past the file's"},
        {offset_overflows, RILL_EFORMAT, "past the file's"},
        {overlapping, RILL_EFORMAT, "tensors 'a' and 'b' overlap"},
        {same_place, RILL_EFORMAT, "overlap"},
        {name_twice, RILL_EFORMAT, "tensor 'a' occurs twice"},
        {alignment_0, RILL_EFORMAT, "general.alignment"},
        {alignment_48, RILL_EFORMAT, "general.alignment"},
        {alignment_large, RILL_EFORMAT, "general.alignment"},
        {alignment_text, RILL_EFORMAT, "general.alignment"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rill__gguf g;
        rill_error err;
        cases[i].make();
        rill_status status = open_image(&g, &err);
        if (status != cases[i].status || !strstr(err.message, cases[i].message))
            fail_msg("case %zu: status %d, '%s'; '%s' is right", i, (int)status, err.message,
                     cases[i].message);
        assert_null(strchr(err.message, '\n'));
    }
}

static void what_is_no_file_is_refused(void **state) {
    (void)state;
    rill__gguf g;
    rill_error err;
    assert_int_equal(rill__gguf_open(scratch_path("nothing.gguf"), &g, &err), RILL_EIO);
    assert_int_equal(rill__gguf_open(scratch_directory, &g, &err), RILL_EIO);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_anywhere_is_refused),
        cmocka_unit_test(changed_anywhere_is_safe),
        cmocka_unit_test(damage_is_named),
        cmocka_unit_test(what_is_no_file_is_refused),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
