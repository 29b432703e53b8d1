// SPDX-License-Identifier: MIT
// Exact attention: sums in double, caches of every type, and weights for who looks at them.
//
// A block has one row and one head, so nothing depends on other rows. It meets the sinks and then
// the recent keys, each of them with a softmax of their own, in chunks of KEYS: with the logits s_j
// of a chunk, m' = max(m, s_j), keep = exp(m - m'), w_j = exp(s_j - m'),
//
//     l = l keep + sum_j w_j,   o = o keep + sum_j w_j v_j,   m = m',
//
// and both are put together as backend.h says: the sinks' share may be capped, and the denominator
// may have further terms. Weights need the denominator first: their logits are made a second time.
// Nothing as long as the window is kept.
#include "backend/cuda/attend.cuh"

enum { THREADS = 256, KEYS = 128, LANES = 8, WARPS = THREADS / 32 };
static_assert(KEYS % 32 == 0 && KEYS <= THREADS, "a thread weighs a key");

// A softmax so far; its sum of values is in shared memory.
struct state {
    double greatest;
    double sum;
};

// What a block works on.
struct piece {
    const rill__row *row;
    rill__cuda_kv kv;
    uint32_t row_number;
    uint32_t head;
    uint32_t kv_head;
    uint64_t own_block;  // xPos: keys of tokens before it meet q_previous
    uint32_t n_slices;   // of a chunk's keys, each added to sums of its own
};

struct memory {
    double *logits;   // [KEYS]
    double *weights;  // [KEYS]
    double *sums;     // [2, n_slices, head_dim]
    float *q;         // [3, head_dim]: sink, stream and previous frame
};

static __device__ float cache_element(const uint8_t *row, int type, uint32_t i) {
    switch (type) {
    case RILL_TYPE_F32: return ((const float *)row)[i];
    case RILL_TYPE_F16: return __half2float(((const __half *)row)[i]);
    case RILL_TYPE_BF16: return __uint_as_float((uint32_t)((const uint16_t *)row)[i] << 16);
    case RILL_TYPE_Q8_0: {
        const uint8_t *b = row + i / 32 * 34;
        return __half2float(*(const __half *)b) * (float)(int8_t)b[2 + i % 32];
    }
    default: {
        const uint8_t *b = row + i / 32 * 18;
        uint32_t codes = b[2 + i % 16], code = i % 32 < 16 ? codes & 15 : codes >> 4;
        return __half2float(*(const __half *)b) * (float)((int)code - 8);
    }
    }
}

// The row of the key at `offset` behind a token that lies in row `first`; what a row sees never
// comes round the ring twice.
static __device__ size_t row_behind(const piece &p, size_t first, uint64_t offset) {
    size_t row = first + offset, end = rows_of_head(p.kv);
    if (row >= end) row -= p.kv.ring_rows;
    return p.kv_head * end + row;
}

