// SPDX-License-Identifier: MIT
// The CPU backend: memory, weights, and its table of operations.
#include "backend/cpu/cpu.h"

#include "base/cpu_flags.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void free_scratch(rill__cpu *cpu) {
    rill__unmap_memory(cpu->scratch_memory, cpu->scratch_bytes);
    rill__unmap_memory(cpu->activations, cpu->activations_bytes);
    rill__unmap_memory(cpu->kept, cpu->kept_bytes);
    cpu->scratch_memory = cpu->activations = cpu->kept = NULL;
}

static void cpu_close(rill__backend *be) {
    rill__cpu *cpu = rill__cpu_of(be);
    assert(!cpu->weights.last);
    rill__pool_close(&cpu->pool);
    free_scratch(cpu);
    rill__free(cpu->scratch);
    pthread_mutex_destroy(&cpu->lock);
    rill__free(cpu);
}

static const char *cpu_describe(const rill__backend *be) {
    return ((const rill__cpu *)(const void *)be)->description;
}

static const char *cpu_tier(const rill__backend *be) {
    return rill__cpu_tier(((const rill__cpu *)(const void *)be)->flags);
}

static unsigned cpu_threads(const rill__backend *be) {
    return rill__pool_threads(((const rill__cpu *)(const void *)be)->pool);
}

// Tiles meet both parts of an activation, whole numbers both of its bytes where products are fine.
static rill_product cpu_product(const rill__backend *be, rill_type weights) {
    const rill__cpu *cpu = (const rill__cpu *)(const void *)be;
    if (weights == RILL_TYPE_BF16 && cpu->kernels.product_tiles)
        return (rill_product){RILL_ARITHMETIC_BF16, 2};
    bool bytes = (unsigned)weights < RILL_CPU_TYPES && cpu->kernels.expand[weights];
    return bytes ? (rill_product){RILL_ARITHMETIC_INT8, 2} : (rill_product){RILL_ARITHMETIC_F32, 1};
}

static rill_status buffer_new(rill__backend *be, size_t bytes, rill__buffer **out,
                              rill_error *err) {
    (void)be;
    rill__buffer *b = rill__calloc(1, sizeof *b);
    if (b) b->data = rill__map_resident(bytes ? bytes : 1);
    if (!b || !b->data) {
        rill__free(b);
        return rill__fail_memory(err, "a buffer", bytes);
    }
    b->bytes = bytes ? bytes : 1;
    *out = b;
    return RILL_OK;
}

static void buffer_free(rill__backend *be, rill__buffer *buffer) {
    (void)be;
    if (buffer) rill__unmap_memory(buffer->data, buffer->bytes);
    rill__free(buffer);
}

static void buffer_write(rill__backend *be, rill__buffer *buffer, size_t offset, const void *src,
                         size_t bytes) {
    (void)be;
    memcpy(buffer->data + offset, src, bytes);
}

static void buffer_read(rill__backend *be, const rill__buffer *buffer, size_t offset, void *dst,
                        size_t bytes) {
    (void)be;
    memcpy(dst, buffer->data + offset, bytes);
}

static size_t aligned(size_t bytes) {
    return (bytes + 63) & ~(size_t)63;
}

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

// Queries of usual heads fill a tile (96 of 128 columns); of the widest, there is one.
static size_t tile_floats(size_t width) {
    return larger(96 * 128, width);
}

// A thread's scratch in the order of its arrays; returns the bytes, and fills `out` if memory is
// there.
static size_t lay_out_scratch(uint8_t *memory, size_t width, size_t products,
                              rill__cpu_scratch *out) {
    size_t tile = tile_floats(width), sums = aligned(tile * sizeof(double));
    const size_t bytes[] = {aligned(products),
                            aligned(RILL_CPU_DECODED * width * sizeof(float)),
                            aligned(tile * sizeof(float)),
                            aligned(RILL_CPU_KEYS * width * sizeof(float)),
                            aligned((RILL_CPU_KEYS * width + RILL_CPU_SLACK) * sizeof(float)),
                            RILL_CPU_QUERIES * RILL_CPU_KEYS * sizeof(float),
                            aligned(3 * RILL_CPU_QUERIES * sizeof(rill__softmax)),
                            3 * sums};
    enum { N = sizeof bytes / sizeof *bytes };
    size_t at[N + 1] = {0};
    for (size_t i = 0; i < N; i++) at[i + 1] = at[i] + bytes[i];
    if (memory)
        *out = (rill__cpu_scratch){.products = memory,
                                   .rows = (float *)(void *)(memory + at[1]),
                                   .queries = (float *)(void *)(memory + at[2]),
                                   .keys = (float *)(void *)(memory + at[3]),
                                   .values = (float *)(void *)(memory + at[4]),
                                   .scores = (float *)(void *)(memory + at[5]),
                                   .states = (rill__softmax *)(void *)(memory + at[6]),
                                   .sums = memory + at[7],
                                   .tile_floats = tile,
                                   .sums_bytes = sums};
    return at[N];
}

