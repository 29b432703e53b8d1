// SPDX-License-Identifier: MIT
// Attention of a token on a GPU, from the plainest kernel to the backend's own.
//
//     v1  a block of threads has a row and a head and walks all keys it sees; sums in double. It is
//         the reference that the others are compared with.
//     v2  src/backend/cuda/attend*.cu: parts of the keys by blocks of threads, on tensor cores
//     v3  attend_step.cu: a row of each stream by clusters of blocks, rotate_store with it
//
// and v2 with what comes before it in a layer, `rotate_store`, whose bits v3 must have. A rung is a
// CUDA graph of as many layers as hold 256 MB or more of keys and values, so that none is found in
// the L2 cache; a line says how long one layer takes, the share of the read roof of the same run,
// how far the results are from v1's, and a sum over the results' bits: it stays as it is while the
// order of sums does. With many rows of a stream at once the line says Tflop/s.
//
//     attention_ladder [NAME [v1]]   shapes that have NAME in theirs; v1's time, too
#include "backend/cuda/host.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

struct shape {
    const char *name;
    uint32_t heads, kv_heads, dim, sinks, window;
    rill_type type;
    uint32_t streams, rows;  // rows of a stream
};

static const shape SHAPES[] = {
    {"7B f16 4+252", 32, 32, 128, 4, 252, RILL_TYPE_F16, 1, 1},
    {"7B f16 4+1020", 32, 32, 128, 4, 1020, RILL_TYPE_F16, 1, 1},
    {"7B f16 4+2044", 32, 32, 128, 4, 2044, RILL_TYPE_F16, 1, 1},
    {"7B f16 4+4092", 32, 32, 128, 4, 4092, RILL_TYPE_F16, 1, 1},
    {"7B bf16 4+2044", 32, 32, 128, 4, 2044, RILL_TYPE_BF16, 1, 1},
    {"7B q8_0 4+252", 32, 32, 128, 4, 252, RILL_TYPE_Q8_0, 1, 1},
    {"7B q8_0 4+2044", 32, 32, 128, 4, 2044, RILL_TYPE_Q8_0, 1, 1},
    {"7B q8_0 4+4092", 32, 32, 128, 4, 4092, RILL_TYPE_Q8_0, 1, 1},
    {"7B q4_0 4+2044", 32, 32, 128, 4, 2044, RILL_TYPE_Q4_0, 1, 1},
    {"7B q4_0 4+4092", 32, 32, 128, 4, 4092, RILL_TYPE_Q4_0, 1, 1},
    {"8B f16 4+2044", 32, 8, 128, 4, 2044, RILL_TYPE_F16, 1, 1},
    {"8B q8_0 4+2044", 32, 8, 128, 4, 2044, RILL_TYPE_Q8_0, 1, 1},
    {"8B f16 4+8188", 32, 8, 128, 4, 8188, RILL_TYPE_F16, 1, 1},
    {"1B f16 4+2044", 32, 8, 64, 4, 2044, RILL_TYPE_F16, 1, 1},
    {"1B q8_0 4+2044", 32, 8, 64, 4, 2044, RILL_TYPE_Q8_0, 1, 1},
    {"1B q4_0 4+2044", 32, 8, 64, 4, 2044, RILL_TYPE_Q4_0, 1, 1},
    {"7B f16 8 x 4+1020", 32, 32, 128, 4, 1020, RILL_TYPE_F16, 8, 1},
    {"7B f16 64 x 4+1020", 32, 32, 128, 4, 1020, RILL_TYPE_F16, 64, 1},
    {"7B f16 32 x 4+1020", 32, 32, 128, 4, 1020, RILL_TYPE_F16, 32, 1},
    {"7B q8_0 8 x 4+1020", 32, 32, 128, 4, 1020, RILL_TYPE_Q8_0, 8, 1},
    {"7B q8_0 64 x 4+1020", 32, 32, 128, 4, 1020, RILL_TYPE_Q8_0, 64, 1},
    {"8B f16 192 x 4+1020", 32, 8, 128, 4, 1020, RILL_TYPE_F16, 192, 1},
    {"7B f16 4+2044, 8 rows", 32, 32, 128, 4, 2044, RILL_TYPE_F16, 1, 8},
    {"7B f16 4+2044, 512 rows", 32, 32, 128, 4, 2044, RILL_TYPE_F16, 1, 512},
    {"7B f16 4+2044, 2048 rows", 32, 32, 128, 4, 2044, RILL_TYPE_F16, 1, 2048},
    {"8B f16 4+2044, 512 rows", 32, 8, 128, 4, 2044, RILL_TYPE_F16, 1, 512},
    {"7B q8_0 4+2044, 512 rows", 32, 32, 128, 4, 2044, RILL_TYPE_Q8_0, 1, 512},
    {"1B f16 4+2044, 512 rows", 32, 8, 64, 4, 2044, RILL_TYPE_F16, 1, 512},
    {"1B bf16 4+2044, 512 rows", 32, 8, 64, 4, 2044, RILL_TYPE_BF16, 1, 512},
    {"7B q4_0 4+2044, 512 rows", 32, 32, 128, 4, 2044, RILL_TYPE_Q4_0, 1, 512},
};

