// SPDX-License-Identifier: MIT
// A mixture of experts, chosen and run on the device alone: the host never learns which experts a
// row takes, so that a pass can be replayed as a graph.
//
// Routes lie row by row, each row's in the order of experts, and a product takes each route's row
// with the part of the weights that is its expert's. Where there are many, they are brought
// together by expert, so that an expert's weights meet all of its rows at once.
#include "backend/cuda/cuda.h"
#include "backend/cuda/values.cuh"

enum { THREADS = 256 };

// What the memory of RILL_ROUTE_BYTES a route, and of a number an expert, is used for.
struct routes : rill__cuda_routes {
    float *weights;      // [n_rows, n_used], as expert_of, in which a row's ascend
    uint32_t *place_of;  // [n] where a route lies when they lie by expert
    uint32_t *route_at;  // [n] the reverse
};

static routes routes_in(const rill__experts *e, bool by_expert) {
    routes r = {};
    r.n = e->n_rows * e->n_used;
    r.n_rows = e->n_rows;
    r.n_experts = e->n_experts;
    r.by_expert = by_expert;
    r.expert_of = (uint32_t *)(void *)e->routes->data;
    r.weights = (float *)(void *)(r.expert_of + r.n);
    r.place_of = r.expert_of + 2 * r.n;
    r.route_at = r.expert_of + 3 * r.n;
    r.first_of = r.expert_of + 4 * r.n;
    return r;
}

// ---- Choosing -----------------------------------------------------------------------------------

// Whether expert j goes before expert i: the greater logit, of equals the first. (No NaN is here.)
static __device__ bool goes_before(const float *logits, uint32_t j, uint32_t i) {
    return logits[j] > logits[i] || (logits[j] == logits[i] && j < i);
}

// Number of experts that go before expert i: those with fewer than n_used are chosen.
static __device__ uint32_t rank_of(const float *logits, uint32_t n, uint32_t i) {
    uint32_t rank = 0;
    for (uint32_t j = 0; j < n; j++) rank += goes_before(logits, j, i);
    return rank;
}

// Experts of one row, a block each, and the softmax of their logits. The counts are quadratic in
// the number of experts, but every thread counts at once and nobody waits for another.
static __global__ void choose(routes out, const float *logits, uint32_t n_experts,
                              uint32_t n_used) {
    extern __shared__ double terms[];                // [n_used] exp(logit - greatest)
    float *all = (float *)(terms + n_used);          // [n_experts] logits
    uint8_t *chosen = (uint8_t *)(all + n_experts);  // [n_experts]
    __shared__ float greatest;
    const float *row = logits + (size_t)blockIdx.x * n_experts;
    size_t first = (size_t)blockIdx.x * n_used;
    for (uint32_t i = threadIdx.x; i < n_experts; i += blockDim.x)
        all[i] = isnan(row[i]) ? -INFINITY : row[i];
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < n_experts; i += blockDim.x) {
        uint32_t rank = rank_of(all, n_experts, i);
        chosen[i] = rank < n_used;
        if (rank == 0) greatest = all[i];
    }
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < n_experts; i += blockDim.x) {
        if (!chosen[i]) continue;
        uint32_t place = 0;
        for (uint32_t j = 0; j < i; j++) place += chosen[j];
        out.expert_of[first + place] = i;
        terms[place] = exp((double)row[i] - greatest);
    }
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < n_used; i += blockDim.x) {
        double sum = 0;
        for (uint32_t j = 0; j < n_used; j++) sum += terms[j];
        out.weights[first + i] = (float)(terms[i] / sum);
    }
}

static void choose_experts(rill__cuda *cu, const rill__experts *e, const routes &r) {
    unsigned threads = (e->n_experts + 31) / 32 * 32;
    if (threads > 1024) threads = 1024;
    size_t shared = e->n_used * sizeof(double) + e->n_experts * (sizeof(float) + 1);
    choose<<<(unsigned)e->n_rows, threads, shared, cu->stream>>>(r, rill__cuda_floats(e->logits),
                                                                 e->n_experts, e->n_used);
    RILL_CUDA_STARTED(cu, "experts: choose");
}

// ---- Bringing together --------------------------------------------------------------------------