// One mapping for all threads' scratch, one for quantised activations, one for attention's parts.
static rill_status take_scratch(rill__cpu *cpu, size_t max_rows, size_t visible, size_t width,
                                rill_error *err) {
    size_t n_threads = rill__pool_threads(cpu->pool), all, kept;
    size_t products = larger(rill__cpu_whole_scratch_bytes(max_rows),
                             rill__cpu_tiles_scratch_bytes(cpu, max_rows, width));
    size_t one = lay_out_scratch(NULL, width, products, NULL);
    if (!rill__mul_size(one, n_threads, &all) ||
        !rill__mul_size(visible / 512 + 8, RILL_CPU_CUT_ROWS * width * sizeof(double), &kept))
        return rill__fail_memory(err, "scratch", SIZE_MAX);
    size_t whole = aligned(rill__cpu_whole_activation_bytes(max_rows, width));
    size_t activations = whole + rill__cpu_tiles_activation_bytes(cpu, max_rows, width);
    uint8_t *memory[] = {rill__map_resident(all), rill__map_resident(activations),
                         rill__map_resident(kept)};
    if (!memory[0] || !memory[1] || !memory[2]) {
        rill__unmap_memory(memory[0], all);
        rill__unmap_memory(memory[1], activations);
        rill__unmap_memory(memory[2], kept);
        return rill__fail_memory(err, "scratch", all + activations + kept);
    }
    free_scratch(cpu);
    cpu->scratch_memory = memory[0];
    cpu->scratch_bytes = all;
    cpu->activations = memory[1];
    cpu->activations_bytes = activations;
    cpu->parts = memory[1] + whole;
    cpu->kept = memory[2];
    cpu->kept_bytes = kept;
    for (size_t i = 0; i < n_threads; i++)
        (void)lay_out_scratch(memory[0] + i * one, width, products, &cpu->scratch[i]);
    return RILL_OK;
}

static rill_status reserve(rill__backend *be, size_t max_rows, size_t max_visible, size_t max_width,
                           rill_error *err) {
    rill__cpu *cpu = rill__cpu_of(be);
    rill_status status = RILL_OK;
    max_width = (max_width + 31) & ~(size_t)31;  // a head's row in the cache is padded to blocks
    pthread_mutex_lock(&cpu->lock);
    if (max_rows > cpu->max_rows || max_visible > cpu->visible || max_width > cpu->width) {
        max_rows = larger(max_rows, cpu->max_rows);
        max_visible = larger(max_visible, cpu->visible);
        max_width = larger(max_width, cpu->width);
        status = take_scratch(cpu, max_rows, max_visible, max_width, err);
        if (status == RILL_OK) {
            cpu->max_rows = max_rows;
            cpu->visible = max_visible;
            cpu->width = max_width;
        }
    }
    pthread_mutex_unlock(&cpu->lock);
    return status;
}

static rill_status synchronize(rill__backend *be, rill_error *err) {
    (void)be;
    (void)err;
    return RILL_OK;
}

static void weight_free(rill__backend *be, rill__weight *weight) {
    if (!weight) return;
    rill__cpu *cpu = rill__cpu_of(be);
    pthread_mutex_lock(&cpu->lock);
    rill__arena_give(&cpu->weights, weight->slab);
    pthread_mutex_unlock(&cpu->lock);
    rill__free(weight->vector);
    rill__free(weight);
}

static rill_status take_vector(const rill__cpu *cpu, rill__weight *w, const char *name,
                               rill_error *err) {
    w->vector = rill__malloc(w->columns * sizeof *w->vector);
    if (!w->vector) return rill__fail_memory(err, name, w->columns * sizeof *w->vector);
    cpu->kernels.decode[w->type](w->data, w->vector, w->columns);
    return RILL_OK;
}