static void check(cudaError_t error, const char *what) {
    if (error == cudaSuccess) return;
    fprintf(stderr, "attention_ladder: %s: %s\n", what, cudaGetErrorString(error));
    exit(1);
}

// ---- What the backend's files ask of backend.cu -------------------------------------------------

bool rill__cuda_failed(rill__cuda *, cudaError_t error, const char *call, const char *, int) {
    check(error, call);
    return false;
}

static void *device_memory(size_t bytes) {
    void *p = nullptr;
    check(cudaMalloc(&p, bytes), "memory");
    check(cudaMemset(p, 0, bytes), "memory");
    return p;
}

rill_status rill__cuda_take(rill__cuda *, size_t bytes, const char *, const char *, void **out,
                            rill_error *) {
    *out = device_memory(bytes);
    return RILL_OK;
}

static rill_status synchronize(rill__backend *, rill_error *) {
    check(cudaDeviceSynchronize(), "synchronize");
    return RILL_OK;
}

// Results that are not what they must be: then the ladder fails.
static int wrong;

// ---- A world of layers, streams and random numbers ----------------------------------------------

static __device__ uint32_t scrambled(uint64_t i) {
    i = (i + 1) * 0x9e3779b97f4a7c15u;
    i = (i ^ i >> 30) * 0xbf58476d1ce4e5b9u;
    return (uint32_t)(i >> 32);
}

static __global__ void fill_floats(float *out, size_t n, uint64_t seed) {
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n;
         i += (size_t)gridDim.x * blockDim.x)
        out[i] = (float)scrambled(seed + i) * 0x1p-31f - 1;
}

// Blocks of a cache: numbers between -1 and 1.
static __global__ void fill_cache(uint16_t *out, size_t words, int type, uint64_t seed) {
    uint32_t block = type == RILL_TYPE_Q8_0 ? 17 : type == RILL_TYPE_Q4_0 ? 9 : 0;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < words;
         i += (size_t)gridDim.x * blockDim.x) {
        uint32_t random = scrambled(seed + i);
        float x = (float)random * 0x1p-31f - 1;
        if (block && i % block)
            out[i] = (uint16_t)random;
        else if (block)
            out[i] = __half_as_ushort(__float2half(x * (block == 17 ? 1.0f / 127 : 1.0f / 8)));
        else if (type == RILL_TYPE_F16)
            out[i] = __half_as_ushort(__float2half(x));
        else
            out[i] = (uint16_t)(__float_as_uint(x) >> 16);
    }
}

static size_t row_bytes(const shape &s) {
    size_t blocks = (s.dim + 31) / 32;
    return s.type == RILL_TYPE_Q8_0   ? blocks * 34
           : s.type == RILL_TYPE_Q4_0 ? blocks * 18
                                      : s.dim * 2;
}

struct world {
    rill__cuda cu;
    shape s;
    uint32_t layers;
    size_t cache_bytes;  // of a layer, seen by rows
    std::vector<rill__row> rows;
    std::vector<rill__kv> kv;  // [streams, layers]
    std::vector<rill__run> runs;
    std::vector<rill__buffer> caches;  // [streams, layers, 2]
    std::vector<uint64_t> steps;
    rill__rope rope;
    rill__buffer table, q, q_sink, k, v, out;
    std::vector<void *> memory;
};

