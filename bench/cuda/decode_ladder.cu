// SPDX-License-Identifier: MIT
// One token's products, as the layers of a Llama with 7 billion weights have them: a ladder.
//
// v1: a warp has 16 rows of weights, multiplied and added one by one; what others must agree with.
//
// v2, product_few: a block has 16 rows of weights, one wave of short blocks after another.
//
// v3, product_stream: a block a multiprocessor, whose warps have rings that bulk copies keep full.
//
// v4, product_wide: up to 32 rows by wgmma.
//
// A layer is four stages (norm, q, k and v; o, added; norm, gate and up, activated; down, added);
// LAYERS of them and a head, of weights that differ and together exceed the second-level cache by
// far, are one CUDA graph. What is printed is the time of a pass and of each stage by itself, and
// the share of what reading alone reaches (the read roof, measured first).
//
//   decode_ladder [TYPES] [ROWS]      of f16, q8_0, q4_0, q4_K and 1, 2, 8, 16, 32
#include "backend/cuda/burn.cuh"
#include "backend/cuda/product_few.cuh"
#include "backend/cuda/product_stream.cuh"
#include "backend/cuda/product_wide.cuh"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

enum { HIDDEN = 4096, FFN = 11008, VOCABULARY = 32000, LAYERS = 6, MOST_ROWS = 32 };

// Steps with other bits than the first: then the ladder fails.
static int wrong;

static void check(cudaError_t error, const char *what) {
    if (error == cudaSuccess) return;
    fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
    exit(1);
}
bool rill__cuda_failed(rill__cuda *, cudaError_t error, const char *call, const char *, int) {
    check(error, call);
    return false;
}

static uint8_t *take(size_t bytes) {
    void *p;
    check(cudaMalloc(&p, bytes), "cudaMalloc");
    return (uint8_t *)p;
}

// ---- Weights ------------------------------------------------------------------------------------

static __device__ uint32_t hash(uint64_t i) {
    i = (i + 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9;
    i = (i ^ i >> 27) * 0x94d049bb133111eb;
    return (uint32_t)(i >> 32);
}
// A pair of halves within +-most.
static __device__ uint32_t random_halves(size_t i, uint32_t seed, float most) {
    uint32_t h = hash(i + ((uint64_t)seed << 40));
    return as_bits(__floats2half2_rn(((float)(h & 0xffff) / 32768 - 1) * most,
                                     ((float)(h >> 16) / 32768 - 1) * most));
}
static __global__ void fill_halves(uint32_t *out, size_t n, uint32_t seed, float most) {
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n;
         i += (size_t)gridDim.x * blockDim.x)
        out[i] = random_halves(i, seed, most);
}
// Weights within about +-0.02 of rows whose scales are `row_scale`: see pack.h.
template <int KIND> static constexpr float greatest_scale = 1 << 14;
template <int KIND> static float row_scale(uint32_t row) {
    using L = rill__cuda_layout<KIND>;
    float greatest = KIND == RILL_KIND_8 ? 128 : 8;
    return L::half ? 1 : 0.02f / greatest / greatest_scale<KIND> * L::unit(row % 16);
}
template <int KIND> static __global__ void fill_tiles(uint32_t *out, size_t n, uint32_t seed) {
    using L = rill__cuda_layout<KIND>;
    constexpr uint32_t words = L::bytes / 4, scales = L::scales_at / 4;
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n * words;
         i += (size_t)gridDim.x * blockDim.x) {
        float most = L::half ? 0.02f : greatest_scale<KIND>;
        if (!L::half && i % words < scales)
            out[i] = hash(i + ((uint64_t)seed << 40));
        else if (L::min && (i % words - scales) % (2 * L::blocks) >= L::blocks)
            out[i] = random_halves(i, seed, most * 8 / L::unit(0));
        else
            out[i] = random_halves(i, seed, most);
    }
}
static __global__ void fill_floats(float *out, size_t n, uint32_t seed, float middle, float most) {
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n;
         i += (size_t)gridDim.x * blockDim.x)
        out[i] = middle + ((float)hash(i + ((uint64_t)seed << 40)) / 2147483648.0f - 1) * most;
}

