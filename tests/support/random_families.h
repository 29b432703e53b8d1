// SPDX-License-Identifier: MIT
// The tensors and settings of a random model, family by family, in each one's own names and layout.
#ifndef RILL_TESTS_RANDOM_FAMILIES_H
#define RILL_TESTS_RANDOM_FAMILIES_H

#include "support/random_model.h"

#include <stddef.h>

// A model in the making: the header of a safetensors file, its numbers, and config.json.
typedef struct random_files {
    test_random *random;
    const random_shape *shape;
    char header[65536];
    size_t header_length;
    uint8_t *data;
    size_t bytes;
    char config[4096];
    size_t config_length;
} random_files;

// Writes a tensor's numbers: matrices deviate by 1 / sqrt(columns), vectors by 0.2 around `middle`.
// A size of 0 ends the shape.
void random_tensor(random_files *f, const char *name, const uint32_t shape[4], double middle);
// The same of bytes from `low` to `high` ("U8").
void random_bytes(random_files *f, const char *name, const uint32_t shape[4], uint8_t low,
                  uint8_t high);
// Adds settings to config.json.
void random_setting(random_files *f, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Makes sizes fit the family: heads that fill the hidden size, one key-value head, and so on.
void random_family_fit(test_random *r, random_shape *shape);
// All tensors and settings of f->shape's family.
void random_family_fill(random_files *f);

#endif
