// SPDX-License-Identifier: MIT
// Products of activations with packed weights, on tensor cores.
//
// out[r, o] = row_scale[o] / half_scale * sum_c W[o, c] x[r, c] + bias[o], W and x in float16, sums
// in float32. Weights are the M side of mma.m16n8k16, rows of the batch its N side. The columns are
// cut into segments of 512; a segment's sum goes through the fragments in the order of columns,
// from zero; segments are added in their order. Every kernel here keeps to that, so a row has the
// same bits whatever is computed beside it, and few rows can spread a sum over many warps.
#include "backend/cuda/activation.cuh"
#include "backend/cuda/launch.cuh"
#include "backend/cuda/norm.cuh"
#include "backend/cuda/weights.cuh"

enum { SEGMENT_TILES = 8, MOST_WARPS = 16, MOST_MATRICES = 3, MOST_FEW_ROWS = 32 };

// What becomes of a product: it is stored; gate and up (or up alone) are activated; or it is added to
// what is there.
enum after_products { AFTER_STORE, AFTER_ACTIVATE, AFTER_ADD };

// Matrices that meet the same rows, one below the other.
struct product_args {
    const __half *x;  // [n_rows, columns]
    uint32_t n_rows;
    uint32_t columns;
    float inverse;  // 1 / half_scale
    uint32_t n_matrices;
    rill__cuda_packed weights[MOST_MATRICES];
    const float *bias[MOST_MATRICES];
    float *out[MOST_MATRICES];              // [n_rows, weights.rows]
    uint32_t first_tile[MOST_MATRICES + 1];  // of rows
    // Of a mixture: row i of x meets rows [expert_of[i] * part_rows, + part_rows) of the matrix.
    const uint32_t *expert_of;
    uint32_t part_rows;
    // What a stage (backend.h) has before and behind: few rows only.
    const float *normed;  // [columns] the only row, which is normed before; NULL: x is there
    norm_of_rows norm;
    after_products after;
    rill__activation activation;
    float limit;
    __half *half;  // of out[0], activated
};