static void *take(world &w, size_t bytes) {
    w.memory.push_back(device_memory(bytes));
    return w.memory.back();
}

template <class T> static T *send(world &w, const std::vector<T> &x) {
    T *p = (T *)take(w, x.size() * sizeof(T));
    check(cudaMemcpy(p, x.data(), x.size() * sizeof(T), cudaMemcpyHostToDevice), "copy");
    return p;
}

static rill__buffer floats(world &w, size_t n, uint64_t seed) {
    rill__buffer b = {};
    b.bytes = n * sizeof(float);
    b.data = (uint8_t *)take(w, b.bytes);
    fill_floats<<<256, 256>>>((float *)(void *)b.data, n, seed);
    return b;
}

static void make_streams(world &w) {
    const shape &s = w.s;
    size_t ring = s.window + s.rows - 1, bytes = row_bytes(s) * s.kv_heads * (s.sinks + ring);
    w.caches.resize((size_t)s.streams * w.layers * 2);
    w.kv.resize((size_t)s.streams * w.layers);
    for (size_t i = 0; i < w.caches.size(); i++) {
        w.caches[i].data = (uint8_t *)take(w, bytes);
        w.caches[i].bytes = bytes;
        fill_cache<<<256, 256>>>((uint16_t *)(void *)w.caches[i].data, bytes / 2, s.type, i << 32);
    }
    for (size_t i = 0; i < w.kv.size(); i++) {
        rill__kv kv = {};
        kv.keys = &w.caches[2 * i];
        kv.values = &w.caches[2 * i + 1];
        kv.key_type = kv.value_type = s.type;
        kv.key_row_bytes = kv.value_row_bytes = row_bytes(s);
        kv.n_sinks = s.sinks;
        kv.ring_rows = (uint32_t)ring;
        kv.sink_scale = kv.sink_cap = 1;
        w.kv[i] = kv;
    }
    for (uint32_t i = 0; i < s.streams; i++) {
        uint64_t first = 1000003 + 97 * (uint64_t)i;
        w.runs.push_back({w.rows.size(), s.rows, &w.kv[(size_t)i * w.layers], &w.rope, nullptr});
        for (uint64_t t = first; t < first + s.rows; t++)
            w.rows.push_back({s.sinks, t, t + 1 - s.window, t, s.sinks + s.window - 1});
    }
}

static void send_step(world &w) {
    std::vector<rill__cuda_kv> caches;
    std::vector<rill__cuda_run> runs;
    std::vector<uint32_t> run_of;
    for (uint32_t layer = 0; layer < w.layers; layer++)
        for (const rill__run &run : w.runs) {
            const rill__kv &kv = run.kv[layer];
            caches.push_back({kv.keys->data, kv.values->data, kv.key_type, kv.value_type,
                              (uint32_t)kv.key_row_bytes, (uint32_t)kv.value_row_bytes, kv.n_sinks,
                              kv.ring_rows, kv.sink_scale, kv.sink_cap});
        }
    for (size_t i = 0; i < w.runs.size(); i++) {
        runs.push_back({(uint32_t)w.runs[i].first_row, (uint32_t)w.runs[i].n_rows});
        run_of.insert(run_of.end(), w.runs[i].n_rows, (uint32_t)i);
    }
    rill__cuda_step &step = w.cu.step;
    step.rows = send(w, w.rows);
    step.runs = send(w, runs);
    step.run_of = send(w, run_of);
    step.caches = send(w, caches);
    std::vector<uint64_t> steps;
    for (uint32_t i = 0; i < w.s.streams; i++)
        steps.insert(steps.end(), w.steps.begin(), w.steps.end());
    step.phase_steps = send(w, steps);
    step.magnitudes = send(w, std::vector<float>(w.runs.size(), 1.0f));
    step.fade_blocks = send(w, std::vector<uint64_t>(w.runs.size(), 0));
}

