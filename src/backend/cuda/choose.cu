// SPDX-License-Identifier: MIT
// Choosing a token from logits where they are: what stream/sampler.c does, a block a row.
//
// Weights are summed as whole numbers (units of 2^-40 of the greatest), so that a sum does not
// depend on its order and many threads may add it up. The host's sums are of floats: a draw that
// falls within 2^-40 of the border between two tokens may go the other way there.
#include "backend/cuda/launch.cuh"

#include <cmath>

enum { THREADS = 1024 };

// Which way tokens are walked: likeliest first, of equals the smaller id; or by id.
enum walk { LIKELIEST_FIRST, BY_ID };

// What tokens together are.
struct tally {
    unsigned long long mass;
    uint32_t n;
};

// Of all threads of the block, for all of them.
static __device__ tally sum_block(tally t) {
    __shared__ tally warps[THREADS / 32];
    for (int step = 16; step; step /= 2) {
        t.mass += __shfl_xor_sync(~0u, t.mass, step);
        t.n += __shfl_xor_sync(~0u, t.n, step);
    }
    __syncthreads();
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = t;
    __syncthreads();
    t = warps[threadIdx.x % 32];
    for (int step = 16; step; step /= 2) {
        t.mass += __shfl_xor_sync(~0u, t.mass, step);
        t.n += __shfl_xor_sync(~0u, t.n, step);
    }
    return t;
}

static __device__ unsigned long long greatest_of_block(unsigned long long key) {
    __shared__ unsigned long long warps[THREADS / 32];
    for (int step = 16; step; step /= 2) key = max(key, __shfl_xor_sync(~0u, key, step));
    __syncthreads();
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = key;
    __syncthreads();
    key = warps[threadIdx.x % 32];
    for (int step = 16; step; step /= 2) key = max(key, __shfl_xor_sync(~0u, key, step));
    return key;
}

// Keys order tokens: no two are alike, and the first to be walked has the greatest.
template <walk WALK>
static __device__ __forceinline__ unsigned long long key_of(float value, uint32_t id) {
    if (WALK == BY_ID) return ~id;
    uint32_t bits = __float_as_uint(value);
    bits ^= bits >> 31 ? ~0u : 1u << 31;
    return (unsigned long long)bits << 32 | (uint32_t)~id;
}
static __device__ __forceinline__ uint32_t id_of(unsigned long long key) {
    return ~(uint32_t)key;
}

static __device__ __forceinline__ unsigned long long mass_of(float weight) {
    return __float2ull_rz(weight * 0x1.0p40f);
}

// A row of logits, which become weights.
struct row {
    float *values;
    uint32_t n;
    unsigned long long floor;  // key, likeliest first, of the last token that is left
};

template <walk WALK>
static __device__ tally tally_between(const row &r, unsigned long long low,
                                      unsigned long long high) {
    tally t = {0, 0};
#pragma unroll 4
    for (uint32_t i = threadIdx.x; i < r.n; i += THREADS) {
        float w = r.values[i];
        unsigned long long key = key_of<WALK>(w, i);
        bool in = key >= low && key < high && key_of<LIKELIEST_FIRST>(w, i) >= r.floor;
        if (in) t.mass += mass_of(w);
        t.n += in;
    }
    return sum_block(t);
}

// Whole numbers up to where tokens are walked to, in mass or in number.
struct goal {
    unsigned long long target;
    bool by_number;
};

static __device__ __forceinline__ unsigned long long measure(const goal &g, const tally &t) {
    return g.by_number ? t.n : t.mass;
}

// Tokens between two keys, few enough to look at each pair.
struct shortlist {
    unsigned long long keys[THREADS];
    unsigned long long masses[THREADS];
    uint32_t n;
    unsigned long long reached;
};

template <walk WALK>
static __device__ unsigned long long reach_in_list(shortlist &list, const row &r,
                                                   unsigned long long low, unsigned long long high,
                                                   unsigned long long above, const goal &g) {
    __syncthreads();
    if (threadIdx.x == 0) list.n = 0;
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < r.n; i += THREADS) {
        float w = r.values[i];
        unsigned long long key = key_of<WALK>(w, i);
        if (key < low || key >= high || key_of<LIKELIEST_FIRST>(w, i) < r.floor) continue;
        uint32_t at = atomicAdd(&list.n, 1u);
        list.keys[at] = key;
        list.masses[at] = g.by_number ? 1 : mass_of(w);
    }
    __syncthreads();
    if (threadIdx.x < list.n) {
        unsigned long long mine = list.keys[threadIdx.x], before = above;
        for (uint32_t i = 0; i < list.n; i++)
            if (list.keys[i] > mine) before += list.masses[i];
        if (before < g.target && g.target <= before + list.masses[threadIdx.x]) list.reached = mine;
    }
    __syncthreads();
    return list.reached;
}

// The key of the token at which the walk reaches the target, all of `total` at most: halves what
// lies between two keys until it is a short list.
template <walk WALK>
static __device__ unsigned long long reach(shortlist &list, const row &r, goal g,
                                           const tally &total) {
    unsigned long long low = WALK == BY_ID ? 0 : r.floor, above = 0;
    unsigned long long high = WALK == BY_ID ? 1ull << 32 : key_of<LIKELIEST_FIRST>(1, 0) + 1;
    g.target = max(1ull, min(g.target, measure(g, total)));
    for (uint32_t n = total.n; n > THREADS;) {
        unsigned long long middle = low + (high - low) / 2;
        tally t = tally_between<WALK>(r, middle, high);
        if (above + measure(g, t) >= g.target) {
            low = middle;
            n = t.n;
        } else {
            high = middle;
            above += measure(g, t);
            n -= t.n;
        }
    }
    return reach_in_list<WALK>(list, r, low, high, above, g);
}