static rill_status weight_new(rill__backend *be, const rill__tensor *tensor, rill__weight_use use,
                              rill__weight **out, rill_error *err) {
    rill__cpu *cpu = rill__cpu_of(be);
    bool vector = tensor->n_dims == 1;
    size_t columns = tensor->shape[tensor->n_dims - 1], row_bytes;
    if ((unsigned)tensor->type >= RILL_CPU_TYPES || !cpu->kernels.decode[tensor->type] ||
        !rill__type_bytes(tensor->type, columns, &row_bytes))
        return rill__fail(err, RILL_EUNSUPPORTED, "%s: weights of type %s", tensor->name,
                          rill_type_name(tensor->type));
    rill__weight *w = rill__calloc(1, sizeof *w);
    if (!w) return rill__fail_memory(err, "a weight", sizeof *w);
    *w = (rill__weight){.type = tensor->type,
                        .rows = vector ? 1 : tensor->shape[0],
                        .columns = columns,
                        .row_bytes = row_bytes,
                        .data = tensor->data};
    rill_status status = RILL_OK;
    if (vector)
        status = take_vector(cpu, w, tensor->name, err);
    else if (use != RILL_USE_ROWS)
        status = rill__cpu_whole_pack(cpu, w, tensor->name, err);
    if (status != RILL_OK) {
        weight_free(be, w);
        return status;
    }
    *out = w;
    return RILL_OK;
}

static const rill__backend_ops cpu_ops = {
    .name = "cpu",
    .close = cpu_close,
    .describe = cpu_describe,
    .tier = cpu_tier,
    .threads = cpu_threads,
    .product = cpu_product,
    .measure = rill__cpu_measure,
    .buffer_new = buffer_new,
    .buffer_free = buffer_free,
    .buffer_write = buffer_write,
    .buffer_read = buffer_read,
    // From 32 rows on a matrix product gains nothing more, and a chunk's logits would be large: of
    // a vocabulary of 150,000 a row takes 600 KB.
    .logits_rows = 32,
    .chunk_rows = 512,
    .reserve = reserve,
    .synchronize = synchronize,
    .weight_new = weight_new,
    .weight_free = weight_free,
    .embed = rill__cpu_embed,
    .norm = rill__cpu_norm,
    .project = rill__cpu_project,
    .rotary_table = rill__cpu_rotary_table,
    .rotate_store = rill__cpu_rotate_store,
    .attend = rill__cpu_attend,
    .activate = rill__cpu_activate,
    .clamp = rill__cpu_clamp,
    .cap = rill__cpu_cap,
    .experts = rill__cpu_experts,
    .add = rill__cpu_add,
    .select_rows = rill__cpu_select_rows,
};

// The flags of the kernels to use. $RILL_CPU is asked only where the caller has not chosen.
static rill_status choose_flags(const rill_device_options *options, unsigned *flags,
                                rill_error *err) {
    const char *from = "cpu", *name = options->cpu;
    if (!name && !options->exact) {
        from = "RILL_CPU";
        name = getenv(from);
    }
    unsigned mask = ~0u;
    if (name && !rill__cpu_mask(name, &mask))
        return rill__fail(err, RILL_EINVAL, "%s: '%s'; " RILL_CPU_TIERS " is right", from, name);
    *flags = options->exact ? 0 : rill__cpu_flags() & mask;
    return RILL_OK;
}

rill_status rill__cpu_backend_open(const rill_device_options *options, rill__backend **out,
                                   rill_error *err) {
    unsigned flags = 0;
    rill_status status = choose_flags(options, &flags, err);
    if (status != RILL_OK) return status;
    rill__cpu *cpu = rill__calloc(1, sizeof *cpu);
    if (!cpu) return rill__fail_memory(err, "a backend", sizeof *cpu);
    cpu->base.ops = &cpu_ops;
    cpu->flags = flags;
    rill__cpu_kernels_init(&cpu->kernels, cpu->flags, options->exact);
    pthread_mutex_init(&cpu->lock, NULL);
    status = rill__pool_open(options->threads, &cpu->pool, err);
    unsigned n_threads = status == RILL_OK ? rill__pool_threads(cpu->pool) : 0;
    if (status == RILL_OK) {
        cpu->scratch = rill__calloc(n_threads, sizeof *cpu->scratch);
        if (!cpu->scratch)
            status = rill__fail_memory(err, "scratch", n_threads * sizeof *cpu->scratch);
    }
    if (status != RILL_OK) {
        cpu_close(&cpu->base);
        return status;
    }
    char name[64];
    rill__cpu_model(name, sizeof name);
    snprintf(cpu->description, sizeof cpu->description, "cpu %s, %s, %u thread%s", name,
             options->exact ? "exact" : rill__cpu_tier(cpu->flags), n_threads,
             n_threads == 1 ? "" : "s");
    *out = &cpu->base;
    return RILL_OK;
}