static size_t bytes_read;  // of all matrices made

template <int KIND> static rill__cuda_packed matrix(uint32_t rows, uint32_t columns) {
    using L = rill__cuda_layout<KIND>;
    static uint32_t seed;
    rill__cuda_packed p = {};
    p.kind = (rill__cuda_kind)KIND;
    p.rows = rows;
    p.columns = columns;
    p.column_tiles = (columns + RILL_TILE_COLUMNS - 1) / RILL_TILE_COLUMNS;
    size_t tiles = (size_t)(rows + RILL_TILE_ROWS - 1) / RILL_TILE_ROWS * p.column_tiles;
    p.tiles = take(tiles * L::bytes);
    std::vector<float> row_scales(rows);
    for (uint32_t r = 0; r < rows; r++) row_scales[r] = row_scale<KIND>(r);
    p.row_scales = (float *)take((rows + 15) * 4);
    check(cudaMemcpy(p.row_scales, row_scales.data(), rows * 4, cudaMemcpyHostToDevice), "scales");
    fill_tiles<KIND><<<1056, 512>>>((uint32_t *)p.tiles, tiles, ++seed);
    bytes_read += tiles * L::bytes;
    return p;
}

// ---- A pass -------------------------------------------------------------------------------------

enum stage { QKV, O, GATE_UP, DOWN, HEAD, STAGES };
static const char *const stage_names[STAGES] = {"qkv", "o", "gate/up", "down", "head"};

struct model {
    std::vector<rill__cuda_packed> weights[STAGES];  // of qkv and of gate and up, one after another
    size_t bytes[STAGES];                            // of one such stage
    float *norm;
    float *x;  // [MOST_ROWS, HIDDEN] the residual stream
    __half *normed;
    float *qkv;
    __half *attended;
    float *gated;
    __half *gated_half;
    float *logits;
    uint32_t rows;
};

template <int KIND> static void make(model *m) {
    struct {
        stage of;
        uint32_t rows, columns, n;
    } const shapes[] = {{QKV, HIDDEN, HIDDEN, 3},
                        {O, HIDDEN, HIDDEN, 1},
                        {GATE_UP, FFN, HIDDEN, 2},
                        {DOWN, HIDDEN, FFN, 1},
                        {HEAD, VOCABULARY, HIDDEN, 1}};
    for (auto &s : shapes)
        for (uint32_t i = 0; i < (s.of == HEAD ? 2 : LAYERS); i++) {
            size_t before = bytes_read;
            for (uint32_t j = 0; j < s.n; j++)
                m->weights[s.of].push_back(matrix<KIND>(s.rows, s.columns));
            m->bytes[s.of] = bytes_read - before;
        }
    m->norm = (float *)take(HIDDEN * 4);
    fill_floats<<<264, 256>>>(m->norm, HIDDEN, 1000, 1, 0.1f);
    m->x = (float *)take(MOST_ROWS * HIDDEN * 4);
    m->normed = (__half *)take(MOST_ROWS * HIDDEN * 2);
    fill_halves<<<264, 256>>>((uint32_t *)m->normed, MOST_ROWS * HIDDEN / 2, 1001, 1);
    m->attended = (__half *)take(MOST_ROWS * HIDDEN * 2);
    fill_halves<<<264, 256>>>((uint32_t *)m->attended, MOST_ROWS * HIDDEN / 2, 1002, 1);
    m->qkv = (float *)take(MOST_ROWS * HIDDEN * 3 * 4);
    m->gated = (float *)take(MOST_ROWS * FFN * 4);
    m->gated_half = (__half *)take(MOST_ROWS * FFN * 2);
    m->logits = (float *)take(MOST_ROWS * VOCABULARY * 4);
}

template <int KIND> static void free_model(model *m) {
    for (auto &all : m->weights)
        for (auto &w : all) {
            cudaFree(w.tiles);
            cudaFree(w.row_scales);
        }
    for (void *p : {(void *)m->norm, (void *)m->x, (void *)m->normed, (void *)m->attended,
                    (void *)m->qkv, (void *)m->gated, (void *)m->gated_half, (void *)m->logits})
        cudaFree(p);
}

