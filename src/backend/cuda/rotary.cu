// SPDX-License-Identifier: MIT
// Rotary positions (RoFormer, Su et al., 2021) in integer phases, and the way of keys and values
// into the cache.
//
// The table is the CPU's: 64-bit integers reduce the angle, double evaluates it. `rotate_store` is
// one kernel, since at one row most of its time is that of a start: a warp takes a head of a row.
#include "backend/cuda/launch.cuh"
#include "backend/cuda/rotary.cuh"
#include "backend/cuda/values.cuh"

// ---- Tables -------------------------------------------------------------------------------------

struct table_job {
    float2 *out;  // [n_rows, frames, n_pairs] cosines and sines
    const rill__row *rows;
    const uint32_t *run_of;
    const uint64_t *phase_steps;  // [n_runs, n_pairs]
    const float *magnitudes;      // [n_runs]
    const double *fades;          // [n_runs, n_pairs], NULL: not xPos
    const uint64_t *fade_blocks;  // [n_runs]
    size_t n_rows;
    uint32_t n_pairs;
    uint32_t frames;
};

// Cosine and sine at `position`: position * step wraps modulo one turn, exactly, and is signed,
// half a turn to either side, where a double has the most to say about small angles.
static __device__ float2 rotation(uint64_t position, uint64_t step, double magnitude) {
    double sine, cosine;
    sincospi((double)(int64_t)(position * step) * 0x1p-63, &sine, &cosine);
    return make_float2((float)(cosine * magnitude), (float)(sine * magnitude));
}

// xPos: times zeta^offset, from what is rounded to float, as the CPU does.
static __device__ float2 faded(float2 x, double log_zeta, double offset) {
    double factor = exp(log_zeta * offset);
    return make_float2((float)(x.x * factor), (float)(x.y * factor));
}

// A thread has a pair of a row, in all frames: see rill__rope for what they are.
static __global__ void fill_table(table_job job) {
    let_next_begin();
    wait_for_previous();
    size_t index = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= job.n_rows * job.n_pairs) return;
    size_t row_number = index / job.n_pairs, i = index % job.n_pairs;
    const rill__row *row = &job.rows[row_number];
    uint32_t run = job.run_of[row_number];
    uint64_t step = job.phase_steps[(size_t)run * job.n_pairs + i];
    double magnitude = job.magnitudes[run];
    float2 *out = job.out + row_number * job.frames * job.n_pairs + i;
    uint64_t sink_frame = row->stream_pos - row->token + row->sink_pos;
    float2 stream = rotation(row->stream_pos, step, magnitude);
    float2 sink = rotation(sink_frame, step, magnitude);
    if (job.fades) {
        double log_zeta = job.fades[(size_t)run * job.n_pairs + i];
        double block = (double)job.fade_blocks[run];
        double offset = (double)(row->token % job.fade_blocks[run]) - block / 2;
        out[RILL_FRAME_PREVIOUS * job.n_pairs] = faded(stream, log_zeta, offset + block);
        out[RILL_FRAME_KEY * job.n_pairs] = faded(stream, log_zeta, -offset);
        sink = faded(sink, log_zeta, (double)row->sink_pos - block / 2);
        stream = faded(stream, log_zeta, offset);
    }
    out[RILL_FRAME_SINK * job.n_pairs] = sink;
    out[RILL_FRAME_STREAM * job.n_pairs] = stream;
}

void rill__cuda_rotary_table(rill__backend *be, rill__buffer *out, const rill__row *rows,
                             size_t n_rows, const rill__run *runs, size_t n_runs, bool local) {
    (void)rows;  // the pass's, which the device has
    rill__cuda *cu = rill__cuda_of(be);
    const rill__rope *rope = rill__run_rope(&runs[0], local);
    rill__cuda_wrote(out);
    if (rope->n_pairs == 0) return;  // no positions are rotated
    size_t first = local ? n_runs : 0;
    table_job job = {};
    job.out = (float2 *)(void *)out->data;
    job.rows = cu->step.rows;
    job.run_of = cu->step.run_of;
    job.phase_steps = cu->step.phase_steps + first * rope->n_pairs;
    job.magnitudes = cu->step.magnitudes + first;
    job.fades = rope->fade ? cu->step.fades : nullptr;
    job.fade_blocks = cu->step.fade_blocks;
    job.n_rows = n_rows;
    job.n_pairs = rope->n_pairs;
    job.frames = rill__rope_frames(rope);
    // Few to a block: double takes its time, and one row shall have many processors for it.
    enum { THREADS = 64 };
    unsigned blocks = (unsigned)((n_rows * rope->n_pairs + THREADS - 1) / THREADS);
    rill__cuda_start(cu, "rotary_table", fill_table, blocks, THREADS, 0, job);
}

