// SPDX-License-Identifier: MIT
// Every family through GGUF and back: the golden models and random ones of all shapes have the same
// description, field by field, and the same logits.
#include "model/family.h"
#include "support/compare.h"
#include "support/random_model.h"

#include "model_files.h"

#include <math.h>

enum { TOKENS = 24, MOST_VOCABULARY = 160, ROUNDS = 4 };

// ---- Descriptions ---------------------------------------------------------------------------

static bool close_to(double a, double b, double tolerance) {
    return fabs(a - b) <= tolerance * fabs(b);
}

// Where frequencies go through a table of float32 they are as good as that, and the same otherwise.
static void same_rope(const rill__description *a, const rill__rope_description *p,
                      const rill__rope_description *q) {
    bool table = p->scaling == RILL_ROPE_LLAMA3 || p->scaling == RILL_ROPE_LONGROPE;
    const uint64_t capacities[] = {1, p->original_context, (uint64_t)p->original_context + 1,
                                   8 * (uint64_t)a->trained_context};
    assert_int_equal(p->n_dims, q->n_dims);
    assert_true(p->theta == q->theta);
    for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++) {
        for (uint32_t pair = 0; pair < p->n_dims / 2; pair++) {
            double x = rill__rope_frequency(p, a->trained_context, capacities[i], pair);
            double y = rill__rope_frequency(q, a->trained_context, capacities[i], pair);
            if (!close_to(x, y, table ? 1e-7 : 0)) fail_msg("pair %u: %.17g; %.17g", pair, y, x);
        }
    }
    assert_true(close_to(rill__rope_magnitude(p), rill__rope_magnitude(q), 1e-7));
}

static void same_positions(const rill__description *a, const rill__description *b) {
    assert_int_equal(a->position, b->position);
    if (a->position == RILL_POSITION_ALIBI) {
        assert_int_equal(b->rope.n_dims, 0);
        assert_true(a->alibi_bias_max == b->alibi_bias_max);
        assert_memory_equal(a->alibi_slopes, b->alibi_slopes, a->n_heads * sizeof(float));
        return;
    }
    assert_true(!a->alibi_slopes && !b->alibi_slopes);
    same_rope(a, &a->rope, &b->rope);
    assert_int_equal(a->local_rope == NULL, b->local_rope == NULL);
    if (a->local_rope) same_rope(a, a->local_rope, b->local_rope);
    if (a->position == RILL_POSITION_XPOS) {
        assert_true((float)a->rope.xpos_base == (float)b->rope.xpos_base);
        assert_true((float)a->rope.xpos_gamma == (float)b->rope.xpos_gamma);
    }
}

