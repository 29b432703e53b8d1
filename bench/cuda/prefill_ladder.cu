// SPDX-License-Identifier: MIT
// Products of many rows (prefill), step by step: TFLOP/s at the shapes of a layer of Llama-7B, each
// compared bit for bit with the first, and with the card's roof in the same run.
//
//   v1  product_many: mma.sync, 64 x 64 numbers a block, what GPUs without wgmma have.
//   v2  wgmma, 128 x 128 numbers a block, rows of x by cp.async, one __syncthreads for 64 columns:
//       both warpgroups unpack at the same time, and the tensor cores wait for them.
//   v3  product_wide without clusters: copies by warps of their own, barriers that tell what is
//       full and empty, 128 x 192 numbers, two fragments taken while two are in work, blocks that
//       go from piece to piece.
//   v4  the same with two blocks that bring each other half of the rows of x.
//   Shapes for fewer rows, or to fill the device to the end: 176, 128 or 64 rows of x; and 64 rows
//   of weights a block ("by 64"), two such blocks a multiprocessor. src chooses (product_wide.cu):
//   the step "src" is what it takes.
//
//   prefill_ladder [ROWS ...]       2048 and 512 rows if none is said
#include "backend/cuda/burn.cuh"
#include "backend/cuda/product_many.cuh"
#include "backend/cuda/product_wide.cuh"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

bool rill__cuda_failed(rill__cuda *, cudaError_t error, const char *call, const char *, int line) {
    if (error == cudaSuccess) return false;
    printf("%s: %s (line %d)\n", call, cudaGetErrorString(error), line);
    exit(1);
}

// Steps with other bits than the first: then the ladder fails.
static int wrong;

// ---- v2 -----------------------------------------------------------------------------------------

enum { STEP_ROWS = 128, STEP_STAGES = 4, STEP_THREADS = 256 };
static constexpr size_t step_stage_bytes = STEP_ROWS * RILL_TILE_COLUMNS * sizeof(__half);
static constexpr size_t step_shared_bytes = STEP_STAGES * step_stage_bytes + 1024;

#ifdef RILL_WGMMA
// Pieces of 16 bytes go where the 128-byte swizzle has them.
static __device__ __forceinline__ void fetch_steps(const product_args &a, uint32_t row0, uint32_t t,
                                                   uint32_t stages) {
    uint32_t to = stages + t % STEP_STAGES * (uint32_t)step_stage_bytes;
#pragma unroll
    for (uint32_t n = 0; n < STEP_ROWS * 8 / STEP_THREADS; n++) {
        uint32_t i = threadIdx.x + n * STEP_THREADS, r = i / 8, piece = i % 8;
        uint32_t row = row0 + r, column = t * RILL_TILE_COLUMNS + piece * 8;
        bool inside = row < a.n_rows && column < a.columns;
        const __half *from = inside ? a.x + (size_t)row * a.columns + column : a.x;
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                         to + r * 128 + ((piece ^ (r % 8)) * 16)),
                     "l"(from), "r"(inside ? 16 : 0));
    }
}

static __device__ __forceinline__ void add_segment(float (&total)[64], const float (&sum)[64]) {
#pragma unroll
    for (int i = 0; i < 64; i++) total[i] = __fadd_rn(total[i], sum[i]);
}
#endif