static void add(product_args *a, const rill__cuda_packed &w, float *out) {
    uint32_t i = a->n_matrices++;
    a->weights[i] = w;
    a->out[i] = out;
    a->first_tile[i + 1] = a->first_tile[i] + (w.rows + RILL_TILE_ROWS - 1) / RILL_TILE_ROWS;
}

static product_args stage_args(const model &m, stage s, uint32_t i) {
    product_args a = {};
    a.n_rows = m.rows;
    a.columns = s == DOWN ? FFN : HIDDEN;
    a.inverse = s == DOWN ? 1 / RILL_CUDA_GATED_SCALE : 1;
    a.x = s == DOWN ? m.gated_half : s == O ? m.attended : m.normed;
    if (m.rows == 1 && s != O && s != DOWN) {
        a.normed = m.x;
        a.norm.weight = m.norm;
        a.norm.eps = 1e-5f;
        a.norm.width = HIDDEN;
    }
    if (s == QKV)
        for (uint32_t j = 0; j < 3; j++)
            add(&a, m.weights[s][3 * i + j], m.qkv + (size_t)j * m.rows * HIDDEN);
    if (s == GATE_UP) {
        add(&a, m.weights[s][2 * i], m.gated);
        add(&a, m.weights[s][2 * i + 1], m.gated);
        a.after = AFTER_ACTIVATE;
        a.activation = RILL_ACT_SILU;
        a.half = m.gated_half;
    }
    if (s == O || s == DOWN) {
        add(&a, m.weights[s][i], m.x);
        a.after = AFTER_ADD;
    }
    if (s == HEAD) add(&a, m.weights[s][i], m.logits);
    return a;
}

// ---- v1 -----------------------------------------------------------------------------------------

template <int KIND> static __global__ void product_simple(product_args a) {
    uint32_t lane = threadIdx.x, m = 0, tile = blockIdx.x, x_row = blockIdx.y;
    float sums[2][2] = {};
    for (uint32_t g = 0; g < (a.after == AFTER_ACTIVATE ? 2 : 1); g++) {
        if (a.after == AFTER_ACTIVATE)
            m = g;
        else
            m = matrix_of(a, tile);
        uint32_t row_tile = a.after == AFTER_ACTIVATE ? tile : tile - a.first_tile[m];
        const rill__cuda_packed &w = a.weights[m];
        float scale = 1;
        if (a.normed) {
            float squares = 0;
            for (uint32_t c = 0; c < a.columns; c++) squares += a.normed[c] * a.normed[c];
            scale = 1 / sqrtf(squares / a.columns + a.norm.eps);
        }
        for (uint32_t t = 0; t < w.column_tiles; t++) {
            tile_words<KIND> words;
            load_tile<KIND>(w, (size_t)row_tile * w.column_tiles + t, (int)lane, &words);
            for (int f = 0; f < 4; f++) {
                uint32_t v[4];
                unpack<KIND>(words, f, v);
                for (int j = 0; j < 4; j++)
                    for (int i = 0; i < 2; i++) {
                        uint32_t c = t * 64 + 16 * f + 8 * (j / 2) + 2 * (lane % 4) + i;
                        if (c >= a.columns) continue;
                        float x = a.normed ? __half2float(__float2half_rn(a.normed[c] * scale *
                                                                          a.norm.weight[c]))
                                           : __half2float(a.x[(size_t)x_row * a.columns + c]);
                        float y = i ? __high2float(as_half2(v[j])) : __low2float(as_half2(v[j]));
                        sums[g][j % 2] += x * y;
                    }
            }
        }
    }
    for (auto &s : sums)
        for (float &v : s)
            for (int i = 1; i < 4; i *= 2) v += __shfl_xor_sync(~0u, v, i);
    if (lane % 4) return;
    uint32_t row_tile = a.after == AFTER_ACTIVATE ? tile : tile - a.first_tile[m];
    for (uint32_t j = 0; j < 2; j++) {
        uint32_t row = row_tile * 16 + lane / 4 + 8 * j, rows = a.weights[m].rows;
        if (row >= rows) continue;
        size_t at = (size_t)x_row * rows + row;
        float first = a.after == AFTER_ACTIVATE ? a.weights[0].row_scales[row] : 0;
        if (a.after == AFTER_ACTIVATE) {
            float y = activated(a.activation, finished(sums[0][j], first, a.inverse, nullptr, row),
                                finished(sums[1][j], a.weights[1].row_scales[row], a.inverse,
                                         nullptr, row),
                                a.limit);
            a.out[0][at] = y;
            a.half[at] = __float2half_rn(y * RILL_CUDA_GATED_SCALE);
            continue;
        }
        float y = finished(sums[0][j], a.weights[m].row_scales[row], a.inverse, nullptr, row);
        a.out[m][at] = a.after == AFTER_ADD ? a.out[m][at] + y : y;
    }
}