// ---- Rotating and storing -----------------------------------------------------------------------

enum {
    WARPS = 4,  // of a block, a head each
    BATCH = 4   // pairs that a lane asks for before it turns the first
};

struct rotate_job {
    const float2 *table;  // [n_rows, frames, n_pairs]
    float *q;
    float *q_sink;
    float *q_previous;  // NULL without xPos
    const float *k;
    const float *v;
    const rill__row *rows;
    const uint32_t *run_of;
    const rill__cuda_kv *caches;  // [n_runs] of the layer
    size_t n_rows;
    uint32_t n_heads;
    uint32_t n_kv_heads;
    uint32_t head_dim;
    uint32_t n_pairs;
    uint32_t frames;
    bool interleaved;
};

static __device__ __forceinline__ const float2 *frame_of(const rotate_job &job, size_t row,
                                                         uint32_t frame) {
    return job.table + (row * job.frames + frame) * job.n_pairs;
}

// Columns of a pair.
static __device__ __forceinline__ uint2 columns_of(const rotate_job &job, uint32_t pair) {
    return job.interleaved ? uint2{2 * pair, 2 * pair + 1} : uint2{pair, pair + job.n_pairs};
}

// A query into each of its frames; a lane reads and writes the same numbers of `q`.
static __device__ void rotate_query(const rotate_job &job, size_t row, uint32_t h, uint32_t lane) {
    size_t at = (row * job.n_heads + h) * job.head_dim;
    float *q = job.q + at, *q_sink = job.q_sink + at;
    float *q_previous = job.q_previous ? job.q_previous + at : nullptr;
    const float2 *stream = frame_of(job, row, RILL_FRAME_STREAM);
    const float2 *sink = frame_of(job, row, RILL_FRAME_SINK);
    const float2 *previous = frame_of(job, row, RILL_FRAME_PREVIOUS);
    for (uint32_t first = lane; first < job.n_pairs; first += 32 * BATCH) {
        float2 x[BATCH], turn[3][BATCH];
#pragma unroll
        for (uint32_t i = 0; i < BATCH; i++) {
            uint32_t pair = first + 32 * i;
            if (pair >= job.n_pairs) continue;
            uint2 c = columns_of(job, pair);
            x[i] = {q[c.x], q[c.y]};
            turn[0][i] = stream[pair];
            turn[1][i] = sink[pair];
            if (q_previous) turn[2][i] = previous[pair];
        }
#pragma unroll
        for (uint32_t i = 0; i < BATCH; i++) {
            uint32_t pair = first + 32 * i;
            if (pair >= job.n_pairs) continue;
            uint2 c = columns_of(job, pair);
            float2 y = turned(x[i], turn[0][i]), z = turned(x[i], turn[1][i]);
            q[c.x] = y.x, q[c.y] = y.y;
            q_sink[c.x] = z.x, q_sink[c.y] = z.y;
            if (!q_previous) continue;
            y = turned(x[i], turn[2][i]);
            q_previous[c.x] = y.x, q_previous[c.y] = y.y;
        }
    }
    for (uint32_t c = 2 * job.n_pairs + lane; c < job.head_dim; c += 32) {
        q_sink[c] = q[c];
        if (q_previous) q_previous[c] = q[c];
    }
}

// A key, rotated, to `head`, in shared memory.
static __device__ void rotate_key(const rotate_job &job, const float *k, size_t row, uint32_t lane,
                                  float *head) {
    bool fades = job.frames == RILL_FRAMES;
    const float2 *frame = frame_of(job, row, fades ? RILL_FRAME_KEY : RILL_FRAME_STREAM);
#pragma unroll BATCH
    for (uint32_t pair = lane; pair < job.n_pairs; pair += 32) {
        uint2 c = columns_of(job, pair);
        float2 x = turned({k[c.x], k[c.y]}, frame[pair]);
        head[c.x] = x.x;
        head[c.y] = x.y;
    }
    for (uint32_t c = 2 * job.n_pairs + lane; c < job.head_dim; c += 32) head[c] = k[c];
}