static void make_world(world &w, const shape &s) {
    w.s = s;
    size_t visible = s.sinks + s.window + s.rows - 1;
    w.cache_bytes = 2 * row_bytes(s) * s.kv_heads * visible * s.streams;
    w.layers = (uint32_t)std::min<size_t>(64, std::max<size_t>(4, (256 << 20) / w.cache_bytes));
    for (uint32_t i = 0; i < s.dim / 2; i++)
        w.steps.push_back((uint64_t)(pow(10000, -2.0 * i / s.dim) / 6.283185307 * 0x1p64));
    w.rope = {s.dim / 2, false, w.steps.data(), 1, nullptr, 0};
    make_streams(w);
    send_step(w);
    size_t rows = w.rows.size(), width = (size_t)s.heads * s.dim;
    w.table = floats(w, rows * 2 * s.dim, 1);
    w.q = floats(w, rows * width, 2);
    w.q_sink = floats(w, rows * width, 3);
    w.k = floats(w, rows * s.kv_heads * s.dim, 4);
    w.v = floats(w, rows * s.kv_heads * s.dim, 5);
    w.out = floats(w, rows * width, 6);
    w.out.half = (__half *)take(w, rows * width * 2);
    w.cu.max_rows = rows;
    w.cu.max_visible = s.sinks + s.window;
    w.cu.max_width = width;
    w.cu.attend_scratch =
        (uint8_t *)take(w, rill__cuda_attend_scratch_bytes(rows, w.cu.max_visible, width));
    check(cudaDeviceSynchronize(), "filling");
}

// ---- Rungs --------------------------------------------------------------------------------------

static rill__attention attention(world &w, uint32_t layer) {
    rill__attention a = {};
    a.q = &w.q;
    a.q_sink = &w.q_sink;
    a.out = &w.out;
    a.rows = w.rows.data();
    a.runs = w.runs.data();
    a.n_rows = w.rows.size();
    a.n_runs = w.runs.size();
    a.layer = layer;
    a.n_heads = w.s.heads;
    a.n_kv_heads = w.s.kv_heads;
    a.head_dim = w.s.dim;
    a.scale = 1 / sqrtf((float)w.s.dim);
    return a;
}

static void attend(world &w, uint32_t layer) {
    rill__attention a = attention(w, layer);
    rill__cuda_attend(&w.cu.base, &a);
}

static void rotate(world &w, uint32_t layer) {
    rill__cuda_rotate_store(&w.cu.base, &w.table, &w.q, &w.q_sink, nullptr, &w.k, &w.v,
                            w.rows.data(), w.rows.size(), w.runs.data(), w.runs.size(), layer,
                            false, w.s.heads, w.s.kv_heads, w.s.dim);
}

// v3, or false where it is not for the shape.
static bool step(world &w, uint32_t layer) {
    rill__attention a = attention(w, layer);
    a.table = &w.table;
    a.k = &w.k;
    a.v = &w.v;
    return rill__cuda_attend_step(&w.cu.base, &a);
}

static __device__ float number(const uint8_t *row, int type, uint32_t i) {
    if (type == RILL_TYPE_F16) return __half2float(((const __half *)row)[i]);
    if (type == RILL_TYPE_BF16) return __uint_as_float((uint32_t)((const uint16_t *)row)[i] << 16);
    const uint8_t *b = row + i / 32 * (type == RILL_TYPE_Q8_0 ? 34 : 18);
    uint32_t j = i % 32, code = b[2 + j % 16];
    int q = type == RILL_TYPE_Q8_0 ? (int8_t)b[2 + j] : (int)(j < 16 ? code & 15 : code >> 4) - 8;
    return __half2float(*(const __half *)b) * (float)q;
}

struct plain_job {
    const float *q, *q_sink;
    float *out;
    const rill__row *rows;
    const uint32_t *run_of;
    const rill__cuda_kv *caches;
    uint32_t heads, group, dim;
    float scale;
};