// ---- Variants -----------------------------------------------------------------------------------

struct variant {
    std::string name;
    int version;
};

template <int KIND> static bool start(rill__cuda *cu, const variant &v, const product_args &a) {
    uint32_t tiles = a.first_tile[a.after == AFTER_ACTIVATE ? 1 : a.n_matrices];
    if (v.version == 1)
        product_simple<KIND><<<dim3(tiles, a.n_rows), 32, 0, cu->stream>>>(a);
    else if (v.version == 2)
        start_few<KIND>(cu, &a, tiles, 0);
    else if (v.version == 4 && a.normed)
        return false;
    else if (v.version == 4)
        a.after == AFTER_ACTIVATE ? start_wide<wide_shape<KIND, 32, 2, 1>>(cu, &a)
                                  : start_wide<wide_shape<KIND, 32, 1, 1>>(cu, &a);
    else
        return a.n_rows <= MOST_STREAM_ROWS && start_stream<KIND>(cu, &a);
    return true;
}

static void reset(const model &m) {
    fill_floats<<<264, 256>>>(m.x, MOST_ROWS * HIDDEN, 1003, 0, 1);
    check(cudaDeviceSynchronize(), "reset");
}

static std::vector<float> results(const model &m) {
    std::vector<float> all;
    auto get = [&](const void *from, size_t n) {
        std::vector<float> part(n);
        check(cudaMemcpy(part.data(), from, n * 4, cudaMemcpyDeviceToHost), "result");
        all.insert(all.end(), part.begin(), part.end());
    };
    get(m.x, (size_t)m.rows * HIDDEN);
    get(m.qkv, (size_t)m.rows * HIDDEN * 3);
    get(m.gated, (size_t)m.rows * FFN);
    get(m.logits, (size_t)m.rows * VOCABULARY);
    return all;
}

template <class Body> static double run_graph(rill__cuda *cu, int runs, Body body) {
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    check(cudaStreamBeginCapture(cu->stream, cudaStreamCaptureModeThreadLocal), "capture");
    body();
    check(cudaStreamEndCapture(cu->stream, &graph), "capture");
    check(cudaGraphInstantiate(&exec, graph, 0), "instantiate");
    cudaEvent_t begin, end;
    cudaEventCreate(&begin);
    cudaEventCreate(&end);
    double best = 1e9;
    for (int i = 0; i < runs; i++) {
        cudaEventRecord(begin, cu->stream);
        check(cudaGraphLaunch(exec, cu->stream), "launch");
        cudaEventRecord(end, cu->stream);
        check(cudaEventSynchronize(end), "run");
        float ms;
        cudaEventElapsedTime(&ms, begin, end);
        if (ms * 1e3 < best) best = ms * 1e3;
    }
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    cudaGraphExecDestroy(exec);
    cudaGraphDestroy(graph);
    return best;
}

static double read_roof(rill__cuda *cu) {
    size_t bytes = (size_t)2 << 30;
    uint8_t *memory = take(bytes);
    double us = run_graph(cu, 8, [&] {
        read_all<<<(unsigned)cu->processors * 4, 512, 0, cu->stream>>>(
            (const uint4 *)memory, bytes / 16, (uint32_t *)memory);
    });
    cudaFree(memory);
    return (double)bytes / us;
}

