// SPDX-License-Identifier: MIT
// The golden models of tests/data/golden.
#ifndef RILL_TESTS_GOLDEN_H
#define RILL_TESTS_GOLDEN_H

#include <stddef.h>

// All of them.
static const char *const golden_models[] = {
    "falcon-40b",
    "falcon-7b",
    "falcon-rw",
    "gemma3",
    "gpt-neox",
    "gpt-neox-sequential",
    "gpt-oss",
    "llama",
    "llama-bias-headdim",
    "llama-gqa-llama3",
    "llama-linear",
    "llama-yarn",
    "mistral",
    "mistral-swa",
    "mpt",
    "mpt-clip",
    "phi3",
    "phi3-longrope",
    "qwen2",
    "qwen3",
};

// One a family: the table that tests of streams go through. "llama-xpos" has the weights of "llama"
// and positions of xPos.
static const char *const golden_families[] = {
    "llama",     "llama-xpos", "mistral-swa", "phi3-longrope", "qwen2",  "qwen3",   "gpt-neox",
    "falcon-7b", "falcon-40b", "falcon-rw",   "mpt-clip",      "gemma3", "gpt-oss",
};

enum {
    GOLDEN_MODELS = sizeof golden_models / sizeof *golden_models,
    GOLDEN_FAMILIES = sizeof golden_families / sizeof *golden_families,
    GOLDEN_VOCABULARY = 160,
    GOLDEN_TRAINED = 64,  // tokens
};

// The directory of one, in a static buffer. Two are made in test_directory() from others: that of
// "llama-xpos", and "gpt-oss-all", where each token goes through all experts: which of them a token
// goes through can hang on the last digit, and then no bound on rounding holds.
const char *golden_directory(const char *name);

#endif