static void same_description(const rill__description *a, const rill__description *b) {
    const struct {
        const char *name;
        double a, b;
    } fields[] = {
#define FIELD(name) {#name, (double)a->name, (double)b->name}
        FIELD(n_layers),
        FIELD(hidden_size),
        FIELD(n_heads),
        FIELD(n_kv_heads),
        FIELD(head_dim),
        FIELD(ffn_size),
        FIELD(vocab_size),
        FIELD(trained_context),
        FIELD(norm),
        FIELD(norm_eps),
        FIELD(residual),
        FIELD(post_norms),
        FIELD(attention_scale),
        FIELD(qk_norm),
        FIELD(clip_qkv),
        FIELD(sink_logits),
        FIELD(gated),
        FIELD(activation),
        FIELD(n_experts),
        FIELD(n_experts_used),
        FIELD(embedding_scale),
        FIELD(logit_cap),
        FIELD(softmax_off_by_one),
        FIELD(activation_limit),
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (fields[i].a != fields[i].b)
            fail_msg("%s: %g; %g is right", fields[i].name, fields[i].b, fields[i].a);
    assert_string_equal(rill__family_find(a->family)->architecture,
                        rill__family_find(b->family)->architecture);
    for (uint32_t i = 0; i < a->n_layers; i++)
        assert_int_equal(rill__description_window(a, i), rill__description_window(b, i));
    same_positions(a, b);
}

// ---- There and back -------------------------------------------------------------------------

static void must_convert(const char *source, const char *target, rill_type type) {
    rill_error err;
    if (rill_convert(source, target, &(rill_convert_options){.type = type}, NULL, NULL, &err) !=
        RILL_OK)
        fail_msg("%s", err.message);
}

// Whether numbers of float32 take another way in GGUF: rotated pairs that became neighbours are
// added up in another order, and some frequencies go through a table.
static bool takes_another_way(const rill__model *m) {
    const rill__description *d = &m->description;
    return rill__family_find(d->family)->gguf_interleaved || d->rope.scaling == RILL_ROPE_LLAMA3 ||
           d->rope.scaling == RILL_ROPE_LONGROPE;
}

// As float32: the same bits but for what takes another way. As q8_0: the same bits as the numbers
// that are left have as float32, and `apart` nats a token from the model at most in the mean.
static void check_model(const char *path, double apart) {
    static float before[TOKENS * MOST_VOCABULARY], after[TOKENS * MOST_VOCABULARY];
    const char *f32 = scratch_path("f32.gguf"), *q8_0 = scratch_path("q8_0.gguf");
    const char *back = scratch_path("back.gguf");
    must_convert(path, f32, RILL_TYPE_F32);
    must_convert(path, q8_0, RILL_TYPE_Q8_0);
    must_convert(q8_0, back, RILL_TYPE_F32);
    rill__model *from = open_model(path);
    uint32_t vocabulary = from->description.vocab_size;
    size_t n = TOKENS * (size_t)vocabulary;
    assert_true(vocabulary <= MOST_VOCABULARY);
    const char *const files[] = {f32, q8_0, back};
    const rill__description *d = &from->description;
    bool untied = d->tied_embeddings && rill__family_find(d->family)->gguf_untied;
    for (size_t i = 0; i < 3; i++) {
        rill__model *m = open_model(files[i]);
        same_description(d, &m->description);
        assert_int_equal(m->description.tied_embeddings, d->tied_embeddings && !untied);
        assert_int_equal(m->n_parameters,
                         from->n_parameters + (untied ? (uint64_t)vocabulary * d->hidden_size : 0));
        rill__model_close(&m);
    }

    logits_of(path, TOKENS, vocabulary, before);
    logits_of(f32, TOKENS, vocabulary, after);
    if (takes_another_way(from))
        assert_true(worst_of_bound(after, before, n) <= 0.1);
    else
        assert_memory_equal(after, before, n * sizeof *after);
    logits_of(q8_0, TOKENS, vocabulary, after);
    double kl = 0;
    for (size_t i = 0; i < TOKENS; i++)
        kl += kl_divergence(before + i * vocabulary, after + i * vocabulary, vocabulary) / TOKENS;
    logits_of(back, TOKENS, vocabulary, before);
    assert_memory_equal(after, before, n * sizeof *after);
    print_message("  q8_0: KL %.1e\n", kl);
    assert_true(kl <= apart);
    rill__model_close(&from);
}

static void golden_models_come_back(void **state) {
    (void)state;
    for (size_t i = 0; i < GOLDENS; i++) {
        print_message("%s\n", goldens[i]);
        check_model(test_data("golden", goldens[i]), 1e-2);
    }
}

// Of random models the distance of q8_0 says nothing: some have a single number in a row.
static void random_models_come_back(void **state) {
    (void)state;
    test_random r = {test_seed()};
    const char *family;
    for (size_t i = 0; (family = random_family_name(i)); i++) {
        for (int round = 0; round < ROUNDS; round++) {
            random_shape shape;
            random_shape_make(&r, family, &shape);
            const char *path = make_empty_directory();
            random_model_write(&r, &shape, path);
            print_message("%s (%u)\n", family, shape.kind);
            check_model(path, INFINITY);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_models_come_back),
        cmocka_unit_test(random_models_come_back),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