// Where a head's row of a token lies, and how.
struct cache_place {
    uint8_t *row;
    int type;
};

static __device__ cache_place place_of(const rotate_job &job, size_t row, uint32_t h, bool key) {
    const rill__cuda_kv kv = job.caches[job.run_of[row]];
    size_t at =
        h * ((size_t)kv.n_sinks + kv.ring_rows) + rill__cuda_kv_row(&kv, job.rows[row].token);
    if (key) return {kv.keys + at * kv.key_row_bytes, kv.key_type};
    return {kv.values + at * kv.value_row_bytes, kv.value_type};
}

// A warp has a head: the row's queries first, then its keys, then its values.
static __global__ void rotate_heads(rotate_job job) {
    extern __shared__ float heads[];  // [WARPS, head_dim]
    let_next_begin();
    uint32_t of_row = job.n_heads + 2 * job.n_kv_heads, lane = threadIdx.x;
    uint32_t index = blockIdx.x * WARPS + threadIdx.y, h = index % of_row;
    size_t row = index / of_row;
    if (row >= job.n_rows) return;
    if (h < job.n_heads) {
        wait_for_previous();
        rotate_query(job, row, h, lane);
        return;
    }
    h -= job.n_heads;
    bool key = h < job.n_kv_heads;
    if (!key) h -= job.n_kv_heads;
    const cache_place to = place_of(job, row, h, key);
    float *head = heads + threadIdx.y * job.head_dim;
    size_t at = (row * job.n_kv_heads + h) * job.head_dim;
    wait_for_previous();
    if (key) {
        rotate_key(job, job.k + at, row, lane, head);
    } else {
#pragma unroll BATCH
        for (uint32_t c = lane; c < job.head_dim; c += 32) head[c] = job.v[at + c];
    }
    __syncwarp();
    for (uint32_t block = 0; 32 * block < job.head_dim; block++) {
        uint32_t c = 32 * block + lane;
        float x = c < job.head_dim ? head[c] : 0;
        rill__cuda_store_block(to.type, to.row, block, lane, job.head_dim, x);
    }
}

void rill__cuda_rotate_store(rill__backend *be, const rill__buffer *table, rill__buffer *q,
                             rill__buffer *q_sink, rill__buffer *q_previous, rill__buffer *k,
                             const rill__buffer *v, const rill__row *rows, size_t n_rows,
                             const rill__run *runs, size_t n_runs, uint32_t layer, bool local,
                             uint32_t n_heads, uint32_t n_kv_heads, uint32_t head_dim) {
    (void)rows;  // the pass's, which the device has
    rill__cuda *cu = rill__cuda_of(be);
    const rill__rope *rope = rill__run_rope(&runs[0], local);
    rotate_job job = {};
    job.table = (const float2 *)(const void *)table->data;
    job.q = rill__cuda_floats(q);
    job.q_sink = rill__cuda_floats(q_sink);
    job.q_previous = q_previous ? rill__cuda_floats(q_previous) : nullptr;
    job.k = rill__cuda_floats(k);
    job.v = rill__cuda_floats(v);
    job.rows = cu->step.rows;
    job.run_of = cu->step.run_of;
    job.caches = cu->step.caches + layer * n_runs;
    job.n_rows = n_rows;
    job.n_heads = n_heads;
    job.n_kv_heads = n_kv_heads;
    job.head_dim = head_dim;
    job.n_pairs = rope->n_pairs;
    job.frames = rill__rope_frames(rope);
    job.interleaved = rope->interleaved;
    size_t n = n_rows * ((size_t)n_heads + 2 * n_kv_heads);
    rill__cuda_start(cu, "rotate_store", rotate_heads, (unsigned)((n + WARPS - 1) / WARPS),
                     dim3(32, WARPS), WARPS * head_dim * sizeof(float), job);
    rill__cuda_wrote(q);
    rill__cuda_wrote(q_sink);
    if (q_previous) rill__cuda_wrote(q_previous);
}