template <int KIND>
static __global__ void __launch_bounds__(STEP_THREADS, 1)
    product_steps(const __grid_constant__ product_args a) {
#ifdef RILL_WGMMA
    extern __shared__ uint8_t shared[];
    uint32_t stages = ((uint32_t)__cvta_generic_to_shared(shared) + 1023) & ~1023u;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    uint32_t m = matrix_of(a, MATRIX_TILES * blockIdx.y), row0 = blockIdx.x * STEP_ROWS;
    const rill__cuda_packed &w = a.weights[m];
    uint32_t tile = MATRIX_TILES * blockIdx.y - a.first_tile[m] + warp, n_tiles = w.column_tiles;
    bool inside = tile * RILL_TILE_ROWS < w.rows;
    size_t at = (size_t)tile * n_tiles;
    tile_words<KIND> next = {};
    if (inside) load_tile<KIND>(w, at, lane, &next);
    let_next_begin();
    wait_for_previous();
    for (uint32_t t = 0; t < STEP_STAGES - 1; t++) {
        if (t < n_tiles) fetch_steps(a, row0, t, stages);
        asm volatile("cp.async.commit_group;");
    }
    float total[64] = {}, sum[64] = {};
    for (uint32_t t = 0; t < n_tiles; t++) {
        uint32_t v[4][4];
#pragma unroll
        for (int f = 0; f < 4; f++) unpack<KIND>(next, f, v[f]);
        if (t + 1 < n_tiles && inside) load_tile<KIND>(w, at + t + 1, lane, &next);
        asm volatile("cp.async.wait_group %0;" ::"n"(STEP_STAGES - 2));
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
        __syncthreads();  // stage t is there, and nobody reads stage t - 1 any more
        if (t + STEP_STAGES - 1 < n_tiles) fetch_steps(a, row0, t + STEP_STAGES - 1, stages);
        asm volatile("cp.async.commit_group;");
        uint32_t stage = stages + t % STEP_STAGES * (uint32_t)step_stage_bytes;
        wgmma_fence();
#pragma unroll
        for (int f = 0; f < 4; f++)
            wgmma(sum, v[f], swizzled_rows(stage).at(32 * f), f > 0 || t % SEGMENT_TILES > 0);
        wgmma_commit();
        wgmma_wait<0>();  // the other warpgroup's products go on meanwhile
        if (t % SEGMENT_TILES == SEGMENT_TILES - 1 || t + 1 == n_tiles) add_segment(total, sum);
    }
#pragma unroll
    for (int i = 0; i < 64; i++) {
        uint32_t row = tile * RILL_TILE_ROWS + lane / 4 + 8 * (i % 4 / 2);
        uint32_t x_row = row0 + 8 * (i / 4) + 2 * (lane % 4) + i % 2;
        if (row < w.rows && x_row < a.n_rows)
            a.out[m][(size_t)x_row * w.rows + row] =
                finished(total[i], w.row_scales[row], a.inverse, a.bias[m], row);
    }
#endif
}

// ---- What is measured ---------------------------------------------------------------------------

static __global__ void fill(uint32_t *to, size_t n, bool halves) {
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    uint32_t z = (uint32_t)i * 0x9e3779b1u;
    z = (z ^ z >> 15) * 0x85ebca6bu;
    z = (z ^ z >> 13) * 0xc2b2ae35u;
    z ^= z >> 16;
    // Halves of either sign, from 1/32 to 1/2.
    to[i] = halves ? (z & 0x83ff83ffu) + 0x28002800u + (z >> 4 & 0x0c000c00u) : z;
}

static uint32_t *filled(rill__cuda *cu, size_t bytes, bool halves) {
    uint32_t *p;
    RILL_CUDA_TRY(cu, cudaMalloc(&p, bytes + 16));
    fill<<<(unsigned)(bytes / 1024 + 1), 256, 0, cu->stream>>>(p, bytes / 4, halves);
    RILL_CUDA_STARTED(cu, "fill");
    return p;
}

static __global__ void differ(const uint32_t *a, const uint32_t *b, size_t n, unsigned *count) {
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n;
         i += (size_t)gridDim.x * blockDim.x)
        if (a[i] != b[i]) atomicAdd(count, 1);
}

static __global__ void ones(float *to, size_t n) {
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) to[i] = 1.0f + (float)(i % 7);
}

struct matrix {
    const char *name;
    uint32_t rows;
    uint32_t columns;
};

