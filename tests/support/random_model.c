// SPDX-License-Identifier: MIT
// Random models for property tests.
#include "support/random_families.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t test_random_next(test_random *r) {
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint32_t test_random_between(test_random *r, uint32_t low, uint32_t high) {
    return low + (uint32_t)(test_random_next(r) % ((uint64_t)high - low + 1));
}

double test_random_normal(test_random *r) {
    double u = ((double)(test_random_next(r) >> 11) + 1) * 0x1p-53;
    double v = (double)(test_random_next(r) >> 11) * 0x1p-53;
    return sqrt(-2 * log(u)) * cos(2 * acos(-1.0) * v);
}

uint64_t test_seed(void) {
    const char *text = getenv("RILL_TEST_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    fprintf(stderr, "seed %llu (RILL_TEST_SEED repeats it)\n", (unsigned long long)seed);
    return seed;
}

void random_shape_make(test_random *r, const char *family, random_shape *out) {
    random_shape s = {.family = family};
    s.n_layers = test_random_between(r, 1, 3);
    s.n_kv_heads = test_random_between(r, 1, 3);
    s.n_heads = s.n_kv_heads * test_random_between(r, 1, 3);
    s.head_dim = 2 * test_random_between(r, 2, 20);
    s.hidden_size = test_random_between(r, 7, 70);  // fewer, and rounding is all there is
    s.ffn_size = test_random_between(r, 1, 90);
    s.vocab_size = test_random_between(r, 2, 100);
    s.trained_context = test_random_between(r, 16, 64);
    s.tied = test_random_between(r, 0, 1);
    random_family_fit(r, &s);
    *out = s;
}

// Announces a tensor of values of `size` bytes and makes room for it; *count values.
static uint8_t *add_tensor(random_files *f, const char *name, const uint32_t shape[4],
                           const char *dtype, size_t size, size_t *count) {
    char dims[64] = "";
    size_t length = 0;
    *count = 1;
    for (size_t i = 0; i < 4 && shape[i]; i++) {
        *count *= shape[i];
        length +=
            (size_t)snprintf(dims + length, sizeof dims - length, "%s%u", i ? "," : "", shape[i]);
    }
    size_t first = f->bytes;
    f->bytes += *count * size;
    f->data = realloc(f->data, f->bytes);
    if (!f->data) abort();
    f->header_length +=
        (size_t)snprintf(f->header + f->header_length, sizeof f->header - f->header_length,
                         "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                         f->header_length ? "," : "{", name, dtype, dims, first, f->bytes);
    if (f->header_length >= sizeof f->header) abort();
    return f->data + first;
}

void random_tensor(random_files *f, const char *name, const uint32_t shape[4], double middle) {
    size_t count, n_dims = 0;
    uint8_t *out = add_tensor(f, name, shape, "F32", sizeof(float), &count);
    while (n_dims < 4 && shape[n_dims]) n_dims++;
    double deviation = n_dims > 1 ? 1 / sqrt(shape[n_dims - 1]) : 0.2;
    for (size_t i = 0; i < count; i++) {
        float value = (float)(middle + deviation * test_random_normal(f->random));
        memcpy(out + i * sizeof value, &value, sizeof value);
    }
}

void random_bytes(random_files *f, const char *name, const uint32_t shape[4], uint8_t low,
                  uint8_t high) {
    size_t count;
    uint8_t *out = add_tensor(f, name, shape, "U8", 1, &count);
    for (size_t i = 0; i < count; i++) out[i] = (uint8_t)test_random_between(f->random, low, high);
}

void random_setting(random_files *f, const char *format, ...) {
    va_list args;
    va_start(args, format);
    f->config[f->config_length] = f->config_length ? ',' : '{';
    f->config_length++;
    f->config_length += (size_t)vsnprintf(f->config + f->config_length,
                                          sizeof f->config - f->config_length, format, args);
    va_end(args);
    if (f->config_length + 1 >= sizeof f->config) abort();
}

static void write_file(const char *directory, const char *name, const void *head, size_t head_bytes,
                       const void *text, size_t text_bytes, const void *data, size_t data_bytes) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(head, 1, head_bytes, file) != head_bytes ||
        (text_bytes && fwrite(text, 1, text_bytes, file) != text_bytes) ||
        (data_bytes && fwrite(data, 1, data_bytes, file) != data_bytes) || fclose(file) != 0) {
        perror(path);
        abort();
    }
}

void random_model_write(test_random *r, const random_shape *s, const char *directory) {
    random_files *f = calloc(1, sizeof *f);
    if (!f) abort();
    f->random = r;
    f->shape = s;
    random_family_fill(f);
    f->header[f->header_length++] = '}';
    f->config[f->config_length++] = '}';
    uint64_t length = f->header_length;
    write_file(directory, "model.safetensors", &length, 8, f->header, f->header_length, f->data,
               f->bytes);
    write_file(directory, "config.json", f->config, f->config_length, NULL, 0, NULL, 0);
    free(f->data);
    free(f);
}