static __device__ __forceinline__ void mma(float c[4], const uint32_t a[4], uint32_t b0,
                                           uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// The last step of every product, never contracted.
static __device__ __forceinline__ float finished(float sum, float row_scale, float inverse,
                                                 const float *bias, uint32_t row) {
    float y = __fmul_rn(__fmul_rn(sum, row_scale), inverse);
    return bias ? __fadd_rn(y, bias[row]) : y;
}

static __device__ __forceinline__ uint32_t matrix_of(const product_args &a, uint32_t tile) {
    uint32_t m = 0;
    while (m + 1 < a.n_matrices && tile >= a.first_tile[m + 1]) m++;
    return m;
}

// Two neighbouring numbers of a row of x; zeros outside. A normed row is in shared memory.
template <bool NORMED>
static __device__ __forceinline__ uint32_t pair_at(const product_args &a, const __half *x,
                                                   uint32_t row, bool is_row, uint32_t column) {
    if (!is_row || column >= a.columns) return 0;
    if (NORMED) return *(const uint32_t *)(x + column);
    return __ldg((const uint32_t *)(x + (size_t)row * a.columns + column));
}

template <int KIND, int NT, bool NORMED>
static __device__ __forceinline__ void
multiply_tile(const product_args &a, const tile_words<KIND> &words, const __half *x, uint32_t row0,
              uint32_t n_rows, uint32_t column0, int lane, float c[NT][4]) {
#pragma unroll
    for (int f = 0; f < 4; f++) {
        uint32_t w[4];
        unpack<KIND>(words, f, w);
#pragma unroll
        for (int n = 0; n < NT; n++) {
            uint32_t row = row0 + 8 * n + lane / 4, column = column0 + 16 * f + 2 * (lane % 4);
            bool is_row = row < n_rows;
            uint32_t b0 = pair_at<NORMED>(a, x, row, is_row, column);
            uint32_t b1 = pair_at<NORMED>(a, x, row, is_row, column + 8);
            mma(c[n], w, b0, b1);
        }
    }
}

// The row of `normed` as halves in shared memory.
static __device__ void norm_to_shared(const product_args &a, __half *to) {
    __shared__ float warps[64];
    norm_state<float> s = norm_row<float>(a.norm, a.normed, warps);
    for (uint32_t at = 4 * threadIdx.x; at < a.columns; at += 4 * blockDim.x)
        rill__cuda_store4_halves(to, at, a.columns, norm_four(a.norm, s, a.normed, at), 1);
    __syncthreads();
}

// Where a block's work lies: 16 rows of one matrix, or of gate and up, half of its warps each.
struct few_place {
    uint32_t matrix;
    uint32_t tile;       // of the matrix
    uint32_t warp;       // among those of the matrix
    uint32_t n_warps;    // of a matrix
    uint32_t x_row0;     // of rows of x
    uint32_t n_rows;     // the end of rows of x
    uint32_t first_out;  // the first row of the matrix that is row 0 of out
    uint32_t rows;       // of out
};

static __device__ __forceinline__ few_place place_of(const product_args &a) {
    few_place p = {0, blockIdx.x, threadIdx.x / 32, blockDim.x / 32, 0, a.n_rows, 0, 0};
    if (a.after == AFTER_ACTIVATE) {
        p.n_warps /= a.n_matrices;
        p.matrix = p.warp / p.n_warps;
        p.warp %= p.n_warps;
    } else {
        p.matrix = matrix_of(a, blockIdx.x);
        p.tile -= a.first_tile[p.matrix];
    }
    p.rows = a.weights[p.matrix].rows;
    if (a.expert_of) {  // one row of x, and its expert's part of the matrix
        p.x_row0 = blockIdx.y;
        p.n_rows = blockIdx.y + 1;
        p.rows = a.part_rows;
    }
    return p;
}

// A warp's segments: sums go to parts[segment][8 NT columns of mma][16].
template <int KIND, int NT, bool NORMED>
static __device__ __forceinline__ void
sum_segments(const product_args &a, const few_place &p, const __half *x, tile_words<KIND> first,
             int lane, float *parts) {
    const rill__cuda_packed &w = a.weights[p.matrix];
    uint32_t n_segments = (w.column_tiles + SEGMENT_TILES - 1) / SEGMENT_TILES;
    size_t at = (size_t)p.tile * w.column_tiles;
    tile_words<KIND> next = first, words;
    for (uint32_t s = p.warp; s < n_segments; s += p.n_warps) {
        float c[NT][4] = {};
        uint32_t begin = s * SEGMENT_TILES, end = min(begin + SEGMENT_TILES, w.column_tiles);
        if (s != p.warp) load_tile<KIND>(w, at + begin, lane, &next);
#pragma unroll 2
        for (uint32_t t = begin; t < end; t++) {
            words = next;
            if (t + 1 < end) load_tile<KIND>(w, at + t + 1, lane, &next);
            multiply_tile<KIND, NT, NORMED>(a, words, x, p.x_row0, p.n_rows,
                                            t * RILL_TILE_COLUMNS, lane, c);
        }
        float *part = parts + s * (NT * 8 * 16);
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                part[(8 * n + 2 * (lane % 4) + i % 2) * 16 + lane / 4 + 8 * (i / 2)] = c[n][i];
    }
}

// Number i of a block's products of a matrix: its segments together.
template <int NT>
static __device__ __forceinline__ float sum_parts(const product_args &a, uint32_t matrix,
                                                  uint32_t row, const float *parts, uint32_t i) {
    const rill__cuda_packed &w = a.weights[matrix];
    uint32_t n_segments = (w.column_tiles + SEGMENT_TILES - 1) / SEGMENT_TILES;
    float sum = 0;
    for (uint32_t s = 0; s < n_segments; s++) sum += parts[s * (NT * 8 * 16) + i];
    return finished(sum, w.row_scales[row], a.inverse, a.bias[matrix], row);
}

// A block has 16 rows of weights, its warps their segments; up to 8 NT rows of x.
template <int KIND, int NT, bool NORMED>
static __global__ void __launch_bounds__(32 * MOST_WARPS)
    product_few(const __grid_constant__ product_args a) {
    extern __shared__ float parts[];
    int lane = threadIdx.x % 32;
    few_place p = place_of(a);
    const rill__cuda_packed &w = a.weights[p.matrix];
    uint32_t n_segments = (w.column_tiles + SEGMENT_TILES - 1) / SEGMENT_TILES;
    let_next_begin();
    if (a.expert_of) {
        wait_for_previous();
        p.first_out = a.expert_of[p.x_row0] * p.rows;
        p.tile += p.first_out / RILL_TILE_ROWS;
    }
    bool inside = p.tile * RILL_TILE_ROWS < w.rows;
    tile_words<KIND> first = {};
    if (inside && p.warp < n_segments)
        load_tile<KIND>(w, (size_t)p.tile * w.column_tiles + p.warp * SEGMENT_TILES, lane, &first);
    if (!a.expert_of) wait_for_previous();
    uint32_t part_floats = n_segments * (NT * 8 * 16);
    __half *x = (__half *)(parts + a.n_matrices * part_floats);
    if (NORMED) norm_to_shared(a, x);
    if (inside)
        sum_segments<KIND, NT, NORMED>(a, p, NORMED ? x : a.x, first, lane,
                                       parts + (a.after == AFTER_ACTIVATE ? p.matrix : 0) *
                                                   part_floats);
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < NT * 8 * 16 && inside; i += blockDim.x) {
        uint32_t row = p.tile * RILL_TILE_ROWS + i % 16, x_row = p.x_row0 + i / 16;
        if (row < p.first_out || row - p.first_out >= p.rows || x_row >= p.n_rows) continue;
        size_t at = (size_t)x_row * p.rows + row - p.first_out;
        if (a.after == AFTER_ACTIVATE) {
            float gate = sum_parts<NT>(a, 0, row, parts, i), up = 1;
            if (a.n_matrices > 1) up = sum_parts<NT>(a, 1, row, parts + part_floats, i);
            float y = activated(a.activation, gate, up, a.limit);
            a.out[0][at] = y;
            if (a.half) a.half[at] = __float2half_rn(y * RILL_CUDA_GATED_SCALE);
            continue;
        }
        float y = sum_parts<NT>(a, p.matrix, row, parts, i);
        float *out = a.out[p.matrix] + at;
        *out = a.after == AFTER_ADD ? __fadd_rn(*out, y) : y;
    }
}