template <int KIND>
static product_args arguments(rill__cuda *cu, const matrix &m, uint32_t n_rows) {
    using L = rill__cuda_layout<KIND>;
    size_t row_tiles = (m.rows + 15) / 16, tiles = row_tiles * ((m.columns + 63) / 64);
    product_args a = {};
    rill__cuda_packed &w = a.weights[0];
    w.kind = (rill__cuda_kind)KIND;
    w.rows = m.rows;
    w.columns = m.columns;
    w.column_tiles = (m.columns + 63) / 64;
    // Halves of moderate size: as codes they are as good as any bits.
    w.tiles = (uint8_t *)filled(cu, tiles * L::bytes, true);
    RILL_CUDA_TRY(cu, cudaMalloc(&w.row_scales, row_tiles * 64));
    ones<<<(unsigned)(row_tiles / 16 + 1), 256, 0, cu->stream>>>(w.row_scales, row_tiles * 16);
    a.x = (const __half *)filled(cu, (size_t)n_rows * m.columns * 2, true);
    a.n_rows = n_rows;
    a.columns = m.columns;
    a.inverse = 0.5f;
    a.n_matrices = 1;
    a.first_tile[1] = (uint32_t)((row_tiles + 7) / 8 * 8);
    RILL_CUDA_TRY(cu, cudaMalloc(&a.out[0], (size_t)n_rows * m.rows * sizeof(float)));
    return a;
}

static void free_arguments(const product_args &a) {
    const void *all[] = {a.x, a.out[0], a.weights[0].tiles, a.weights[0].row_scales};
    for (const void *p : all) cudaFree((void *)p);
}

template <int KIND> static void start_many(rill__cuda *cu, const product_args *a) {
    rill__cuda_start(cu, "v1", product_many<KIND>,
                     dim3(a->first_tile[1] / 4, (a->n_rows + MANY_ROWS - 1) / MANY_ROWS), 128, 0,
                     *a);
}
template <int KIND> static void start_steps(rill__cuda *cu, const product_args *a) {
    RILL_CUDA_TRY(cu, cudaFuncSetAttribute((const void *)product_steps<KIND>,
                                           cudaFuncAttributeMaxDynamicSharedMemorySize,
                                           (int)step_shared_bytes));
    rill__cuda_start(cu, "v2", product_steps<KIND>,
                     dim3((a->n_rows + STEP_ROWS - 1) / STEP_ROWS, a->first_tile[1] / MATRIX_TILES),
                     STEP_THREADS, step_shared_bytes, *a);
}

// The median of some runs, each with nothing of the matrix in the second-level cache.
static double seconds(rill__cuda *cu, void (*start)(rill__cuda *, const product_args *),
                      const product_args *a, uint8_t *flush, size_t flush_bytes, int n) {
    cudaEvent_t begin, end;
    RILL_CUDA_TRY(cu, cudaEventCreate(&begin));
    RILL_CUDA_TRY(cu, cudaEventCreate(&end));
    std::vector<float> ms((size_t)n);
    for (float &t : ms) {
        RILL_CUDA_TRY(cu, cudaMemsetAsync(flush, 1, flush_bytes, cu->stream));
        RILL_CUDA_TRY(cu, cudaEventRecord(begin, cu->stream));
        start(cu, a);
        RILL_CUDA_TRY(cu, cudaEventRecord(end, cu->stream));
        RILL_CUDA_TRY(cu, cudaEventSynchronize(end));
        RILL_CUDA_TRY(cu, cudaEventElapsedTime(&t, begin, end));
    }
    std::sort(ms.begin(), ms.end());
    return ms[(size_t)n / 2] * 1e-3;
}

// ---- The roof -----------------------------------------------------------------------------------

static double roof(rill__cuda *cu) {
    float *out;
    RILL_CUDA_TRY(cu, cudaMalloc(&out, 4));
    const int rounds = 20000;
    cudaEvent_t begin, end;
    RILL_CUDA_TRY(cu, cudaEventCreate(&begin));
    RILL_CUDA_TRY(cu, cudaEventCreate(&end));
    float best = 1e9f;
    for (int i = 0; i < 5; i++) {
        RILL_CUDA_TRY(cu, cudaEventRecord(begin, cu->stream));
        burn_wgmma<<<cu->processors, 256, WGMMA_BYTES + 1024, cu->stream>>>(out, rounds);
        RILL_CUDA_TRY(cu, cudaEventRecord(end, cu->stream));
        RILL_CUDA_TRY(cu, cudaEventSynchronize(end));
        float ms = 0;
        RILL_CUDA_TRY(cu, cudaEventElapsedTime(&ms, begin, end));
        best = std::min(best, ms);
    }
    cudaFree(out);
    return burnt_by_wgmma(cu->processors, rounds) / (best * 1e-3);
}

// ---- The ladder ---------------------------------------------------------------------------------

