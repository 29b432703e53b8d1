// SPDX-License-Identifier: MIT
// Random models for property tests.
#include "support/random_model.h"

#include <math.h>
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

void random_shape_make(test_random *r, random_shape *out) {
    static const char *const families[] = {"llama", "qwen2", "qwen3", "mistral"};
    random_shape s = {.family = families[test_random_between(r, 0, 3)]};
    s.n_layers = test_random_between(r, 1, 3);
    s.n_kv_heads = test_random_between(r, 1, 3);
    s.n_heads = s.n_kv_heads * test_random_between(r, 1, 3);
    s.head_dim = 2 * test_random_between(r, 1, 20);
    s.hidden_size = test_random_between(r, 3, 70);
    s.ffn_size = test_random_between(r, 1, 90);
    s.vocab_size = test_random_between(r, 2, 100);
    s.trained_context = test_random_between(r, 16, 64);
    if (strcmp(s.family, "mistral") == 0 && test_random_between(r, 0, 1))
        s.trained_window = test_random_between(r, 1, 24);
    s.tied = test_random_between(r, 0, 1);
    s.off_by_one = strcmp(s.family, "llama") == 0 && test_random_between(r, 0, 3) == 0;
    // These families take the head's size from the hidden one.
    if (strcmp(s.family, "qwen2") == 0) s.hidden_size = s.n_heads * s.head_dim;
    *out = s;
}

// A safetensors file in the making: the header as text, and the numbers.
typedef struct weights {
    char header[65536];
    size_t header_length;
    float *data;
    size_t n;
} weights;

static void add_tensor(weights *w, test_random *r, const char *name, uint32_t rows,
                       uint32_t columns) {
    size_t count = (size_t)(rows ? rows : 1) * columns;
    w->data = realloc(w->data, (w->n + count) * sizeof *w->data);
    if (!w->data) abort();
    double scale = rows ? 1 / sqrt(columns) : 0.2;
    for (size_t i = 0; i < count; i++)
        w->data[w->n + i] = (float)((rows ? 0 : 1) + scale * test_random_normal(r));
    char shape[32];
    if (rows)
        snprintf(shape, sizeof shape, "%u,%u", rows, columns);
    else
        snprintf(shape, sizeof shape, "%u", columns);
    w->header_length +=
        (size_t)snprintf(w->header + w->header_length, sizeof w->header - w->header_length,
                         "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                         w->header_length ? "," : "{", name, shape, w->n * 4, (w->n + count) * 4);
    w->n += count;
}

static void add_layer(weights *w, test_random *r, const random_shape *s, uint32_t layer) {
    uint32_t queries = s->n_heads * s->head_dim, keys = s->n_kv_heads * s->head_dim;
    bool biases = strcmp(s->family, "qwen2") == 0, norms = strcmp(s->family, "qwen3") == 0;
    const struct {
        const char *name;
        uint32_t rows, columns;
        bool wanted;
    } all[] = {
        {"input_layernorm.weight", 0, s->hidden_size, true},
        {"self_attn.q_proj.weight", queries, s->hidden_size, true},
        {"self_attn.k_proj.weight", keys, s->hidden_size, true},
        {"self_attn.v_proj.weight", keys, s->hidden_size, true},
        {"self_attn.q_proj.bias", 0, queries, biases},
        {"self_attn.k_proj.bias", 0, keys, biases},
        {"self_attn.v_proj.bias", 0, keys, biases},
        {"self_attn.q_norm.weight", 0, s->head_dim, norms},
        {"self_attn.k_norm.weight", 0, s->head_dim, norms},
        {"self_attn.o_proj.weight", s->hidden_size, queries, true},
        {"post_attention_layernorm.weight", 0, s->hidden_size, true},
        {"mlp.gate_proj.weight", s->ffn_size, s->hidden_size, true},
        {"mlp.up_proj.weight", s->ffn_size, s->hidden_size, true},
        {"mlp.down_proj.weight", s->hidden_size, s->ffn_size, true},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char name[96];
        snprintf(name, sizeof name, "model.layers.%u.%s", layer, all[i].name);
        if (all[i].wanted) add_tensor(w, r, name, all[i].rows, all[i].columns);
    }
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
    weights *w = calloc(1, sizeof *w);
    if (!w) abort();
    add_tensor(w, r, "model.embed_tokens.weight", s->vocab_size, s->hidden_size);
    for (uint32_t layer = 0; layer < s->n_layers; layer++) add_layer(w, r, s, layer);
    add_tensor(w, r, "model.norm.weight", 0, s->hidden_size);
    if (!s->tied) add_tensor(w, r, "lm_head.weight", s->vocab_size, s->hidden_size);
    w->header[w->header_length++] = '}';
    uint64_t length = w->header_length;
    write_file(directory, "model.safetensors", &length, 8, w->header, w->header_length, w->data,
               w->n * sizeof *w->data);
    free(w->data);
    free(w);

    char window[64] = "null";
    if (s->trained_window) snprintf(window, sizeof window, "%u", s->trained_window);
    char config[2048];
    int n = snprintf(
        config, sizeof config,
        "{\"model_type\":\"%s\",\"hidden_size\":%u,\"intermediate_size\":%u,"
        "\"num_hidden_layers\":%u,\"num_attention_heads\":%u,\"num_key_value_heads\":%u,"
        "\"head_dim\":%u,\"vocab_size\":%u,\"max_position_embeddings\":%u,\"rms_norm_eps\":1e-05,"
        "\"rope_theta\":10000.0,\"hidden_act\":\"silu\",\"tie_word_embeddings\":%s,"
        "\"sliding_window\":%s,\"softmax_off_by_one\":%s}",
        s->family, s->hidden_size, s->ffn_size, s->n_layers, s->n_heads, s->n_kv_heads, s->head_dim,
        s->vocab_size, s->trained_context, s->tied ? "true" : "false", window,
        s->off_by_one ? "true" : "false");
    write_file(directory, "config.json", config, (size_t)n, NULL, 0, NULL, 0);
}
