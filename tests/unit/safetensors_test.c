// SPDX-License-Identifier: MIT
// Safetensors: right headers and wrong ones, files cut at every byte, and what rill writes.
#include "format/safetensors.h"

#include "failing_allocator.h"
#include "scratch.h"

// A file with this header and so many bytes of data, counting up.
static const char *make(const char *header, size_t data_bytes) {
    static uint8_t image[8192];
    uint64_t length = strlen(header);
    assert_true(8 + length + data_bytes <= sizeof image);
    memcpy(image, &length, 8);
    memcpy(image + 8, header, length);
    for (size_t i = 0; i < data_bytes; i++) image[8 + length + i] = (uint8_t)i;
    return scratch_file("test.safetensors", image, 8 + length + data_bytes);
}

static const char good[] =
    "{\"__metadata__\":{\"format\":\"pt\"},"
    "\"b\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":[8,20]},"
    "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
    "\"c\":{\"dtype\":\"BF16\",\"shape\":[1,1,1,4],\"data_offsets\":[20,28]},"
    "\"ids\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[28,36]},"
    "\"scalar\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[36,40]},"
    "\"empty\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[40,40]},"
    "\"five\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1],\"data_offsets\":[40,44]}}";

static void tensors_are_read(void **state) {
    (void)state;
    rill__safetensors s;
    rill_error err;
    assert_int_equal(rill__safetensors_open(make(good, 44), &s, &err), RILL_OK);
    // Of other number formats, scalars, empty ones and those of five dimensions: none is a weight.
    assert_int_equal(s.n_tensors, 3);
    const rill__tensor *a = rill__tensors_find(s.tensors, s.n_tensors, "a");
    const rill__tensor *b = rill__tensors_find(s.tensors, s.n_tensors, "b");
    const rill__tensor *c = rill__tensors_find(s.tensors, s.n_tensors, "c");
    assert_true(a && b && c);
    assert_int_equal(a->type, RILL_TYPE_F32);
    assert_int_equal(a->n_dims, 1);
    assert_int_equal(a->shape[0], 2);
    assert_int_equal(a->shape[1], 1);
    assert_int_equal(a->bytes, 8);
    assert_int_equal(a->data[0], 0);
    assert_int_equal(b->type, RILL_TYPE_F16);
    assert_int_equal(b->n_dims, 2);
    assert_int_equal(b->shape[0], 2);
    assert_int_equal(b->shape[1], 3);
    assert_int_equal(b->data[0], 8);
    assert_int_equal(b->bytes, 12);
    assert_int_equal(c->type, RILL_TYPE_BF16);
    assert_int_equal(c->n_dims, 4);
    assert_int_equal(c->shape[3], 4);
    assert_int_equal(c->data[7], 27);
    assert_null(rill__tensors_find(s.tensors, s.n_tensors, "ids"));
    assert_null(rill__tensors_find(s.tensors, s.n_tensors, ""));
    rill__safetensors_close(&s);
    assert_null(s.tensors);
}