struct step {
    const char *name;
    void (*start)(rill__cuda *, const product_args *);
};

template <int KIND>
static void climb(rill__cuda *cu, const char *type, uint32_t n_rows, double roof_flops) {
    static const matrix matrices[] = {
        {"qkv", 12288, 4096}, {"o", 4096, 4096}, {"gate, up", 22016, 4096}, {"down", 4096, 11008}};
    const step steps[] = {{"v1", start_many<KIND>},
                          {"v2", start_steps<KIND>},
                          {"v3", start_wide<wide_shape<KIND, 192, 2, 1>>},
                          {"v4", start_wide<wide_shape<KIND, 192, 2, 2>>},
                          {"v4, 176 rows", start_wide<wide_shape<KIND, 176, 2, 2>>},
                          {"v4, 128 rows", start_wide<wide_shape<KIND, 128, 2, 2>>},
                          {"v4, 64 rows", start_wide<wide_shape<KIND, 64, 2, 2>>},
                          {"v3, 128 by 64", start_wide<wide_shape<KIND, 128, 1, 1>>},
                          {"v3, 64 by 64", start_wide<wide_shape<KIND, 64, 1, 1>>},
                          {"src", rill__cuda_product_wide}};
    const size_t flush_bytes = 128 << 20;
    uint8_t *flush;
    unsigned *count;
    RILL_CUDA_TRY(cu, cudaMalloc(&flush, flush_bytes));
    RILL_CUDA_TRY(cu, cudaMallocManaged(&count, sizeof *count));
    for (const matrix &m : matrices) {
        product_args a = arguments<KIND>(cu, m, n_rows);
        size_t n = (size_t)n_rows * m.rows;
        float *right, *out = a.out[0];
        RILL_CUDA_TRY(cu, cudaMalloc(&right, n * sizeof *right));
        a.out[0] = right;
        start_many<KIND>(cu, &a);
        a.out[0] = out;
        RILL_CUDA_TRY(cu, cudaStreamSynchronize(cu->stream));
        for (const step &s : steps) {
            *count = 0;
            RILL_CUDA_TRY(cu, cudaMemsetAsync(out, 0xff, n * sizeof *out, cu->stream));
            s.start(cu, &a);
            differ<<<256, 256, 0, cu->stream>>>((uint32_t *)right, (uint32_t *)out, n, count);
            RILL_CUDA_TRY(cu, cudaStreamSynchronize(cu->stream));
            double t = seconds(cu, s.start, &a, flush, flush_bytes, 5);
            double flops = 2.0 * n_rows * m.rows * m.columns / t;
            printf("%-5s %5u rows  %-9s %-18s %8.1f us  %6.1f TFLOP/s  %4.1f%% of the roof  %s\n",
                   type, n_rows, m.name, s.name, t * 1e6, flops * 1e-12, 100 * flops / roof_flops,
                   *count ? "DIFFERS" : "same bits");
            if (*count) wrong++;
            fflush(stdout);
        }
        cudaFree(right);
        free_arguments(a);
    }
    cudaFree(flush);
    cudaFree(count);
}

int main(int argc, char **argv) {
    rill__cuda cu = {};
    cudaDeviceProp p;
    RILL_CUDA_TRY(&cu, cudaGetDeviceProperties(&p, 0));
    cu.processors = p.multiProcessorCount;
    cu.architecture = 10 * p.major + p.minor;
    RILL_CUDA_TRY(&cu, cudaStreamCreate(&cu.stream));
    double flops = roof(&cu);
    printf("%s, %d multiprocessors: wgmma %.1f TFLOP/s\n", p.name, cu.processors, flops * 1e-12);
    std::vector<uint32_t> rows = {2048, 512};
    if (argc > 1) rows.clear();
    for (int i = 1; i < argc; i++) rows.push_back((uint32_t)atoi(argv[i]));
    for (uint32_t n : rows) {
        climb<RILL_KIND_HALF>(&cu, "f16", n, flops);
        climb<RILL_KIND_8>(&cu, "q8_0", n, flops);
        climb<RILL_KIND_4>(&cu, "q4_0", n, flops);
        climb<RILL_KIND_4_MIN>(&cu, "q4_K", n, flops);
    }
    return wrong > 0;
}