// v1: a thread has a key, and then a column.
static __global__ void plain(plain_job j) {
    extern __shared__ float weights[];
    __shared__ double total;
    uint32_t row = blockIdx.x, head = blockIdx.y;
    const rill__row r = j.rows[row];
    const rill__cuda_kv kv = j.caches[j.run_of[row]];
    uint32_t n = r.n_sinks + (uint32_t)(r.token + 1 - r.first_recent);
    size_t first = (size_t)(head / j.group) * (kv.n_sinks + kv.ring_rows);
    auto row_of = [&](uint32_t i) {
        uint64_t token = i < r.n_sinks ? i : r.first_recent + i - r.n_sinks;
        return first + rill__cuda_kv_row(&kv, token);
    };
    for (uint32_t i = threadIdx.x; i < n; i += blockDim.x) {
        const float *q = (i < r.n_sinks ? j.q_sink : j.q) + ((size_t)row * j.heads + head) * j.dim;
        const uint8_t *key = kv.keys + row_of(i) * kv.key_row_bytes;
        double sum = 0;
        for (uint32_t c = 0; c < j.dim; c++) sum += (double)q[c] * number(key, kv.key_type, c);
        weights[i] = (float)exp(sum * j.scale);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        total = 0;
        for (uint32_t i = 0; i < n; i++) total += weights[i];
    }
    __syncthreads();
    for (uint32_t c = threadIdx.x; c < j.dim; c += blockDim.x) {
        double sum = 0;
        for (uint32_t i = 0; i < n; i++)
            sum += (double)weights[i] *
                   number(kv.values + row_of(i) * kv.value_row_bytes, kv.value_type, c);
        j.out[((size_t)row * j.heads + head) * j.dim + c] = (float)(sum / total);
    }
}

static void attend_plainly(world &w, uint32_t layer) {
    const rill__cuda_step &step = w.cu.step;
    plain_job j = {(float *)w.q.data,
                   (float *)w.q_sink.data,
                   (float *)w.out.data,
                   step.rows,
                   step.run_of,
                   step.caches + layer * w.runs.size(),
                   w.s.heads,
                   w.s.heads / w.s.kv_heads,
                   w.s.dim,
                   1 / sqrtf((float)w.s.dim)};
    dim3 grid((unsigned)w.rows.size(), w.s.heads);
    plain<<<grid, 256, (w.s.sinks + w.s.window) * sizeof(float), w.cu.stream>>>(j);
    check(cudaGetLastError(), "v1");
}

static std::vector<float> results(world &w) {
    std::vector<float> x(w.out.bytes / sizeof(float));
    check(cudaDeviceSynchronize(), "results");
    check(cudaMemcpy(x.data(), w.out.data, w.out.bytes, cudaMemcpyDeviceToHost), "copy");
    return x;
}

// Microseconds of a layer: the median of some runs of a graph of all layers.
template <class Layer> static double measure(world &w, Layer layer) {
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    cudaEvent_t begin, end;
    check(cudaEventCreate(&begin), "event");
    check(cudaEventCreate(&end), "event");
    check(cudaStreamBeginCapture(w.cu.stream, cudaStreamCaptureModeThreadLocal), "capture");
    for (uint32_t i = 0; i < w.layers; i++) layer(i);
    check(cudaStreamEndCapture(w.cu.stream, &graph), "capture");
    check(cudaGraphInstantiate(&exec, graph, 0), "graph");
    std::vector<float> times;
    for (int run = 0; run < 12; run++) {
        float ms;
        check(cudaEventRecord(begin, w.cu.stream), "event");
        check(cudaGraphLaunch(exec, w.cu.stream), "graph");
        check(cudaEventRecord(end, w.cu.stream), "event");
        check(cudaEventSynchronize(end), "run");
        check(cudaEventElapsedTime(&ms, begin, end), "event");
        if (run >= 3) times.push_back(ms * 1e3f / (float)w.layers);
    }
    std::sort(times.begin(), times.end());
    cudaGraphExecDestroy(exec);
    cudaGraphDestroy(graph);
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    return times[times.size() / 2];
}

static void say(const world &w, const char *rung, double us, const rill_roof &roof) {
    printf("  %-26s %9.2f us", rung, us);
    double flops = 4.0 * w.s.dim * w.s.heads * (w.s.sinks + w.s.window) * (double)w.rows.size();
    if (w.s.rows > 16)
        printf("  %6.0f Tflop/s\n", flops / us * 1e-6);
    else
        printf("  %5.1f%% of the read roof\n",
               100 * (double)w.cache_bytes / us * 1e6 / roof.read_bytes_per_second);
}