// A block an expert counts the routes of those before it, then places its own, in their order.
static __global__ void __launch_bounds__(THREADS) order(routes r) {
    __shared__ uint32_t counts[THREADS / 32], before;
    uint32_t expert = blockIdx.x, warp = threadIdx.x / 32, lane = threadIdx.x % 32, less = 0;
    if (threadIdx.x == 0) before = 0;
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < r.n; i += THREADS) less += r.expert_of[i] < expert;
    atomicAdd(&before, less);
    __syncthreads();
    uint32_t at = before;
    if (threadIdx.x == 0) r.first_of[expert] = at;
    if (threadIdx.x == 0 && expert + 1 == r.n_experts) r.first_of[r.n_experts] = (uint32_t)r.n;
    for (uint32_t i0 = 0; i0 < r.n; i0 += THREADS) {
        uint32_t i = i0 + threadIdx.x;
        bool mine = i < r.n && r.expert_of[i] == expert;
        uint32_t lanes = __ballot_sync(~0u, mine);
        if (lane == 0) counts[warp] = __popc(lanes);
        __syncthreads();
        uint32_t place = at + __popc(lanes & ((1u << lane) - 1));
        for (uint32_t w = 0; w < THREADS / 32; w++) {
            if (w < warp) place += counts[w];
            at += counts[w];
        }
        if (mine) {
            r.place_of[i] = place;
            r.route_at[place] = i;
        }
        __syncthreads();
    }
}

// ---- Rows of routes -----------------------------------------------------------------------------

// Each row as often as it has routes.
static __global__ void gather(routes r, float *out, __half *half, const float *in, uint32_t n_used,
                              size_t width) {
    uint32_t route = r.by_expert ? r.route_at[blockIdx.x] : blockIdx.x;
    size_t to = blockIdx.x * width, from = route / n_used * width;
    size_t at = 4 * ((size_t)blockIdx.y * blockDim.x + threadIdx.x);
    if (at >= width) return;
    rill__cuda_four f = rill__cuda_load4(in + from, at, width);
    rill__cuda_store4(out + to, at, width, f);
    rill__cuda_store4_halves(half ? half + to : nullptr, at, width, f, 1);
}

// out = sum_j weight_j * result_j, in the order of experts, rounded as the CPU rounds.
static __global__ void sum_routes(routes r, float *out, const float *results, uint32_t n_used,
                                  size_t width) {
    size_t row = blockIdx.x, at = 4 * ((size_t)blockIdx.y * blockDim.x + threadIdx.x);
    if (at >= width) return;
    rill__cuda_four sum = {};
    for (size_t route = row * n_used; route < (row + 1) * n_used; route++) {
        size_t place = r.by_expert ? r.place_of[route] : route;
        rill__cuda_four f = rill__cuda_load4(results + place * width, at, width);
        for (int i = 0; i < 4; i++)
            sum.x[i] = __fadd_rn(sum.x[i], __fmul_rn(r.weights[route], f.x[i]));
    }
    rill__cuda_store4(out + row * width, at, width, sum);
}

static unsigned row_pieces(size_t width) {
    return (unsigned)((width + 4 * THREADS - 1) / (4 * THREADS));
}

static void product(rill__cuda *cu, const rill__buffer *in, const rill__weight *weight,
                    const rill__weight *bias, rill__buffer *out, const routes &r, size_t rows) {
    if (cu->exact || !weight->packed)
        rill__cuda_product_routed_exact(cu, in, weight, bias, out, r.expert_of, r.n, rows);
    else
        rill__cuda_product_routed(cu, in, weight, bias, out, r, rows);
}

// Bringing routes together pays once experts have several each.
static bool worth_ordering(const rill__cuda *cu, const rill__experts *e) {
    return !cu->exact && e->gate->packed && e->up->packed && e->down->packed &&
           e->n_rows * e->n_used >= (size_t)2 * e->n_experts;
}

void rill__cuda_experts(rill__backend *be, const rill__experts *e) {
    rill__cuda *cu = rill__cuda_of(be);
    const routes r = routes_in(e, worth_ordering(cu, e));
    choose_experts(cu, e, r);
    if (r.by_expert) {
        order<<<e->n_experts, THREADS, 0, cu->stream>>>(r);
        RILL_CUDA_STARTED(cu, "experts: order");
    }
    gather<<<dim3((unsigned)r.n, row_pieces(e->hidden)), THREADS, 0, cu->stream>>>(
        r, rill__cuda_floats(e->gathered), e->gathered->half, rill__cuda_floats(e->in), e->n_used,
        e->hidden);
    RILL_CUDA_STARTED(cu, "experts: gather");
    rill__cuda_wrote_halves(e->gathered, 1);
    product(cu, e->gathered, e->gate, e->gate_bias, e->gates, r, e->ffn);
    product(cu, e->gathered, e->up, e->up_bias, e->ups, r, e->ffn);
    rill__cuda_activate(be, e->gates, e->gates, e->ups, e->activation, e->limit, r.n, e->ffn);
    product(cu, e->gates, e->down, e->down_bias, e->gathered, r, e->hidden);
    sum_routes<<<dim3((unsigned)e->n_rows, row_pieces(e->hidden)), THREADS, 0, cu->stream>>>(
        r, rill__cuda_floats(e->out), rill__cuda_floats(e->gathered), e->n_used, e->hidden);
    RILL_CUDA_STARTED(cu, "experts: sum");
    rill__cuda_wrote(e->out);
}