// The logit of a token's key in all lanes of an octet, which share its products.
static __device__ double logit_of(const attend_args &a, const piece &p, const memory &m, bool sinks,
                                  uint64_t token, size_t row, uint32_t lane) {
    const uint8_t *key = p.kv.keys + row * p.kv.key_row_bytes;
    const float *q = m.q + (sinks ? 0 : token < p.own_block ? 2 : 1) * a.head_dim;
    double sum = 0;
    for (uint32_t i = lane; i < a.head_dim; i += LANES)
        sum = fma((double)q[i], (double)cache_element(key, p.kv.key_type, i), sum);
    for (int step = LANES / 2; step; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
    double logit = sum * a.scale;
    uint64_t place = sinks ? p.row->sink_pos : p.row->token;
    if (a.alibi) logit -= (double)a.slopes[p.head] * (double)(int64_t)(place - token);
    return sinks ? logit * p.kv.sink_scale : logit;
}

// Logits of the n keys behind token `begin + offset`.
static __device__ void chunk_logits(const attend_args &a, const piece &p, const memory &m,
                                    bool sinks, span seen, size_t first, uint64_t offset,
                                    uint32_t n) {
    uint32_t lane = threadIdx.x % LANES;
    for (uint32_t k = threadIdx.x / LANES; k < KEYS; k += THREADS / LANES) {
        uint64_t at = offset + (k < n ? k : 0);
        double logit = logit_of(a, p, m, sinks, seen.begin + at, row_behind(p, first, at), lane);
        if (lane == 0 && k < n) m.logits[k] = logit;
    }
}

static __device__ double greatest_of(const double *x, uint32_t n) {
    double greatest = -INFINITY;
    for (uint32_t i = threadIdx.x % 32; i < n; i += 32) greatest = fmax(greatest, x[i]);
    for (int step = 16; step; step /= 2)
        greatest = fmax(greatest, __shfl_xor_sync(~0u, greatest, step));
    return greatest;
}

static __device__ double sum_of(const double *x, uint32_t n) {
    double sum = 0;
    for (uint32_t i = threadIdx.x % 32; i < n; i += 32) sum += x[i];
    for (int step = 16; step; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
    return sum;
}

// Values of the n keys behind token `begin + offset` go into the sums.
static __device__ void mix_values(const attend_args &a, const piece &p, const memory &m,
                                  double *sums, size_t first, uint64_t offset, uint32_t n,
                                  double keep) {
    for (uint32_t i = threadIdx.x; i < p.n_slices * a.head_dim; i += THREADS) {
        uint32_t slice = i / a.head_dim, column = i % a.head_dim;
        double sum = sums[i] * keep;
        for (uint32_t k = slice; k < n; k += p.n_slices) {
            const uint8_t *value =
                p.kv.values + row_behind(p, first, offset + k) * p.kv.value_row_bytes;
            sum = fma(m.weights[k], (double)cache_element(value, p.kv.value_type, column), sum);
        }
        sums[i] = sum;
    }
}

static __device__ state meet_keys(const attend_args &a, const piece &p, const memory &m,
                                  bool sinks) {
    span seen = seen_by_row(a.window, *p.row, sinks);
    state s = {-INFINITY, 0};
    if (seen.begin >= seen.end) return s;
    size_t first = rill__cuda_kv_row(&p.kv, seen.begin);
    double *sums = m.sums + (sinks ? 0 : p.n_slices * a.head_dim);
    for (uint64_t offset = 0; offset < seen.end - seen.begin; offset += KEYS) {
        uint64_t left = seen.end - seen.begin - offset;
        uint32_t n = left < KEYS ? (uint32_t)left : KEYS;
        chunk_logits(a, p, m, sinks, seen, first, offset, n);
        __syncthreads();
        double greatest = fmax(s.greatest, greatest_of(m.logits, n));
        if (threadIdx.x < n) m.weights[threadIdx.x] = exp(m.logits[threadIdx.x] - greatest);
        __syncthreads();
        double keep = exp(s.greatest - greatest);
        s = {greatest, s.sum * keep + sum_of(m.weights, n)};
        mix_values(a, p, m, sums, first, offset, n, keep);
    }
    __syncthreads();
    return s;
}

// What the sums of values are multiplied by.
struct shares {
    double greatest;  // logits relative to it
    double sinks;
    double recent;
};

// One softmax over both: backend.h, `attend`.
static __device__ shares share(const attend_args &a, const piece &p, state sinks, state recent) {
    double greatest = fmax(sinks.greatest, recent.greatest);
    if (a.off_by_one) greatest = fmax(greatest, 0.0);
    if (a.sink_logits) greatest = fmax(greatest, (double)a.sink_logits[p.head]);
    double mass = sinks.sum * exp(sinks.greatest - greatest);
    double rest = recent.sum * exp(recent.greatest - greatest), cap = p.kv.sink_cap;
    if (a.off_by_one) rest += exp(-greatest);
    if (a.sink_logits) rest += exp((double)a.sink_logits[p.head] - greatest);
    double factor = 1;
    if (mass > cap * (mass + rest) && rest > 0) factor = cap * rest / ((1 - cap) * mass);
    double inverse = 1 / (mass * factor + rest);
    return {greatest, factor * inverse, inverse};
}

static __device__ void write_out(const attend_args &a, const piece &p, const memory &m,
                                 double of_sinks, double of_recent) {
    uint32_t dim = a.head_dim;
    size_t at = ((size_t)p.row_number * a.n_heads + p.head) * dim;
    for (uint32_t i = threadIdx.x; i < dim; i += THREADS) {
        double sinks = 0, recent = 0;
        for (uint32_t s = 0; s < p.n_slices; s++) {
            sinks += m.sums[s * dim + i];
            recent += m.sums[(p.n_slices + s) * dim + i];
        }
        float x = (float)(sinks * of_sinks + recent * of_recent);
        a.out[at + i] = x;
        if (a.half) a.half[at + i] = __float2half_rn(x);
    }
}

// The weights of the visible tokens, in their order; zeros for those that the layer's own window
// hides.
static __device__ void write_weights(const attend_args &a, const piece &p, const memory &m,
                                     bool sinks, double greatest, double share) {
    float *out = a.weights + ((size_t)p.row_number * a.n_heads + p.head) * a.weights_stride;
    span seen = seen_by_row(a.window, *p.row, sinks);
    uint64_t visible = sinks ? 0 : p.row->first_recent;
    if (seen.end <= visible) return;
    if (!sinks) out += p.row->n_sinks;
    for (uint64_t t = visible + threadIdx.x; t < seen.begin; t += THREADS) out[t - visible] = 0;
    uint64_t n = seen.end - seen.begin;
    if (!n) return;
    size_t first = rill__cuda_kv_row(&p.kv, seen.begin);
    uint32_t lane = threadIdx.x % LANES;
    // All lanes of a warp go round as often: logit_of shuffles.
    for (uint64_t base = 0; base < n; base += THREADS / LANES) {
        uint64_t k = base + threadIdx.x / LANES, at = k < n ? k : 0;
        double logit = logit_of(a, p, m, sinks, seen.begin + at, row_behind(p, first, at), lane);
        if (lane == 0 && k < n)
            out[seen.begin - visible + k] = (float)(exp(logit - greatest) * share);
    }
}

static __device__ void load_query(const attend_args &a, const piece &p, const memory &m) {
    size_t at = ((size_t)p.row_number * a.n_heads + p.head) * a.head_dim;
    for (uint32_t i = threadIdx.x; i < a.head_dim; i += THREADS) {
        m.q[i] = a.q_sink[at + i];
        m.q[a.head_dim + i] = a.q[at + i];
        if (a.q_previous) m.q[2 * a.head_dim + i] = a.q_previous[at + i];
    }
    for (uint32_t i = threadIdx.x; i < 2 * p.n_slices * a.head_dim; i += THREADS) m.sums[i] = 0;
    __syncthreads();
}

static uint32_t slices_of(uint32_t head_dim) {
    return head_dim < THREADS ? THREADS / head_dim : 1;
}

static size_t memory_bytes(uint32_t head_dim) {
    return (2 * KEYS + 2 * (size_t)slices_of(head_dim) * head_dim) * sizeof(double) +
           3 * head_dim * sizeof(float);
}

static __global__ void __launch_bounds__(THREADS)
    attend_exact_kernel(const __grid_constant__ attend_args a, uint32_t first_row,
                        uint32_t n_slices) {
    extern __shared__ double shared[];
    uint32_t row = first_row + blockIdx.x, head = blockIdx.y, run = a.run_of[row];
    const piece p = {a.rows + row, a.caches[run],  row,
                     head,         head / a.group, own_fade_block(a, run, a.rows[row].token),
                     n_slices};
    const memory m = {shared, shared + KEYS, shared + 2 * KEYS,
                      (float *)(shared + 2 * KEYS + 2 * n_slices * a.head_dim)};
    load_query(a, p, m);
    state sinks = meet_keys(a, p, m, true), recent = meet_keys(a, p, m, false);
    shares of = share(a, p, sinks, recent);
    write_out(a, p, m, of.sinks * exp(sinks.greatest - of.greatest),
              of.recent * exp(recent.greatest - of.greatest));
    if (!a.weights) return;
    write_weights(a, p, m, true, of.greatest, of.sinks);
    write_weights(a, p, m, false, of.greatest, of.recent);
}

void rill__cuda_attend_exact(rill__cuda *cu, const attend_args &args, size_t first_row,
                             size_t n_rows) {
    dim3 grid((unsigned)n_rows, args.n_heads);
    attend_exact_kernel<<<grid, THREADS, memory_bytes(args.head_dim), cu->stream>>>(
        args, (uint32_t)first_row, slices_of(args.head_dim));
    RILL_CUDA_STARTED(cu, "attend_exact");
}
