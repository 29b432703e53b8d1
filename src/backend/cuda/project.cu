// SPDX-License-Identifier: MIT
// Products of activations with weights: which kernel does what. See product.cuh.
#include "backend/cuda/product_many.cuh"
#include "backend/cuda/product_few.cuh"
#include "backend/cuda/product_stream.cuh"

template <int KIND>
static void start(rill__cuda *cu, const product_args *a, unsigned n_tiles,
                  const rill__cuda_routes *routes) {
    if (cu->architecture == 90 && !routes && start_stream<KIND>(cu, a)) return;
    bool by_expert = routes && routes->by_expert;
    if (!by_expert && (routes || a->n_rows <= MOST_FEW_ROWS)) {
        start_few<KIND>(cu, a, n_tiles, routes ? (unsigned)routes->n : 0);
        return;
    }
    size_t n_rows = by_expert ? routes->n_rows : a->n_rows;
    unsigned n_experts = by_expert ? routes->n_experts : 1;
    rill__cuda_start(cu, "product_many", product_many<KIND>,
                     dim3((n_tiles + 3) / 4, (unsigned)((n_rows + MANY_ROWS - 1) / MANY_ROWS),
                          n_experts),
                     128, 0, *a);
}

// Whether products of so many rows go through wgmma.
static bool is_wide(const rill__cuda *cu, size_t n_rows) {
    return cu->architecture == 90 && n_rows > MOST_STREAM_ROWS;
}

// `routes`: of a mixture, else NULL.
static void start_kind(rill__cuda *cu, const product_args *a, unsigned n_tiles,
                       const rill__cuda_routes *routes) {
    if (!routes && is_wide(cu, a->n_rows)) {
        rill__cuda_product_wide(cu, a);
        return;
    }
    static void (*const starts[RILL_KINDS])(rill__cuda *, const product_args *, unsigned,
                                            const rill__cuda_routes *) = {
        start<RILL_KIND_HALF>,  start<RILL_KIND_4>, start<RILL_KIND_4_MIN>, start<RILL_KIND_5>,
        start<RILL_KIND_5_MIN>, start<RILL_KIND_6>, start<RILL_KIND_8>,     start<RILL_KIND_FP4>};
    starts[a->weights[0].kind](cu, a, n_tiles, routes);
}

static __global__ void to_halves(const float *x, __half *out, size_t n, float scale) {
    size_t i = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) * 4;
    if (i >= n) return;
    if (i + 4 <= n) {
        float4 v = *(const float4 *)(x + i);
        *(__half2 *)(out + i) = __floats2half2_rn(v.x * scale, v.y * scale);
        *(__half2 *)(out + i + 2) = __floats2half2_rn(v.z * scale, v.w * scale);
        return;
    }
    for (; i < n; i++) out[i] = __float2half_rn(x[i] * scale);
}

// The halves of a buffer: as who wrote it made them, or made now. From then on writers make them.
static bool fresh_halves(rill__cuda *cu, rill__buffer *b, size_t n) {
    if (!rill__cuda_take_halves(cu, b)) return false;
    if (b->half_fresh) return true;
    to_halves<<<(unsigned)((n + 1023) / 1024), 256, 0, cu->stream>>>(rill__cuda_floats(b), b->half,
                                                                     n, 1);
    RILL_CUDA_STARTED(cu, "to_halves");
    b->half_fresh = true;
    b->half_scale = 1;
    return true;
}

static product_args arguments(const rill__buffer *in, size_t n_rows, size_t columns) {
    product_args a = {};
    a.x = in->half;
    a.n_rows = (uint32_t)n_rows;
    a.columns = (uint32_t)columns;
    a.inverse = 1 / in->half_scale;
    return a;
}

// Adds a matrix behind those that are there. Each begins at a multiple of the tiles of a block.
static void add_matrix(product_args *a, const rill__weight *weight, const float *bias, float *out) {
    uint32_t m = a->n_matrices++;
    a->weights[m] = *weight->packed;
    a->bias[m] = bias;
    a->out[m] = out;
    uint32_t tiles = (weight->packed->rows + RILL_TILE_ROWS - 1) / RILL_TILE_ROWS;
    a->first_tile[m + 1] =
        a->first_tile[m] + (tiles + MATRIX_TILES - 1) / MATRIX_TILES * MATRIX_TILES;
}

