// SPDX-License-Identifier: MIT
// Products of activations with packed weights, on tensor cores.
//
// out[r, o] = row_scale[o] / half_scale * sum_c W[o, c] x[r, c] + bias[o], W and x in float16, sums
// in float32. Weights are the M side of mma.m16n8k16, rows of the batch its N side. The columns are
// cut into segments of 512; a segment's sum goes through the fragments in the order of columns,
// from zero; segments are added in their order. Every kernel here keeps to that, so a row has the
// same bits whatever is computed beside it, and few rows can spread a sum over many warps.
#include "backend/cuda/weights.cuh"

enum { SEGMENT_TILES = 8, MOST_WARPS = 16, MOST_MATRICES = 3 };

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

// Two neighbouring numbers of a row of x; zeros outside.
static __device__ __forceinline__ uint32_t pair_at(const product_args &a, uint32_t row, bool is_row,
                                                   uint32_t column) {
    if (!is_row || column >= a.columns) return 0;
    return __ldg((const uint32_t *)(a.x + (size_t)row * a.columns + column));
}

template <int KIND, int NT>
static __device__ __forceinline__ void multiply_tile(const product_args &a,
                                                     const tile_words<KIND> &words, uint32_t row0,
                                                     uint32_t n_rows, uint32_t column0, int lane,
                                                     float c[NT][4]) {
#pragma unroll
    for (int f = 0; f < 4; f++) {
        uint32_t w[4];
        unpack<KIND>(words, f, w);
#pragma unroll
        for (int n = 0; n < NT; n++) {
            uint32_t row = row0 + 8 * n + lane / 4, column = column0 + 16 * f + 2 * (lane % 4);
            bool is_row = row < n_rows;
            uint32_t b0 = pair_at(a, row, is_row, column);
            uint32_t b1 = pair_at(a, row, is_row, column + 8);
            mma(c[n], w, b0, b1);
        }
    }
}

// A block has 16 rows of weights, its warps their segments; up to 8 NT rows of x. `parts` has a
// segment's sums: [segment][8 NT columns of mma][16].
template <int KIND, int NT>
static __global__ void __launch_bounds__(32 * MOST_WARPS) product_few(const __grid_constant__ product_args a) {
    extern __shared__ float parts[];
    uint32_t m = matrix_of(a, blockIdx.x), tile = blockIdx.x - a.first_tile[m];
    uint32_t x_row0 = 0, n_rows = a.n_rows, first_out = 0, rows = a.weights[m].rows;
    const rill__cuda_packed &w = a.weights[m];
    if (a.expert_of) {  // one row of x, and its expert's part of the matrix
        x_row0 = blockIdx.y;
        n_rows = x_row0 + 1;
        rows = a.part_rows;
        first_out = a.expert_of[x_row0] * rows;
        tile += first_out / RILL_TILE_ROWS;
    }
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, n_warps = blockDim.x / 32;
    uint32_t n_segments = (w.column_tiles + SEGMENT_TILES - 1) / SEGMENT_TILES;
    for (uint32_t s = warp; s < n_segments; s += n_warps) {
        float c[NT][4] = {};
        uint32_t first = s * SEGMENT_TILES, end = min(first + SEGMENT_TILES, w.column_tiles);
        size_t at = (size_t)tile * w.column_tiles;
        bool inside = tile * RILL_TILE_ROWS < w.rows;
        tile_words<KIND> next, words;
        if (inside) load_tile<KIND>(w, at + first, lane, &next);
#pragma unroll 2
        for (uint32_t t = first; t < end && inside; t++) {
            words = next;
            if (t + 1 < end) load_tile<KIND>(w, at + t + 1, lane, &next);
            multiply_tile<KIND, NT>(a, words, x_row0, n_rows, t * RILL_TILE_COLUMNS, lane, c);
        }
        float *part = parts + s * (NT * 8 * 16);
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                part[(8 * n + 2 * (lane % 4) + i % 2) * 16 + lane / 4 + 8 * (i / 2)] = c[n][i];
    }
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < NT * 8 * 16; i += blockDim.x) {
        uint32_t row = tile * RILL_TILE_ROWS + i % 16, x_row = x_row0 + i / 16;
        if (row < first_out || row - first_out >= rows || x_row >= n_rows) continue;
        float sum = 0;
        for (uint32_t s = 0; s < n_segments; s++) sum += parts[s * (NT * 8 * 16) + i];
        a.out[m][(size_t)x_row * rows + row - first_out] =
            finished(sum, w.row_scales[row], a.inverse, a.bias[m], row);
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
    unsigned rounds = (n_segments + MOST_WARPS - 1) / MOST_WARPS;
    unsigned threads = 32 * ((n_segments + rounds - 1) / rounds);
    int nt = n_routed || a->n_rows <= 8 ? 1 : a->n_rows <= 16 ? 2 : 4;
    size_t bytes = (size_t)n_segments * nt * 8 * 16 * sizeof(float);
    void (*const kernels[])(product_args) = {product_few<KIND, 1>, product_few<KIND, 2>, nullptr,
                                             product_few<KIND, 4>};
    void (*kernel)(product_args) = kernels[nt - 1];
    if (bytes > 48 << 10)
        RILL_CUDA_TRY(cu, cudaFuncSetAttribute((const void *)kernel,
                                               cudaFuncAttributeMaxDynamicSharedMemorySize,
                                               (int)bytes));
    kernel<<<dim3(n_tiles, n_routed ? n_routed : 1), threads, bytes, cu->stream>>>(*a);
    RILL_CUDA_STARTED(cu, "product_few");
}

template <int KIND>
static void start(rill__cuda *cu, const product_args *a, unsigned n_tiles, unsigned n_routed) {
    if (n_routed || a->n_rows <= 32) {
        start_few<KIND>(cu, a, n_tiles, n_routed);
        return;
    }
    product_many<KIND>
        <<<dim3(n_tiles / 4, (a->n_rows + MANY_ROWS - 1) / MANY_ROWS), 128, 0, cu->stream>>>(*a);
    RILL_CUDA_STARTED(cu, "product_many");
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
