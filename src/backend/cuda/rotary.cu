// SPDX-License-Identifier: MIT
// Rotary positions (RoFormer, Su et al., 2021) in integer phases, and the way of keys and values
// into the cache.
//
// The table is the CPU's: 64-bit integers reduce the angle, double evaluates it. `rotate_store` is
// one kernel, since at one row most of its time is that of a start: a warp takes a head of a row.
#include "backend/cuda/launch.cuh"
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
    fill_table<<<blocks, THREADS, 0, cu->stream>>>(job);
    RILL_CUDA_STARTED(cu, "rotary_table");
}

// ---- Rotating and storing -----------------------------------------------------------------------

enum { WARPS = 4 };  // of a block, a head each

struct rotate_job {
    const float2 *table;  // [n_rows, frames, n_pairs]
    float *q;
    float *q_sink;
    float *q_previous;  // NULL without xPos
    float *k;
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

// Number `column` of a head, rotated by a frame's cosines and sines: the first of a pair becomes
// a cos - b sin, the second b cos + a sin, rounded as the CPU rounds.
static __device__ float rotated(const rotate_job *job, const float *head, const float2 *frame,
                                uint32_t column) {
    uint32_t n = job->n_pairs;
    if (column >= 2 * n) return head[column];
    bool second = job->interleaved ? column % 2 : column >= n;
    uint32_t pair = job->interleaved ? column / 2 : second ? column - n : column;
    uint32_t distance = job->interleaved ? 1 : n;
    float2 turn = frame[pair];
    float own = __fmul_rn(head[column], turn.x);
    if (second) return __fadd_rn(own, __fmul_rn(head[column - distance], turn.y));
    return __fsub_rn(own, __fmul_rn(head[column + distance], turn.y));
}

static __device__ const float2 *frame_of(const rotate_job *job, size_t row, uint32_t frame) {
    return job->table + (row * job->frames + frame) * job->n_pairs;
}

// A query into each of its frames.
static __device__ void rotate_query(const rotate_job *job, const float *head, size_t row,
                                    uint32_t h, uint32_t lane) {
    size_t at = (row * job->n_heads + h) * job->head_dim;
    const float2 *stream = frame_of(job, row, RILL_FRAME_STREAM);
    const float2 *sink = frame_of(job, row, RILL_FRAME_SINK);
    const float2 *previous = frame_of(job, row, RILL_FRAME_PREVIOUS);
    for (uint32_t c = lane; c < job->head_dim; c += 32) {
        job->q[at + c] = rotated(job, head, stream, c);
        job->q_sink[at + c] = rotated(job, head, sink, c);
        if (job->q_previous) job->q_previous[at + c] = rotated(job, head, previous, c);
    }
}

// Where a head's row of a token begins.
static __device__ uint8_t *row_of(const rill__cuda_kv *kv, uint8_t *data, uint32_t row_bytes,
                                  uint32_t h, uint64_t token) {
    size_t rows = (size_t)kv->n_sinks + kv->ring_rows;
    return data + (h * rows + rill__cuda_kv_row(kv, token)) * row_bytes;
}

static __device__ void store_key(const rotate_job *job, const float *head, size_t row, uint32_t h,
                                 uint32_t lane) {
    const rill__cuda_kv *kv = &job->caches[job->run_of[row]];
    uint8_t *to = row_of(kv, kv->keys, kv->key_row_bytes, h, job->rows[row].token);
    bool fades = job->frames == RILL_FRAMES;
    const float2 *frame = frame_of(job, row, fades ? RILL_FRAME_KEY : RILL_FRAME_STREAM);
    float *k = job->k + (row * job->n_kv_heads + h) * job->head_dim;
    for (uint32_t block = 0; 32 * block < job->head_dim; block++) {
        uint32_t c = 32 * block + lane;
        float x = c < job->head_dim ? rotated(job, head, frame, c) : 0;
        if (c < job->head_dim) k[c] = x;
        rill__cuda_store_block(kv->key_type, to, block, lane, job->head_dim, x);
    }
}

static __device__ void store_value(const rotate_job *job, const float *head, size_t row, uint32_t h,
                                   uint32_t lane) {
    const rill__cuda_kv *kv = &job->caches[job->run_of[row]];
    uint8_t *to = row_of(kv, kv->values, kv->value_row_bytes, h, job->rows[row].token);
    for (uint32_t block = 0; 32 * block < job->head_dim; block++) {
        uint32_t c = 32 * block + lane;
        float x = c < job->head_dim ? head[c] : 0;
        rill__cuda_store_block(kv->value_type, to, block, lane, job->head_dim, x);
    }
}

// A warp has a head: the row's queries first, then its keys, then its values. It is read whole
// before any of it is written, for q and k are rotated in place.
static __global__ void rotate_heads(rotate_job job) {
    extern __shared__ float heads[];  // [WARPS, head_dim]
    let_next_begin();
    wait_for_previous();
    uint32_t of_row = job.n_heads + 2 * job.n_kv_heads, lane = threadIdx.x;
    size_t index = (size_t)blockIdx.x * WARPS + threadIdx.y;
    size_t row = index / of_row;
    uint32_t h = (uint32_t)(index % of_row);
    if (row >= job.n_rows) return;
    bool query = h < job.n_heads;
    if (!query) h -= job.n_heads;
    bool key = !query && h < job.n_kv_heads;
    if (!query && !key) h -= job.n_kv_heads;
    const float *x = query ? job.q : key ? job.k : job.v;
    x += (row * (query ? job.n_heads : job.n_kv_heads) + h) * job.head_dim;
    float *head = heads + threadIdx.y * job.head_dim;
    for (uint32_t c = lane; c < job.head_dim; c += 32) head[c] = x[c];
    __syncwarp();
    if (query)
        rotate_query(&job, head, row, h, lane);
    else if (key)
        store_key(&job, head, row, h, lane);
    else
        store_value(&job, head, row, h, lane);
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
    rill__cuda_wrote(k);
}
