// SPDX-License-Identifier: MIT
// rill_convert to every type and mix: the types of the tensors, their bytes at any number of
// threads, and nothing left of what was interrupted.
#include "model/source.h"
#include "support/random_model.h"

#include "model_files.h"

#include <math.h>
#include <sys/stat.h>

// Rows of whole super-blocks; more embeddings than are encoded at once.
static const random_shape shape = {.family = "llama",
                                   .n_layers = 8,
                                   .n_heads = 4,
                                   .n_kv_heads = 1,
                                   .head_dim = 64,
                                   .hidden_size = 256,
                                   .ffn_size = 256,
                                   .vocab_size = 4100,
                                   .trained_context = 64};

static const char *source(void) {
    return scratch_path("source");
}

static int make_source(void **state) {
    test_random r = {5};
    if (scratch_make(state) || mkdir(source(), 0700)) return 1;
    random_model_write(&r, &shape, source());
    return 0;
}

static void must_convert(const char *name, unsigned threads, const char *target) {
    rill_error err;
    rill_convert_options options = {.threads = threads};
    assert_true(rill_mix_parse(name, &options.type, &options.mix));
    if (rill_convert(source(), target, &options, NULL, NULL, &err) != RILL_OK)
        fail_msg("%s: %s", name, err.message);
}

static void read_all(const char *path, char **bytes, size_t *size) {
    rill_error err;
    if (rill__file_read(path, 1 << 26, bytes, size, &err) != RILL_OK) fail_msg("%s", err.message);
}

// A type for each way of encoding.
static const char *const some[] = {"f32", "f16", "q5_1", "mxfp4", "iq4_xs", "q3_K", "q4_K_M"};
enum { SOME = sizeof some / sizeof *some };

static void threads_change_nothing(void **state) {
    (void)state;
    static const unsigned threads[] = {1, 2, 5};
    for (size_t i = 0; i < SOME; i++) {
        const char *name = some[i];
        char *first = NULL, *bytes;
        size_t n = 0, size;
        for (size_t t = 0; t < 3; t++) {
            must_convert(name, threads[t], scratch_path("threads.gguf"));
            read_all(scratch_path("threads.gguf"), &bytes, &size);
            if (!first) {
                first = bytes;
                n = size;
                continue;
            }
            assert_int_equal(size, n);
            if (memcmp(first, bytes, n) != 0) fail_msg("%s with %u threads", name, threads[t]);
            rill__free(bytes);
        }
        rill__free(first);
    }
}

// Row r of attn_q in the file lies there in the source: rotated pairs become neighbours.
static uint64_t row_before(uint64_t r) {
    uint64_t pair = r % shape.head_dim / 2, second = r % 2;
    return r / shape.head_dim * shape.head_dim + pair + second * (shape.head_dim / 2);
}

// The bytes are what from_float makes of the source's rows.
static void check_rows(const rill__gguf *g, const rill__source *from, const char *to_name,
                       const char *from_name) {
    const rill__tensor *to = rill__gguf_tensor(g, to_name);
    const rill__tensor *s = rill__source_tensor(from, from_name);
    assert_true(to && s && s->type == RILL_TYPE_F32);
    size_t columns = s->shape[1], row = to->bytes / to->shape[0];
    uint8_t right[4 * 256];
    float values[256];
    bool turned = strstr(to_name, "attn_q") != NULL;
    for (uint64_t r = 0; r < to->shape[0]; r++) {
        uint64_t at = turned ? row_before(r) : r;
        memcpy(values, s->data + at * columns * sizeof *values, columns * sizeof *values);
        rill__type_traits_get(to->type)->from_float(values, right, columns);
        if (memcmp(to->data + r * row, right, row) != 0)
            fail_msg("%s, %s: row %llu", to_name, rill_type_name(to->type), (unsigned long long)r);
    }
}

static void every_row_is_encoded(void **state) {
    (void)state;
    const char *name;
    rill__model *m = open_model(source());
    for (size_t i = 0; (name = rill_mix_list(i)); i++) {
        rill__gguf g;
        rill_error err;
        must_convert(name, 2, scratch_path("rows.gguf"));
        assert_int_equal(rill__gguf_open(scratch_path("rows.gguf"), &g, &err), RILL_OK);
        check_rows(&g, m->file.source, "token_embd.weight", "model.embed_tokens.weight");
        check_rows(&g, m->file.source, "output.weight", "lm_head.weight");
        check_rows(&g, m->file.source, "blk.3.attn_q.weight",
                   "model.layers.3.self_attn.q_proj.weight");
        check_rows(&g, m->file.source, "blk.7.ffn_down.weight",
                   "model.layers.7.mlp.down_proj.weight");
        rill__gguf_close(&g);
    }
    rill__model_close(&m);
}