template <int KIND>
static void compare(rill__cuda *cu, const char *type, uint32_t rows, double roof,
                    const std::vector<variant> &variants) {
    model m = {};
    m.rows = rows;
    make<KIND>(&m);
    std::vector<float> simple, few;
    for (const variant &v : variants) {
        reset(m);
        bool fits = true;
        auto pass = [&](uint32_t layers) {
            for (uint32_t i = 0; i < layers; i++)
                for (stage s : {QKV, O, GATE_UP, DOWN})
                    fits = fits && start<KIND>(cu, v, stage_args(m, s, i));
            fits = fits && start<KIND>(cu, v, stage_args(m, HEAD, 0));
        };
        pass(2);
        check(cudaStreamSynchronize(cu->stream), v.name.c_str());
        if (!fits) {
            printf("%-5s %u rows %-18s does not fit\n", type, rows, v.name.c_str());
            continue;
        }
        std::vector<float> r = results(m);
        if (v.version == 1) {
            simple = r;
            continue;
        }
        size_t differ = 0;
        double error = 0, norm = 0;
        if (few.empty()) few = r;
        for (size_t i = 0; i < r.size(); i++) {
            differ += memcmp(&r[i], &few[i], 4) != 0;
            error += ((double)r[i] - simple[i]) * ((double)r[i] - simple[i]);
            norm += (double)simple[i] * simple[i];
        }
        double us = run_graph(cu, 6, [&] { pass(LAYERS); });
        size_t bytes = m.bytes[HEAD];
        for (stage s : {QKV, O, GATE_UP, DOWN}) bytes += LAYERS * m.bytes[s];
        if (differ) wrong++;
        printf("%-5s %u rows %-18s %s nmse %.1e  pass %7.1f us %5.1f%%", type, rows, v.name.c_str(),
               differ ? "DIFFERS" : "same", error / norm, us, 100 * (double)bytes / us / roof);
        for (int s = 0; s < STAGES; s++) {
            uint32_t n = s == HEAD ? 2 : LAYERS;
            double each = run_graph(cu, 4,
                                    [&] {
                                        for (uint32_t i = 0; i < 2 * n; i++)
                                            start<KIND>(cu, v, stage_args(m, (stage)s, i % n));
                                    }) /
                          (2 * n);
            printf(" | %s %.1f %.0f%%", stage_names[s], each,
                   100 * (double)m.bytes[s] / each / roof);
        }
        printf("\n");
        fflush(stdout);
    }
    free_model<KIND>(&m);
}

int main(int n_arguments, char **arguments) {
    rill__cuda cu = {};
    cudaDeviceProp p;
    check(cudaGetDeviceProperties(&p, 0), "device");
    cu.processors = p.multiProcessorCount;
    cu.architecture = p.major * 10 + p.minor;
    check(cudaStreamCreateWithFlags(&cu.stream, cudaStreamNonBlocking), "stream");
    double roof = read_roof(&cu);
    printf("%s, read roof %.2f TB/s\n", p.name, roof * 1e-6);
    std::vector<variant> all = {{"v1", 1}, {"v2 few", 2}, {"v3 stream", 3}, {"v4 wide", 4}};
    std::string types = n_arguments > 1 ? arguments[1] : "f16 q8_0 q4_0 q4_K";
    std::string numbers = n_arguments > 2 ? arguments[2] : "1 2 8 16 32";
    auto wanted = [&](const char *type) { return types.find(type) != std::string::npos; };
    std::istringstream all_rows(numbers);
    for (uint32_t rows; all_rows >> rows;) {
        if (wanted("f16")) compare<RILL_KIND_HALF>(&cu, "f16", rows, roof, all);
        if (wanted("q8_0")) compare<RILL_KIND_8>(&cu, "q8_0", rows, roof, all);
        if (wanted("q4_0")) compare<RILL_KIND_4>(&cu, "q4_0", rows, roof, all);
        if (wanted("q4_K")) compare<RILL_KIND_4_MIN>(&cu, "q4_K", rows, roof, all);
    }
    return wrong > 0;
}
