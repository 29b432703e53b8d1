// SPDX-License-Identifier: MIT
// Small random models of random shapes, written as Hugging Face directories.
#ifndef RILL_TESTS_RANDOM_MODEL_H
#define RILL_TESTS_RANDOM_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A generator for tests (splitmix64): the same numbers from the same seed everywhere.
typedef struct test_random {
    uint64_t state;
} test_random;

// The next 64 random bits.
uint64_t test_random_next(test_random *r);
// A whole number in [low, high].
uint32_t test_random_between(test_random *r, uint32_t low, uint32_t high);
// Normally distributed, deviation 1.
double test_random_normal(test_random *r);

// The seed of a run: $RILL_TEST_SEED, else the clock. Printed, so that a failure can be repeated.
uint64_t test_seed(void);

typedef struct random_shape {
    const char *family;  // model_type, one of random_family_name's
    uint32_t kind;       // which of the family's variants
    uint32_t n_layers;
    uint32_t n_heads;
    uint32_t n_kv_heads;
    uint32_t head_dim;
    uint32_t hidden_size;
    uint32_t ffn_size;
    uint32_t vocab_size;
    uint32_t trained_context;
    uint32_t trained_window;  // 0 for none
    uint32_t n_experts;       // 0 for none
    uint32_t query_scalar;    // Gemma 3: logits are divided by its root; never head_dim; else 0
    double limit;             // gpt-oss: swiglu_limit
    bool tied;
    bool off_by_one;
    bool xpos;
} random_shape;

// The families that can be made, NULL past the last.
const char *random_family_name(size_t index);

// Sizes from 1 layer to 3, odd ones among them, of this family.
void random_shape_make(test_random *r, const char *family, random_shape *out);
// Writes config.json and model.safetensors (float32) into `directory`, which exists. Ends the
// program on failure.
void random_model_write(test_random *r, const random_shape *shape, const char *directory);

#endif