// Many rows: a block has 64 rows of weights, 16 a warp, and 64 rows of x, which pass through shared
// memory 64 columns at a time, the next ones on their way meanwhile.
enum { MANY_ROWS = 64, STRIDE = RILL_TILE_COLUMNS + 8 };

static __device__ __forceinline__ void fetch_rows(const product_args &a, uint32_t row0,
                                                  uint32_t column0, __half *to) {
    for (uint32_t i = threadIdx.x; i < MANY_ROWS * 8; i += blockDim.x) {
        uint32_t row = row0 + i / 8, column = column0 + i % 8 * 8;
        bool inside = row < a.n_rows && column < a.columns;
        const __half *from = inside ? a.x + (size_t)row * a.columns + column : a.x;
        unsigned at = (unsigned)__cvta_generic_to_shared(to + i / 8 * STRIDE + i % 8 * 8);
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from),
                     "r"(inside ? 16 : 0));
    }
    asm volatile("cp.async.commit_group;");
}

template <int KIND>
static __global__ void __launch_bounds__(128) product_many(const __grid_constant__ product_args a) {
    __shared__ __align__(16) __half x[2][MANY_ROWS * STRIDE];
    let_next_begin();
    wait_for_previous();
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    uint32_t m = matrix_of(a, 4 * blockIdx.x), row0 = blockIdx.y * MANY_ROWS;
    const rill__cuda_packed &w = a.weights[m];
    uint32_t tile = 4 * blockIdx.x - a.first_tile[m] + warp;
    bool inside = tile * RILL_TILE_ROWS < w.rows;
    size_t at = (size_t)tile * w.column_tiles;
    float total[8][4] = {}, c[8][4] = {};
    tile_words<KIND> words, next;
    if (inside) load_tile<KIND>(w, at, lane, &next);
    fetch_rows(a, row0, 0, x[0]);
    for (uint32_t t = 0; t < w.column_tiles; t++) {
        words = next;
        asm volatile("cp.async.wait_group 0;");
        __syncthreads();
        if (t + 1 < w.column_tiles) {
            fetch_rows(a, row0, (t + 1) * RILL_TILE_COLUMNS, x[(t + 1) % 2]);
            if (inside) load_tile<KIND>(w, at + t + 1, lane, &next);
        }
        const uint32_t *b = (const uint32_t *)x[t % 2] + lane / 4 * (STRIDE / 2) + lane % 4;
#pragma unroll
        for (int f = 0; f < 4; f++) {
            uint32_t v[4] = {};
            if (inside) unpack<KIND>(words, f, v);
#pragma unroll
            for (int n = 0; n < 8; n++)
                mma(c[n], v, b[n * 8 * (STRIDE / 2) + 8 * f], b[n * 8 * (STRIDE / 2) + 8 * f + 4]);
        }
        if (t % SEGMENT_TILES != SEGMENT_TILES - 1 && t + 1 < w.column_tiles) continue;
#pragma unroll
        for (int i = 0; i < 32; i++) {
            total[i / 4][i % 4] += c[i / 4][i % 4];
            c[i / 4][i % 4] = 0;
        }
    }
#pragma unroll
    for (int i = 0; i < 32; i++) {
        uint32_t row = tile * RILL_TILE_ROWS + lane / 4 + 8 * (i % 4 / 2);
        uint32_t x_row = row0 + 8 * (i / 4) + 2 * (lane % 4) + i % 2;
        if (row < w.rows && x_row < a.n_rows)
            a.out[m][(size_t)x_row * w.rows + row] =
                finished(total[i / 4][i % 4], w.row_scales[row], a.inverse, a.bias[m], row);
    }
}