void rill__cuda_project(rill__backend *be, const rill__buffer *in, size_t n_rows,
                        const rill__projection *projections, size_t n_projections,
                        rill__precision precision) {
    (void)precision;  // activations are of 16 bits for all
    rill__cuda *cu = rill__cuda_of(be);
    for (size_t i = 0, n; i < n_projections; i += n) {
        const rill__projection *p = &projections[i];
        const float *bias = p->bias ? p->bias->vector : nullptr;
        n = 1;
        if (!p->weight->packed) {
            rill__cuda_product_exact(cu, rill__cuda_floats(in), n_rows, p->weight, 0,
                                     p->weight->rows, bias, rill__cuda_floats(p->out),
                                     p->weight->rows);
            rill__cuda_wrote(p->out);
            continue;
        }
        size_t columns = p->weight->columns;
        if (!fresh_halves(cu, const_cast<rill__buffer *>(in), n_rows * columns)) return;
        product_args a = arguments(in, n_rows, columns);
        for (n = 0; i + n < n_projections && n < MOST_MATRICES; n++) {
            const rill__projection *q = &p[n];
            if (!q->weight->packed || q->weight->packed->kind != p->weight->packed->kind) break;
            add_matrix(&a, q->weight, q->bias ? q->bias->vector : nullptr,
                       rill__cuda_floats(q->out));
            rill__cuda_wrote(q->out);
        }
        start_kind(cu, &a, a.first_tile[a.n_matrices], nullptr);
    }
}

void rill__cuda_product_routed(rill__cuda *cu, const rill__buffer *in, const rill__weight *weight,
                               const rill__weight *bias, rill__buffer *out,
                               const rill__cuda_routes &routes, size_t rows) {
    if (!fresh_halves(cu, const_cast<rill__buffer *>(in), routes.n * weight->columns)) return;
    product_args a = arguments(in, routes.n, weight->columns);
    add_matrix(&a, weight, bias ? bias->vector : nullptr, rill__cuda_floats(out));
    a.part_rows = (uint32_t)rows;
    // A part may begin amidst a tile.
    unsigned n_tiles = (unsigned)((rows + RILL_TILE_ROWS - 1) / RILL_TILE_ROWS + 1);
    if (routes.by_expert)
        a.first_of = routes.first_of;
    else
        a.expert_of = routes.expert_of;
    start_kind(cu, &a, n_tiles, &routes);
    rill__cuda_wrote(out);
}

// Whether one kernel can do all of a stage's products.
static bool is_at_once(const rill__cuda *cu, const rill__stage *s) {
    const rill__weight *first = s->projections->weight;
    if (s->n_rows > MOST_FEW_ROWS && !is_wide(cu, s->n_rows)) return false;
    if (s->n_projections > MOST_MATRICES || !first->packed) return false;
    for (size_t i = 1; i < s->n_projections; i++) {
        const rill__weight *w = s->projections[i].weight;
        if (!w->packed || w->packed->kind != first->packed->kind) return false;
        if (s->activates && w->rows != first->rows) return false;
    }
    return true;
}

// A stage's norm: of one row by every block that needs it, of more by a kernel of its own.
static bool prepare_rows(rill__cuda *cu, const rill__stage *s, product_args *a) {
    rill__buffer *x = s->normed ? s->normed : const_cast<rill__buffer *>(s->in);
    bool in_blocks = s->normed && s->n_rows == 1 && norm_lanes((uint32_t)s->width) > 32 &&
                     s->width <= MOST_FOURS_WIDTH;
    if (s->normed && !in_blocks) {
        if (!rill__cuda_take_halves(cu, x)) return false;
        rill__cuda_norm_halves(cu, x, s->in, s->norm_weight, s->norm_bias, s->norm_kind,
                               s->norm_eps, s->n_rows, s->width);
    }
    if (!in_blocks) {
        if (!fresh_halves(cu, x, s->n_rows * s->width)) return false;
        *a = arguments(x, s->n_rows, s->width);
        return true;
    }
    a->n_rows = 1;
    a->columns = (uint32_t)s->width;
    a->inverse = 1;
    a->normed = rill__cuda_floats(s->in);
    a->norm = norm_with(s->norm_weight, s->norm_bias, s->norm_kind, s->norm_eps, s->width);
    return true;
}

bool rill__cuda_stage(rill__backend *be, const rill__stage *s) {
    rill__cuda *cu = rill__cuda_of(be);
    if (cu->exact || !is_at_once(cu, s)) return false;
    product_args a = {};
    if (!prepare_rows(cu, s, &a)) return true;
    for (size_t i = 0; i < s->n_projections; i++) {
        const rill__projection *p = &s->projections[i];
        rill__buffer *out = s->sum ? s->sum : p->out;
        add_matrix(&a, p->weight, p->bias ? p->bias->vector : nullptr, rill__cuda_floats(out));
        rill__cuda_wrote(out);
    }
    unsigned n_tiles = a.first_tile[s->activates ? 1 : a.n_matrices];
    if (s->sum) a.after = AFTER_ADD;
    if (s->activates) {
        rill__buffer *out = s->projections->out;
        if (!rill__cuda_take_halves(cu, out)) return true;
        a.after = AFTER_ACTIVATE;
        a.activation = s->activation;
        a.limit = s->limit;
        a.half = out->half;
        // Floats that nobody reads are not stored where there are many.
        if (s->reader && s->reader->packed && is_wide(cu, s->n_rows)) a.out[0] = nullptr;
        rill__cuda_wrote_halves(out, RILL_CUDA_GATED_SCALE);
    }
    start_kind(cu, &a, n_tiles, nullptr);
    return true;
}