static void every_number_format_has_its_size(void **state) {
    (void)state;
    static const struct {
        const char *name;
        size_t bytes;
    } formats[] = {{"F64", 8}, {"F32", 4}, {"F16", 2},  {"BF16", 2},    {"I64", 8},
                   {"I32", 4}, {"I16", 2}, {"I8", 1},   {"U64", 8},     {"U32", 4},
                   {"U16", 2}, {"U8", 1},  {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        for (size_t more = 0; more < 2; more++) {
            rill__safetensors s;
            rill_error err;
            char header[128];
            size_t bytes = 3 * formats[i].bytes + more;
            snprintf(header, sizeof header,
                     "{\"t\":{\"dtype\":\"%s\",\"shape\":[3],\"data_offsets\":[0,%zu]}}",
                     formats[i].name, bytes);
            rill_status status = rill__safetensors_open(make(header, bytes), &s, &err);
            assert_int_equal(status, more ? RILL_EFORMAT : RILL_OK);
            if (status == RILL_OK) rill__safetensors_close(&s);
        }
    }
}

static void cut_anywhere_is_refused(void **state) {
    (void)state;
    char *whole;
    size_t length;
    rill_error err;
    rill__safetensors s;
    assert_int_equal(rill__file_read(make(good, 44), 8192, &whole, &length, &err), RILL_OK);
    for (size_t n = 0; n < length; n++) {
        err = (rill_error){0};
        const char *path = scratch_file("cut.safetensors", whole, n);
        assert_int_equal(rill__safetensors_open(path, &s, &err), RILL_EFORMAT);
        assert_non_null(strstr(err.message, "cut.safetensors: "));
        assert_null(strchr(err.message, '\n'));
    }
    rill__free(whole);
}

static void changed_anywhere_is_safe(void **state) {
    (void)state;
    static const uint8_t values[] = {0, ' ', '"', '-', '9', '{', '}', 0x80, 0xff};
    char *whole;
    size_t length, refused = 0;
    rill_error err;
    assert_int_equal(rill__file_read(make(good, 44), 8192, &whole, &length, &err), RILL_OK);
    for (size_t n = 0; n < length - 44; n++) {
        char before = whole[n];
        for (size_t i = 0; i < sizeof values; i++) {
            rill__safetensors s;
            whole[n] = (char)values[i];
            const char *path = scratch_file("changed.safetensors", whole, length);
            if (rill__safetensors_open(path, &s, &err) == RILL_OK) {
                for (size_t k = 0; k < s.n_tensors; k++) {
                    const rill__tensor *t = &s.tensors[k];
                    assert_true(t->data + t->bytes <= s.mapping.data + s.mapping.size);
                }
                rill__safetensors_close(&s);
            } else {
                refused++;
            }
        }
        whole[n] = before;
    }
    rill__free(whole);
    assert_true(refused > 1000);
}

#define TENSOR(name, dtype, shape, offsets)                                                        \
    "\"" name "\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void damage_is_named(void **state) {
    (void)state;
    static const struct {
        const char *header;
        rill_status status;
        const char *message;
    } cases[] = {
        {"[]", RILL_EFORMAT, "not an object"},
        {"", RILL_EFORMAT, "test.safetensors: "},
        {"{\"t\":7}", RILL_EFORMAT, "tensor 't': dtype '(missing)'"},
        {"{" TENSOR("t", "\"F99\"", "[1]", "[0,4]") "}", RILL_EUNSUPPORTED, "dtype 'F99'"},
        {"{" TENSOR("t", "\"F32\"", "4", "[0,4]") "}", RILL_EFORMAT, "not a list of sizes"},
        {"{" TENSOR("t", "\"F32\"", "[-1]", "[0,4]") "}", RILL_EFORMAT, "not a list of sizes"},
        {"{" TENSOR("t", "\"F32\"", "[1.0]", "[0,4]") "}", RILL_EFORMAT, "not a list of sizes"},
        {"{" TENSOR("t", "\"F32\"", "[4294967296,4294967296]", "[0,0]") "}", RILL_EFORMAT,
         "not a list of sizes"},
        {"{" TENSOR("t", "\"F32\"", "[4611686018427387904]", "[0,0]") "}", RILL_EFORMAT,
         "not a list of sizes"},
        {"{" TENSOR("t", "\"F32\"", "[2]", "[0,4]") "}", RILL_EFORMAT, "its shape needs 8"},
        {"{" TENSOR("t", "\"F32\"", "[1]", "[0]") "}", RILL_EFORMAT, "data_offsets"},
        {"{" TENSOR("t", "\"F32\"", "[1]", "[-4,0]") "}", RILL_EFORMAT, "data_offsets"},
        {"{" TENSOR("t", "\"F32\"", "[1]", "[8,4]") "}", RILL_EFORMAT, "data_offsets"},
        {"{" TENSOR("t", "\"F32\"", "[1]", "[64,68]") "}", RILL_EFORMAT, "data_offsets"},
        {"{" TENSOR("t", "\"F32\"", "[1]", "[0,9223372036854775807]") "}", RILL_EFORMAT,
         "data_offsets"},
        {"{" TENSOR("t", "\"F32\"", "[4]", "[0,16]") "," TENSOR("u", "\"F32\"", "[4]",
                                                                "[8,24]") "}",
         RILL_EFORMAT, "tensors 't' and 'u' overlap"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rill__safetensors s;
        rill_error err = {0};
        rill_status status = rill__safetensors_open(make(cases[i].header, 64), &s, &err);
        if (status != cases[i].status || !strstr(err.message, cases[i].message))
            fail_msg("%s: status %d, '%s'; '%s' is right", cases[i].header, (int)status,
                     err.message, cases[i].message);
        assert_null(strchr(err.message, '\n'));
    }
    rill__safetensors s;
    rill_error err;
    assert_int_equal(rill__safetensors_open(scratch_path("nothing"), &s, &err), RILL_EIO);
}

static void what_is_written_is_read(void **state) {
    (void)state;
    static const float data[6] = {1, -2, 3.5f, 0, 1e30f, -1e-30f};
    rill__safetensors s;
    rill_error err;
    const char *path = scratch_path("logits.safetensors");
    assert_int_equal(rill__safetensors_write(path, "logits", data, 2, 3, &err), RILL_OK);
    assert_int_equal(rill__safetensors_open(path, &s, &err), RILL_OK);
    assert_int_equal(s.n_tensors, 1);
    const rill__tensor *t = rill__tensors_find(s.tensors, s.n_tensors, "logits");
    assert_non_null(t);
    assert_int_equal(t->type, RILL_TYPE_F32);
    assert_int_equal(t->shape[0], 2);
    assert_int_equal(t->shape[1], 3);
    assert_memory_equal(t->data, data, sizeof data);
    assert_int_equal((t->data - s.mapping.data) % 8, 0);
    rill__safetensors_close(&s);
    assert_int_equal(rill__safetensors_write(path, "a\"b", data, 2, 3, &err), RILL_EINVAL);
    assert_int_equal(rill__safetensors_write(path, "x", data, UINT64_MAX, 3, &err), RILL_EINVAL);
    assert_int_equal(rill__safetensors_write("/nowhere/x", "x", data, 2, 3, &err), RILL_EIO);
}

static void memory_may_end_anywhere(void **state) {
    (void)state;
    const char *path = make(good, 44);
    uint64_t n = 1;
    failing_allocator_install();
    for (bool fired = true; fired; n++) {
        rill__safetensors s;
        rill_error err;
        failing_allocator_arm(n, false);
        rill_status status = rill__safetensors_open(path, &s, &err);
        fired = failing_allocator_disarm();
        assert_int_equal(status, fired ? RILL_ENOMEM : RILL_OK);
        if (status == RILL_OK) rill__safetensors_close(&s);
        assert_int_equal(failing_allocator_live_blocks(), 0);
    }
    failing_allocator_remove();
    assert_true(n > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_are_read),
        cmocka_unit_test(every_number_format_has_its_size),
        cmocka_unit_test(cut_anywhere_is_refused),
        cmocka_unit_test(changed_anywhere_is_safe),
        cmocka_unit_test(damage_is_named),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(memory_may_end_anywhere),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