// What v3 makes of the same queries, keys and values as v2 behind rotate_store, bit for bit, in the
// cache, too. Without v3: true.
static bool same_bits(world &w) {
    size_t q_floats = w.q.bytes / sizeof(float), bytes = w.caches[0].bytes;
    std::vector<uint8_t> caches[2][2];
    std::vector<float> out[2];
    for (int way = 0; way < 2; way++) {
        for (int i = 0; i < 2; i++)
            fill_cache<<<256, 256>>>((uint16_t *)(void *)w.caches[i].data, bytes / 2, w.s.type, i);
        fill_floats<<<256, 256>>>((float *)(void *)w.q.data, q_floats, 2);
        fill_floats<<<256, 256>>>((float *)(void *)w.k.data, w.k.bytes / sizeof(float), 4);
        fill_floats<<<256, 256>>>((float *)(void *)w.out.data, q_floats, 6);
        check(cudaDeviceSynchronize(), "filling");
        if (way && !step(w, 0)) return true;
        if (!way) rotate(w, 0), attend(w, 0);
        out[way] = results(w);
        for (int i = 0; i < 2; i++) {
            caches[way][i].resize(bytes);
            check(cudaMemcpy(caches[way][i].data(), w.caches[i].data, bytes,
                             cudaMemcpyDeviceToHost),
                  "copy");
        }
    }
    return !memcmp(out[0].data(), out[1].data(), w.out.bytes) && caches[0][0] == caches[1][0] &&
           caches[0][1] == caches[1][1];
}

static void climb(const shape &s, const rill_roof &roof, rill__cuda cu, bool slow) {
    world w = {};
    w.cu = cu;
    make_world(w, s);
    printf("%s: %.1f MB a layer, %.2f us at the roof\n", s.name, (double)w.cache_bytes * 1e-6,
           (double)w.cache_bytes / roof.read_bytes_per_second * 1e6);
    attend_plainly(w, 0);
    std::vector<float> expected = results(w);
    attend(w, 0);
    std::vector<float> got = results(w);
    double off = 0;
    uint64_t bits = 14695981039346656037u;
    for (size_t i = 0; i < got.size(); i++) {
        uint32_t word;
        memcpy(&word, &got[i], sizeof word);
        bits = (bits ^ word) * 1099511628211u;
        off = std::max(off, std::fabs((double)got[i] - expected[i]));
        if (std::isnan(got[i])) off = INFINITY;
    }
    printf("  off by %.1e at most; bits %016llx%s\n", off, (unsigned long long)bits,
           off < 2e-3 ? "" : "  WRONG");
    wrong += !(off < 2e-3);
    if (slow) say(w, "v1", measure(w, [&](uint32_t i) { attend_plainly(w, i); }), roof);
    rill__cuda_rotary_table(&w.cu.base, &w.table, nullptr, w.rows.size(), w.runs.data(),
                            w.runs.size(), false);
    say(w, "v2", measure(w, [&](uint32_t i) { attend(w, i); }), roof);
    say(w, "v2 behind rotate_store",
        measure(w,
                [&](uint32_t i) {
                    rotate(w, i);
                    attend(w, i);
                }),
        roof);
    printf("  %-26s %9.2f us\n", "rotate_store alone",
           measure(w, [&](uint32_t i) { rotate(w, i); }));
    if (step(w, 0)) say(w, "v3", measure(w, [&](uint32_t i) { step(w, i); }), roof);
    bool same = same_bits(w);
    if (!same) printf("  v3 has other bits  WRONG\n");
    wrong += !same;
    fflush(stdout);
    for (void *p : w.memory) cudaFree(p);
}

int main(int argc, char **argv) {
    rill__backend_ops ops = {};
    ops.synchronize = synchronize;
    rill__cuda cu = {};
    cu.base.ops = &ops;
    cudaDeviceProp card;
    check(cudaGetDeviceProperties(&card, 0), "no GPU");
    cu.processors = card.multiProcessorCount;
    cu.architecture = card.major * 10 + card.minor;
    cu.shared_bytes = card.sharedMemPerMultiprocessor;
    check(cudaStreamCreateWithFlags(&cu.stream, cudaStreamNonBlocking), "stream");
    rill_roof roof;
    rill_error err;
    rill__cuda_measure(&cu.base, &roof, &err);
    printf("%s: %.2f TB/s, %.0f Tflop/s\n", card.name, roof.read_bytes_per_second * 1e-12,
           roof.bf16_flops_per_second * 1e-12);
    for (const shape &s : SHAPES)
        if (argc < 2 || strstr(s.name, argv[1])) climb(s, roof, cu, argc > 2);
    return wrong > 0;
}