// Of eight layers' ffn_down and attn_v, the output, the rest, the norms.
static void mixes_are_in_the_file(void **state) {
    (void)state;
    static const struct {
        const char *name, *tensor;
        rill_type types[8];
    } cases[] = {
        {"q4_K_M",
         "ffn_down",
         {RILL_TYPE_Q6_K, RILL_TYPE_Q4_K, RILL_TYPE_Q4_K, RILL_TYPE_Q6_K, RILL_TYPE_Q4_K,
          RILL_TYPE_Q4_K, RILL_TYPE_Q6_K, RILL_TYPE_Q6_K}},
        {"q4_K_S",
         "attn_v",
         {RILL_TYPE_Q5_K, RILL_TYPE_Q5_K, RILL_TYPE_Q5_K, RILL_TYPE_Q5_K, RILL_TYPE_Q4_K,
          RILL_TYPE_Q4_K, RILL_TYPE_Q4_K, RILL_TYPE_Q4_K}},
        {"q2_K_M",
         "attn_v",
         {RILL_TYPE_Q4_K, RILL_TYPE_Q4_K, RILL_TYPE_Q4_K, RILL_TYPE_Q4_K, RILL_TYPE_Q4_K,
          RILL_TYPE_Q4_K, RILL_TYPE_Q4_K, RILL_TYPE_Q4_K}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rill__gguf g;
        rill_error err;
        rill_type base;
        rill_mix mix;
        double file_type;
        assert_true(rill_mix_parse(cases[i].name, &base, &mix));
        must_convert(cases[i].name, 0, scratch_path("mix.gguf"));
        assert_int_equal(rill__gguf_open(scratch_path("mix.gguf"), &g, &err), RILL_OK);
        for (int layer = 0; layer < 8; layer++) {
            char name[64];
            snprintf(name, sizeof name, "blk.%d.%s.weight", layer, cases[i].tensor);
            assert_int_equal(rill__gguf_tensor(&g, name)->type, cases[i].types[layer]);
            snprintf(name, sizeof name, "blk.%d.ffn_up.weight", layer);
            assert_int_equal(rill__gguf_tensor(&g, name)->type, base);
        }
        assert_int_equal(rill__gguf_tensor(&g, "output.weight")->type, RILL_TYPE_Q6_K);
        assert_int_equal(rill__gguf_tensor(&g, "token_embd.weight")->type, base);
        assert_int_equal(rill__gguf_tensor(&g, "output_norm.weight")->type, RILL_TYPE_F32);
        assert_true(rill__gguf_real(&g, "general.file_type", &file_type));
        assert_true(file_type == (i == 0 ? 15 : i == 1 ? 14 : 10));
        rill__gguf_close(&g);
    }
}

// The finer the type, the nearer the logits: the mean of their squares' distance falls.
static void finer_types_are_nearer(void **state) {
    (void)state;
    enum { TOKENS = 4, MOST = 4100 };
    static const char *const order[] = {"q2_K", "q3_K", "q4_K", "q5_K", "q6_K", "q8_0", "f16"};
    static float right[TOKENS * MOST], found[TOKENS * MOST];
    double before = INFINITY;
    logits_of(source(), TOKENS, MOST, right);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        double squares = 0;
        must_convert(order[i], 0, scratch_path("finer.gguf"));
        logits_of(scratch_path("finer.gguf"), TOKENS, MOST, found);
        for (size_t j = 0; j < TOKENS * MOST; j++)
            squares += ((double)found[j] - right[j]) * ((double)found[j] - right[j]);
        if (!(squares < before / 2)) fail_msg("%s: %g after %g", order[i], squares, before);
        before = squares;
    }
}

typedef struct watch {
    uint64_t done;
    unsigned calls;
} watch;

static bool half_way(void *user, uint64_t done, uint64_t total) {
    watch *w = user;
    assert_true(done >= w->done);
    w->done = done;
    w->calls++;
    return done < total / 2;
}

static void interrupted_ones_leave_nothing(void **state) {
    (void)state;
    for (size_t i = 0; i < SOME; i++) {
        rill_error err;
        rill_convert_options options = {.threads = 5};
        watch w = {0};
        assert_true(rill_mix_parse(some[i], &options.type, &options.mix));
        assert_int_equal(rill_convert(source(), scratch_path("half.gguf"), &options, half_way, &w,
                                      &err),
                         RILL_EINTERRUPTED);
        assert_true(w.calls > 2);
        assert_false(rill__file_exists(scratch_path("half.gguf")));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_change_nothing),         cmocka_unit_test(every_row_is_encoded),
        cmocka_unit_test(mixes_are_in_the_file),          cmocka_unit_test(finer_types_are_nearer),
        cmocka_unit_test(interrupted_ones_leave_nothing),
    };
    return cmocka_run_group_tests(tests, make_source, scratch_remove);
}