// Keeps the logits, and what is no number becomes -inf among them; returns the thread's greatest
// key. Several are read at once: what is stored might be what is read next, for all that the
// compiler knows.
static __device__ unsigned long long keep(const row &r, float *kept) {
    enum { AT_ONCE = 8 };
    unsigned long long greatest = 0;
    for (uint32_t first = threadIdx.x; first < r.n; first += AT_ONCE * THREADS) {
        float x[AT_ONCE];
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++)
            x[j] = first + j * THREADS < r.n ? r.values[first + j * THREADS] : 0;
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++) {
            uint32_t i = first + j * THREADS;
            if (i >= r.n) break;
            kept[i] = x[j];
            if (!(x[j] < INFINITY)) r.values[i] = x[j] = -INFINITY;
            greatest = max(greatest, key_of<LIKELIEST_FIRST>(x[j], i));
        }
    }
    return greatest;
}

// Adjusts the logits; returns the thread's greatest key.
static __device__ unsigned long long adjust(const row &r, const rill__cuda_choice &c,
                                            const rill__adjustment *own) {
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < c.n_biases; i += THREADS)
        r.values[own[i].token] = __fadd_rn(r.values[own[i].token], own[i].bias);
    __syncthreads();
    for (uint32_t i = c.n_biases + threadIdx.x; i < c.n_adjustments; i += THREADS) {
        float x = r.values[own[i].token];
        x = x > 0 ? __fdiv_rn(x, own[i].repetition) : __fmul_rn(x, own[i].repetition);
        r.values[own[i].token] = __fsub_rn(x, own[i].charge);
    }
    __syncthreads();
    unsigned long long greatest = 0;
#pragma unroll 8
    for (uint32_t i = threadIdx.x; i < r.n; i += THREADS)
        greatest = max(greatest, key_of<LIKELIEST_FIRST>(r.values[i], i));
    return greatest;
}

// Drops all but the likeliest: at most top_k, no more than reach top_p of the mass, none below
// min_p of the best, which weighs 1. Returns what is left.
static __device__ tally keep_likeliest(shortlist &list, row *r, const rill__cuda_choice &c,
                                       tally left) {
    if (c.top_k && c.top_k < left.n) {
        r->floor = reach<LIKELIEST_FIRST>(list, *r, goal{c.top_k, true}, left);
        left = tally_between<LIKELIEST_FIRST>(*r, 0, ~0ull);
    }
    unsigned long long share = __double2ull_ru((double)c.top_p * (double)left.mass);
    // Past the largest id: the key of the least weight that stays, whoever has it.
    unsigned long long least = key_of<LIKELIEST_FIRST>(fmaxf(c.min_p, 0x1.0p-149f), ~0u);
    r->floor = max(r->floor, least);
    left = tally_between<LIKELIEST_FIRST>(*r, 0, ~0ull);
    r->floor = reach<LIKELIEST_FIRST>(list, *r, goal{share, false}, left);
    return tally_between<LIKELIEST_FIRST>(*r, 0, ~0ull);
}

static __device__ uint32_t draw(row *r, const rill__cuda_choice &c, float greatest) {
    __shared__ shortlist list;
    for (uint32_t i = threadIdx.x; i < r->n; i += THREADS)
        r->values[i] =
            (float)exp(((double)r->values[i] - (double)greatest) / (double)c.temperature);
    __syncthreads();
    tally left = tally_between<LIKELIEST_FIRST>(*r, 0, ~0ull);
    bool all = c.top_k == 0 && c.top_p >= 1 && c.min_p == 0;
    if (!all) left = keep_likeliest(list, r, c, left);
    unsigned long long drawn = __double2ull_rz(c.draw * (double)left.mass);
    if (all) return id_of(reach<BY_ID>(list, *r, goal{drawn + 1, false}, left));
    // The least likely first, so that the target is counted from the other end.
    return id_of(reach<LIKELIEST_FIRST>(list, *r, goal{left.mass - drawn, false}, left));
}

static __global__ void __launch_bounds__(THREADS)
    choose_rows(float *logits, uint32_t vocab_size, const rill__cuda_choice *choices,
                const rill__adjustment *adjustments, rill_token *tokens) {
    const rill__cuda_choice c = choices[blockIdx.x];
    wait_for_previous();
    if (!c.kept) {
        if (threadIdx.x == 0) tokens[blockIdx.x] = -1;
        return;
    }
    row r = {logits + (size_t)blockIdx.x * vocab_size, vocab_size, 0};
    unsigned long long key = keep(r, c.kept);
    if (c.n_adjustments) key = adjust(r, c, adjustments + c.first_adjustment);
    uint32_t best = id_of(greatest_of_block(key));
    float greatest = r.values[best];
    bool finite = isfinite(greatest);
    __syncthreads();
    if (finite && c.temperature > 0) best = draw(&r, c, greatest);
    if (threadIdx.x == 0) tokens[blockIdx.x] = finite ? (rill_token)best : -1;
}

void rill__cuda_choose(rill__backend *be, rill__buffer *logits, const rill__choice *const *choices,
                       size_t n_rows, size_t vocab_size) {
    rill__cuda *cu = rill__cuda_of(be);
    cu->first_choice = (size_t)(choices - cu->pass->choices);
    cu->n_choices = n_rows;
    rill__cuda_start(cu, "choose_rows", choose_rows, dim3((unsigned)n_rows), dim3(THREADS), 0,
                     rill__cuda_floats(logits), (uint32_t)vocab_size,
                     cu->step.choices + cu->first_choice, cu->step.adjustments, cu->chosen);
    rill__cuda_wrote(logits);
}
