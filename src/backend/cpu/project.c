// SPDX-License-Identifier: MIT
// Matrix products: rows of activations with the rows of weights, a tile of weight rows at a time.
//
// Where the processor has tiles, tiles.c; else quantised weights go by whole.c, floats are read in
// place; where a table has no kernel for a type, or many rows would convert the same weights over
// and over, they are decoded to float32 first.
#include "backend/cpu/cpu.h"

typedef struct product {
    rill__cpu_rows_job rows;  // rows and columns, for all types
    const rill__projection *projections;
} product;

// Whether rows meet floats where they lie.
static bool in_place(const product *job, const rill__weight *w) {
    const rill__cpu_kernels *kernels = &job->rows.cpu->kernels;
    bool few = job->rows.n_rows <= kernels->in_place_rows;
    return !w->packed && kernels->product[w->type] && (few || w->type == RILL_TYPE_F32);
}

// Weight rows of a piece: few enough that threads end together, and so many that a stream of memory
// is seldom cut; floats in place, which pass once for every few rows of a batch, stay in the cache.
// Results do not depend on it.
static size_t tile_rows(const product *job, const rill__weight *w) {
    bool by_tiles = rill__cpu_by_tiles(job->rows.cpu, w);
    size_t bytes = (size_t)(!by_tiles && in_place(job, w) && job->rows.n_rows > 1 ? 160 : 640)
                   << 10;
    size_t rows = bytes / (w->row_bytes + 1);
    size_t share = w->rows / (4 * (size_t)rill__pool_threads(job->rows.cpu->pool));
    rows = rows < share ? rows : share;
    size_t unit = by_tiles ? RILL_TILE_OUTS : RILL_CPU_TILE;
    rows = rows < 512 ? rows / unit * unit : 512;
    return rows ? rows : unit;
}

static size_t n_tiles(const product *job, const rill__weight *w) {
    size_t rows = tile_rows(job, w);
    return (w->rows + rows - 1) / rows;
}

static void add_bias(const rill__projection *p, const rill__tile *tile, size_t first) {
    const float *bias = p->bias->vector + first;
    for (size_t r = 0; r < tile->n_rows; r++)
        for (size_t o = 0; o < tile->n_out; o++) tile->out[r * tile->out_stride + o] += bias[o];
}

// Decodes some weight rows at a time, which stay in the cache while the batch passes.
static void decoded_product(const product *job, const rill__weight *w, const rill__tile *all,
                            float *rows) {
    const rill__cpu_kernels *kernels = &job->rows.cpu->kernels;
    for (size_t first = 0; first < all->n_out; first += RILL_CPU_DECODED) {
        rill__tile tile = *all;
        size_t left = all->n_out - first;
        tile.n_out = left < RILL_CPU_DECODED ? left : RILL_CPU_DECODED;
        for (size_t o = 0; o < tile.n_out; o++)
            kernels->decode[w->type](all->w + (first + o) * w->row_bytes, rows + o * w->columns,
                                     w->columns);
        tile.w = (const uint8_t *)rows;
        tile.w_stride = w->columns * sizeof(float);
        tile.out += first;
        kernels->product[RILL_TYPE_F32](&tile);
    }
}

static void project_tile(const product *job, const rill__projection *p, size_t tile_number,
                         unsigned thread) {
    const rill__weight *w = p->weight;
    rill__cpu *cpu = job->rows.cpu;
    const rill__cpu_kernels *kernels = &cpu->kernels;
    size_t rows = tile_rows(job, w);
    size_t first = tile_number * rows, left = w->rows - first;
    rill__tile tile = {
        .w = w->data + first * w->row_bytes,
        .w_stride = w->row_bytes,
        .n_out = left < rows ? left : rows,
        .x = (const uint8_t *)job->rows.in,
        .x_stride = w->columns * sizeof(float),
        .n_rows = job->rows.n_rows,
        .k = w->columns,
        .out = rill__cpu_floats(p->out) + first,
        .out_stride = w->rows,
    };
    if (rill__cpu_by_tiles(cpu, w))
        rill__cpu_tiles_product(&job->rows, w, first, tile.n_out, rill__cpu_floats(p->out), thread);
    else if (w->packed)
        rill__cpu_whole_product(&job->rows, w, first, tile.n_out, rill__cpu_floats(p->out), thread);
    else if (in_place(job, w))
        kernels->product[w->type](&tile);
    else
        decoded_product(job, w, &tile, cpu->scratch[thread].rows);
    if (p->bias) add_bias(p, &tile, first);
}

static void project_piece(void *context, size_t piece, unsigned thread) {
    const product *job = context;
    const rill__projection *p = job->projections;
    for (; piece >= n_tiles(job, p->weight); p++) piece -= n_tiles(job, p->weight);
    project_tile(job, p, piece, thread);
}

void rill__cpu_project(rill__backend *be, const rill__buffer *in, size_t n_rows,
                       const rill__projection *projections, size_t n_projections,
                       rill__precision precision) {
    rill__cpu *cpu = rill__cpu_of(be);
    product job = {.rows = {.cpu = cpu,
                            .in = rill__cpu_floats(in),
                            .n_rows = n_rows,
                            .columns = projections->weight->columns,
                            .precision = precision},
                   .projections = projections};
    size_t n_pieces = 0;
    bool tiles = false, whole = false;
    for (size_t i = 0; i < n_projections; i++) {
        const rill__weight *w = projections[i].weight;
        n_pieces += n_tiles(&job, w);
        tiles = tiles || rill__cpu_by_tiles(cpu, w);
        whole = whole || w->packed;
    }
    pthread_mutex_lock(&cpu->lock);
    if (tiles) rill__cpu_tiles_split(&job.rows);
    if (whole) rill__cpu_whole_quantize(&job.rows);
    rill__pool_run(cpu->pool, n_pieces, project_piece, &job);
    pthread_mutex_unlock(&cpu->lock);
}