template <int KIND>
static void start_few(rill__cuda *cu, const product_args *a, unsigned n_tiles, unsigned n_routed) {
    unsigned n_segments = (a->weights[0].column_tiles + SEGMENT_TILES - 1) / SEGMENT_TILES;
    unsigned at_once = a->after == AFTER_ACTIVATE ? a->n_matrices : 1, most = MOST_WARPS / at_once;
    unsigned rounds = (n_segments + most - 1) / most;
    unsigned threads = 32 * at_once * ((n_segments + rounds - 1) / rounds);
    int nt = n_routed || a->n_rows <= 8 ? 1 : a->n_rows <= 16 ? 2 : 4;
    size_t bytes = (size_t)a->n_matrices * n_segments * nt * 8 * 16 * sizeof(float);
    void (*kernel)(product_args) = nt == 1   ? product_few<KIND, 1, false>
                                   : nt == 2 ? product_few<KIND, 2, false>
                                             : product_few<KIND, 4, false>;
    if (a->normed) {
        kernel = product_few<KIND, 1, true>;
        bytes += a->columns * sizeof(__half);
    }
    if (bytes > 48 << 10)
        RILL_CUDA_TRY(cu, cudaFuncSetAttribute((const void *)kernel,
                                               cudaFuncAttributeMaxDynamicSharedMemorySize,
                                               (int)bytes));
    rill__cuda_start(cu, "product_few", kernel, dim3(n_tiles, n_routed ? n_routed : 1), threads,
                     bytes, *a);
}

template <int KIND>
static void start(rill__cuda *cu, const product_args *a, unsigned n_tiles, unsigned n_routed) {
    if (n_routed || a->n_rows <= MOST_FEW_ROWS) {
        start_few<KIND>(cu, a, n_tiles, n_routed);
        return;
    }
    rill__cuda_start(cu, "product_many", product_many<KIND>,
                     dim3(n_tiles / 4, (a->n_rows + MANY_ROWS - 1) / MANY_ROWS), 128, 0, *a);
}

static void start_kind(rill__cuda *cu, const product_args *a, unsigned n_tiles,
                       unsigned n_routed) {
    static void (*const starts[RILL_KINDS])(rill__cuda *, const product_args *, unsigned,
                                            unsigned) = {
        start<RILL_KIND_HALF>,  start<RILL_KIND_4>, start<RILL_KIND_4_MIN>, start<RILL_KIND_5>,
        start<RILL_KIND_5_MIN>, start<RILL_KIND_6>, start<RILL_KIND_8>,     start<RILL_KIND_FP4>};
    starts[a->weights[0].kind](cu, a, n_tiles, n_routed);
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

// Adds a matrix behind those that are there. Each begins at a multiple of four tiles of rows.
static void add_matrix(product_args *a, const rill__weight *weight, const float *bias, float *out) {
    uint32_t m = a->n_matrices++;
    a->weights[m] = *weight->packed;
    a->bias[m] = bias;
    a->out[m] = out;
    uint32_t tiles = (weight->packed->rows + RILL_TILE_ROWS - 1) / RILL_TILE_ROWS;
    a->first_tile[m + 1] = a->first_tile[m] + (tiles + 3) / 4 * 4;
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
        start_kind(cu, &a, a.first_tile[a.n_matrices], 0);
    }
}

// out[i] = rows [expert_of[i] * rows, + rows) of weight, times in[i].
void rill__cuda_product_routed(rill__cuda *cu, const rill__buffer *in, const rill__weight *weight,
                               const rill__weight *bias, rill__buffer *out,
                               const uint32_t *expert_of, size_t n, size_t rows) {
    if (!fresh_halves(cu, const_cast<rill__buffer *>(in), n * weight->columns)) return;
    product_args a = arguments(in, n, weight->columns);
    add_matrix(&a, weight, bias ? bias->vector : nullptr, rill__cuda_floats(out));
    a.expert_of = expert_of;
    a.part_rows = (uint32_t)rows;
    // A part may begin amidst a tile.
    unsigned n_tiles = (unsigned)((rows + RILL_TILE_ROWS - 1) / RILL_TILE_ROWS + 1);
    start_kind(cu, &a, n_tiles, (unsigned)n);
    rill__cuda_wrote(out);
}

// Whether one kernel of few rows can do all of a stage's products.
static bool is_few(const rill__stage *s) {
    const rill__weight *first = s->projections->weight;
    if (s->n_rows > MOST_FEW_ROWS || s->n_projections > MOST_MATRICES || !first->packed)
        return false;
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
    bool in_blocks = s->normed && s->n_rows == 1 && norm_lanes((uint32_t)s->width) > 32;
    if (s->normed && !in_blocks)
        rill__cuda_norm(&cu->base, x, s->in, s->norm_weight, s->norm_bias, s->norm_kind,
                        s->norm_eps, s->n_rows, s->width);
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
    if (cu->exact || !is_few(s)) return false;
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
        rill__cuda_wrote_halves(out, RILL_CUDA_GATED_SCALE);
    }
    start_kind(cu, &a, n_tiles, 0);
    return true;
}
