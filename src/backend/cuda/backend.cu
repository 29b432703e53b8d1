// SPDX-License-Identifier: MIT
// The CUDA backend: its device, memory, weights, errors, and its table of operations. How a pass
// comes to the device and is replayed is in pass.cu.
#include "backend/cuda/host.h"
#include "backend/cuda/wgmma.cuh"

extern "C" {
#include "backend/cuda_library.h"
}

#include <cstdio>
#include <cstdlib>
#include <cstring>

enum { LOGITS_ROWS = 256, CHUNK_ROWS = 4096 };

bool rill__cuda_failed(rill__cuda *cu, cudaError_t error, const char *call, const char *file,
                       int line) {
    if (error == cudaSuccess) return false;
    cudaGetLastError();                      // told here: the next call's success is its own
    if (cu->failed != RILL_OK) return true;  // the first one tells why the others followed
    const char *name = strrchr(file, '/');
    bool memory = error == cudaErrorMemoryAllocation;
    cu->failed = rill__fail(&cu->failure, memory ? RILL_ENOMEM : RILL_EDEVICE,
                            "cuda:%d: %s: %s (%s, line %d of %s)", cu->device, call,
                            cudaGetErrorString(error), cudaGetErrorName(error), line,
                            name ? name + 1 : file);
    return true;
}

// Hands the kept failure over, once.
static rill_status take_failure(rill__cuda *cu, rill_error *err) {
    rill_status status = cu->failed;
    if (status != RILL_OK && err) *err = cu->failure;
    cu->failed = RILL_OK;
    return status;
}

// Any thread of the program may come: a device is current for a thread.
static void use(rill__cuda *cu) {
    RILL_CUDA_TRY(cu, cudaSetDevice(cu->device));
}

// The stream is one pass's at a time: what else comes while kernels are being recorded waits.
static void lock(rill__cuda *cu) {
    pthread_mutex_lock(&cu->host->lock);
    use(cu);
}

static void unlock(rill__cuda *cu) {
    pthread_mutex_unlock(&cu->host->lock);
}

static rill_status no_memory(rill__cuda *cu, rill_error *err, const char *what, const char *fits,
                             size_t bytes) {
    size_t available = 0, total = 0;
    cudaGetLastError();  // clears it: this failure is told here
    cudaMemGetInfo(&available, &total);
    return rill__fail(err, RILL_ENOMEM,
                      "cuda:%d: %s of %zu MiB: %zu of the card's %zu MiB are free; %s fit",
                      cu->device, what, bytes >> 20, available >> 20, total >> 20, fits);
}

rill_status rill__cuda_take(rill__cuda *cu, size_t bytes, const char *what, const char *fits,
                            void **out, rill_error *err) {
    // In steps that the card gives it in anyway: rows are read 16 bytes at a time, and the last
    // ones of a cache need not end at a multiple of that.
    bytes = (bytes / 256 + 1) * 256;
    lock(cu);
    *out = nullptr;
    rill_status status = RILL_OK;
    cudaError_t error = cudaMalloc(out, bytes);
    if (error == cudaErrorMemoryAllocation)
        status = no_memory(cu, err, what, fits, bytes);
    else if (!rill__cuda_failed(cu, error, what, __FILE__, __LINE__) &&
             !RILL_CUDA_TRY(cu, cudaMemsetAsync(*out, 0, bytes, cu->stream)))
        RILL_CUDA_TRY(cu, cudaStreamSynchronize(cu->stream));
    if (status == RILL_OK) status = take_failure(cu, err);
    if (status != RILL_OK) {
        cudaFree(*out);
        *out = nullptr;
    }
    unlock(cu);
    return status;
}

static void cuda_close(rill__backend *be) {
    rill__cuda *cu = rill__cuda_of(be);
    if (cudaSetDevice(cu->device) != cudaSuccess) cudaGetLastError();
    if (cu->stream) cudaStreamSynchronize(cu->stream);
    rill__cuda_pass_close(cu);
    cudaFree(cu->attend_scratch);
    cudaFreeHost(cu->chosen);
    if (cu->stream) cudaStreamDestroy(cu->stream);
    if (cu->host) pthread_mutex_destroy(&cu->host->lock);
    rill__free(cu->host);
    rill__free(cu);
}

static const char *cuda_describe(const rill__backend *be) {
    return ((const rill__cuda *)be)->host->description;
}

static const char *cuda_tier(const rill__backend *be) {
    return ((const rill__cuda *)be)->host->tier;
}

static unsigned cuda_threads(const rill__backend *be) {
    return (unsigned)((const rill__cuda *)be)->processors;
}

// Weights of floats meet float16, and so do quantised ones, which become float16 in registers.
static rill_product cuda_product(const rill__backend *be, rill_type weights) {
    const rill__cuda *cu = (const rill__cuda *)be;
    bool halves = !cu->exact && rill__cuda_packs(weights);
    rill_product product = {halves ? RILL_ARITHMETIC_BF16 : RILL_ARITHMETIC_F32, 1};
    return product;
}

static rill_status cuda_measure(rill__backend *be, rill_roof *out, rill_error *err) {
    rill__cuda *cu = rill__cuda_of(be);
    lock(cu);
    rill_status status = rill__cuda_measure(be, out, err);
    unlock(cu);
    return status;
}

static bool cuda_memory(rill__backend *be, uint64_t *total, uint64_t *available) {
    size_t all = 0, left = 0;
    if (cudaSetDevice(rill__cuda_of(be)->device) != cudaSuccess ||
        cudaMemGetInfo(&left, &all) != cudaSuccess)
        return false;
    *total = all;
    *available = left;
    return true;
}

static rill_status buffer_new(rill__backend *be, size_t bytes, rill__buffer **out,
                              rill_error *err) {
    rill__buffer *b = (rill__buffer *)rill__calloc(1, sizeof *b);
    if (!b) return rill__fail_memory(err, "a buffer", sizeof *b);
    void *data;
    rill_status status = rill__cuda_take(rill__cuda_of(be), bytes, "a buffer",
                                         RILL_CUDA_SMALLER_STREAMS, &data, err);
    if (status != RILL_OK) {
        rill__free(b);
        return status;
    }
    b->data = (uint8_t *)data;
    b->bytes = bytes;
    *out = b;
    return RILL_OK;
}

static void buffer_free(rill__backend *be, rill__buffer *buffer) {
    if (!buffer) return;
    rill__cuda *cu = rill__cuda_of(be);
    lock(cu);
    if (!buffer->in_step) rill__cuda_forget_graphs(cu);  // some may have its address
    cudaFree(buffer->data);
    cudaFree(buffer->half);
    unlock(cu);
    rill__free(buffer);
}

static rill_status buffer_halves(rill__backend *be, rill__buffer *buffer, rill_error *err) {
    void *half;
    rill_status status = rill__cuda_take(rill__cuda_of(be), buffer->bytes / 2, "a buffer",
                                         RILL_CUDA_SMALLER_STREAMS, &half, err);
    if (status == RILL_OK) buffer->half = (__half *)half;
    return status;
}

bool rill__cuda_take_halves(rill__cuda *cu, rill__buffer *buffer) {
    return buffer->half || !RILL_CUDA_TRY(cu, cudaMalloc(&buffer->half, buffer->bytes / 2));
}

static void buffer_write(rill__backend *be, rill__buffer *buffer, size_t offset, const void *src,
                         size_t bytes) {
    rill__cuda *cu = rill__cuda_of(be);
    lock(cu);
    rill__cuda_wrote(buffer);
    RILL_CUDA_TRY(cu, cudaMemcpyAsync(buffer->data + offset, src, bytes, cudaMemcpyHostToDevice,
                                      cu->stream));
    RILL_CUDA_TRY(cu, cudaStreamSynchronize(cu->stream));  // `src` is the caller's again
    unlock(cu);
}

static void buffer_read(rill__backend *be, const rill__buffer *buffer, size_t offset, void *dst,
                        size_t bytes) {
    rill__cuda *cu = rill__cuda_of(be);
    lock(cu);
    RILL_CUDA_TRY(cu, cudaMemcpyAsync(dst, buffer->data + offset, bytes, cudaMemcpyDeviceToHost,
                                      cu->stream));
    RILL_CUDA_TRY(cu, cudaStreamSynchronize(cu->stream));
    unlock(cu);
}

static rill_status reserve(rill__backend *be, size_t max_rows, size_t max_visible, size_t max_width,
                           rill_error *err) {
    rill__cuda *cu = rill__cuda_of(be);
    lock(cu);
    rill_status status = RILL_OK;
    if (max_rows > cu->max_rows || max_visible > cu->max_visible || max_width > cu->max_width) {
        size_t rows = max_rows > cu->max_rows ? max_rows : cu->max_rows;
        size_t visible = max_visible > cu->max_visible ? max_visible : cu->max_visible;
        size_t width = max_width > cu->max_width ? max_width : cu->max_width;
        void *scratch = nullptr;
        status = rill__cuda_take(cu, rill__cuda_attend_scratch_bytes(rows, visible, width),
                                 "attention's scratch", RILL_CUDA_SMALLER_STREAMS, &scratch, err);
        if (status == RILL_OK) {
            rill__cuda_forget_graphs(cu);
            cudaFree(cu->attend_scratch);
            cu->attend_scratch = (uint8_t *)scratch;
            cu->max_rows = rows;
            cu->max_visible = visible;
            cu->max_width = width;
        }
    }
    unlock(cu);
    return status;
}

static void hand_out_choices(rill__cuda *cu) {
    for (size_t i = 0; i < cu->n_choices; i++) {
        const rill__choice *choice = cu->pass->choices[cu->first_choice + i];
        if (choice) *choice->chosen = cu->chosen[i];
    }
}

static rill_status synchronize(rill__backend *be, rill_error *err) {
    rill__cuda *cu = rill__cuda_of(be);
    lock(cu);
    rill__cuda_launch_recorded(cu);
    if (!RILL_CUDA_TRY(cu, cudaStreamSynchronize(cu->stream))) hand_out_choices(cu);
    cu->n_choices = 0;
    rill_status status = take_failure(cu, err);
    if (status != RILL_OK) rill__cuda_forget_graphs(cu);  // what was recorded may lack a kernel
    unlock(cu);
    return status;
}

static void weight_free(rill__backend *be, rill__weight *weight) {
    if (!weight) return;
    rill__cuda *cu = rill__cuda_of(be);
    lock(cu);
    rill__cuda_forget_graphs(cu);
    cudaFree(weight->vector);
    cudaFree(weight->raw);
    rill__cuda_packed_free(weight->packed);
    unlock(cu);
    rill__free(weight);
}

// Vectors are few and short: they become floats on the host.
static rill_status take_vector(rill__cuda *cu, rill__weight *w, const rill__tensor *tensor,
                               rill_error *err) {
    size_t bytes = w->columns * sizeof(float);
    float *floats = (float *)rill__malloc(bytes);
    if (!floats) return rill__fail_memory(err, tensor->name, bytes);
    rill__type_traits_get(w->type)->to_float(tensor->data, floats, w->columns);
    void *vector;
    rill_status status =
        rill__cuda_take(cu, bytes, tensor->name, RILL_CUDA_SMALLER_WEIGHTS, &vector, err);
    if (status == RILL_OK) {
        w->vector = (float *)vector;
        RILL_CUDA_TRY(cu,
                      cudaMemcpyAsync(vector, floats, bytes, cudaMemcpyHostToDevice, cu->stream));
        RILL_CUDA_TRY(cu, cudaStreamSynchronize(cu->stream));
        status = take_failure(cu, err);
    }
    rill__free(floats);
    return status;
}

static rill_status take_matrix(rill__cuda *cu, rill__weight *w, const rill__tensor *tensor,
                               rill_error *err) {
    void *raw;
    size_t bytes = w->rows * w->row_bytes;
    rill_status status =
        rill__cuda_take(cu, bytes, tensor->name, RILL_CUDA_SMALLER_WEIGHTS, &raw, err);
    if (status != RILL_OK) return status;
    w->raw = (uint8_t *)raw;
    RILL_CUDA_TRY(cu,
                  cudaMemcpyAsync(raw, tensor->data, bytes, cudaMemcpyHostToDevice, cu->stream));
    RILL_CUDA_TRY(cu, cudaStreamSynchronize(cu->stream));
    return take_failure(cu, err);
}

// A router is small, and stays with what does not round activations to float16.
static bool is_packed(const rill__cuda *cu, rill_type type, rill__weight_use use_) {
    return !cu->exact && rill__cuda_packs(type) &&
           (use_ == RILL_USE_PRODUCTS || use_ == RILL_USE_BOTH);
}

static rill_status weight_new(rill__backend *be, const rill__tensor *tensor, rill__weight_use use_,
                              rill__weight **out, rill_error *err) {
    rill__cuda *cu = rill__cuda_of(be);
    size_t columns = tensor->shape[tensor->n_dims - 1], row_bytes;
    bool vector = tensor->n_dims == 1;
    if (!rill__type_traits_get(tensor->type) ||
        !rill__type_bytes(tensor->type, columns, &row_bytes))
        return rill__fail(err, RILL_EUNSUPPORTED, "%s: weights of type %s", tensor->name,
                          rill_type_name(tensor->type));
    rill__weight *w = (rill__weight *)rill__calloc(1, sizeof *w);
    if (!w) return rill__fail_memory(err, "a weight", sizeof *w);
    w->type = tensor->type;
    w->rows = vector ? 1 : tensor->shape[0];
    w->columns = columns;
    w->row_bytes = row_bytes;
    rill_status status;
    lock(cu);
    if (vector)
        status = take_vector(cu, w, tensor, err);
    else {
        status = take_matrix(cu, w, tensor, err);
        if (status == RILL_OK && is_packed(cu, w->type, use_))
            status = rill__cuda_pack(cu, w, use_ == RILL_USE_BOTH, tensor->name, err);
        if (status == RILL_OK) status = take_failure(cu, err);
    }
    unlock(cu);
    if (status != RILL_OK) {
        weight_free(be, w);
        return status;
    }
    *out = w;
    return RILL_OK;
}

static rill__backend_ops make_ops(bool exact) {
    rill__backend_ops ops = {};
    ops.name = "cuda";
    ops.close = cuda_close;
    ops.describe = cuda_describe;
    ops.tier = cuda_tier;
    ops.threads = cuda_threads;
    ops.product = cuda_product;
    ops.measure = cuda_measure;
    ops.memory = cuda_memory;
    ops.buffer_new = buffer_new;
    ops.buffer_free = buffer_free;
    if (!exact) ops.buffer_halves = buffer_halves;
    ops.buffer_write = buffer_write;
    ops.buffer_read = buffer_read;
    ops.logits_rows = LOGITS_ROWS;
    ops.chunk_rows = CHUNK_ROWS;
    ops.begin = rill__cuda_begin;
    ops.end = rill__cuda_end;
    ops.reserve = reserve;
    ops.synchronize = synchronize;
    ops.weight_new = weight_new;
    ops.weight_free = weight_free;
    ops.embed = rill__cuda_embed;
    ops.norm = rill__cuda_norm;
    ops.project = rill__cuda_project;
    ops.stage = rill__cuda_stage;
    ops.clamp = rill__cuda_clamp;
    ops.cap = rill__cuda_cap;
    ops.rotary_table = rill__cuda_rotary_table;
    ops.rotate_store = rill__cuda_rotate_store;
    ops.attend_step = rill__cuda_attend_step;
    ops.attend = rill__cuda_attend;
    ops.activate = rill__cuda_activate;
    ops.experts = rill__cuda_experts;
    ops.add = rill__cuda_add;
    ops.select_rows = rill__cuda_select_rows;
    ops.choose = rill__cuda_choose;
    return ops;
}

// Whoever began a pass reads and synchronizes within it.
static void init_lock(pthread_mutex_t *mutex) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

// What the code that runs here was compiled for, which the card need not be: it may be older code,
// or what the driver made of intermediate code. Hopper's own instructions are in that of 90a alone.
static __global__ void compiled_for(int *architecture) {
#if defined(RILL_WGMMA)
    *architecture = 90;
#elif __CUDA_ARCH__ >= 900
    *architecture = 89;
#elif defined(__CUDA_ARCH__)
    *architecture = __CUDA_ARCH__ / 10;
#endif
}

static rill_status find_architecture(rill__cuda *cu, const cudaDeviceProp *p, rill_error *err) {
    int *architecture = cu->chosen;  // some memory that both sides see
    compiled_for<<<1, 1, 0, cu->stream>>>(architecture);
    cudaError_t error = cudaGetLastError();
    if (error == cudaErrorNoKernelImageForDevice)
        return rill__fail(err, RILL_EUNSUPPORTED,
                          "device: cuda:%d is a %s of compute capability %d.%d, and this %s was "
                          "built for %s; meson configure -Dgpu_arch=%d%d is right",
                          cu->device, p->name, p->major, p->minor, RILL_CUDA_LIBRARY, RILL_GPU_ARCH,
                          p->major, p->minor);
    if (!rill__cuda_failed(cu, error, "compiled_for", __FILE__, __LINE__) &&
        !RILL_CUDA_TRY(cu, cudaStreamSynchronize(cu->stream)))
        cu->architecture = *architecture;
    return take_failure(cu, err);
}

static rill_status open_device(rill__cuda *cu, rill_error *err) {
    int count = 0, driver = 0;
    if (cudaDriverGetVersion(&driver) == cudaSuccess && driver == 0)
        return rill__fail(err, RILL_EUNSUPPORTED,
                          "device: cuda: no GPU can be used: there is no NVIDIA driver "
                          "(libcuda.so.1) on this machine");
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess)
        return rill__fail(err, RILL_EUNSUPPORTED, "device: cuda: no GPU can be used: %s",
                          cudaGetErrorString(error));
    if (cu->device >= count)
        return rill__fail(err, RILL_EINVAL, "device: there is no cuda:%d; this machine has %d",
                          cu->device, count);
    cudaDeviceProp p;
    if (RILL_CUDA_TRY(cu, cudaSetDevice(cu->device)) ||
        RILL_CUDA_TRY(cu, cudaGetDeviceProperties(&p, cu->device)) ||
        RILL_CUDA_TRY(cu, cudaStreamCreateWithFlags(&cu->stream, cudaStreamNonBlocking)) ||
        RILL_CUDA_TRY(cu, cudaMallocHost(&cu->chosen, LOGITS_ROWS * sizeof *cu->chosen)))
        return take_failure(cu, err);
    cu->processors = p.multiProcessorCount;
    cu->shared_bytes = p.sharedMemPerMultiprocessor;
    if (p.major < 8)
        return rill__fail(err, RILL_EUNSUPPORTED,
                          "device: cuda:%d is a %s of compute capability %d.%d; 8.0 or later is "
                          "right",
                          cu->device, p.name, p.major, p.minor);
    rill_status status = find_architecture(cu, &p, err);
    if (status != RILL_OK) return status;
    snprintf(cu->host->tier, sizeof cu->host->tier, cu->exact ? "exact" : "sm_%d",
             cu->architecture);
    snprintf(cu->host->description, sizeof cu->host->description, "cuda:%d %s, %s", cu->device,
             p.name, cu->host->tier);
    return RILL_OK;
}

extern "C" __attribute__((visibility("default"))) const char *rill__cuda_backend_version(void) {
    struct version {
        char text[RILL_CUDA_VERSION_BYTES];
        version() {
            rill__cuda_library_version(RILL_VERSION, text);
        }
    };
    static const version own;
    return own.text;
}

extern "C" __attribute__((visibility("default"))) rill_status
rill__cuda_backend_open(const rill_device_options *options, int device, rill__backend **out,
                        rill_error *err) {
    rill__cuda *cu = (rill__cuda *)rill__calloc(1, sizeof *cu);
    if (!cu) return rill__fail_memory(err, "a backend", sizeof *cu);
    static const rill__backend_ops ops = make_ops(false), exact_ops = make_ops(true);
    cu->base.ops = options->exact ? &exact_ops : &ops;
    cu->device = device;
    cu->exact = options->exact;
    cu->host = (rill__cuda_host *)rill__calloc(1, sizeof *cu->host);
    if (cu->host) init_lock(&cu->host->lock);
    rill_status status =
        cu->host ? open_device(cu, err) : rill__fail_memory(err, "a backend", sizeof *cu->host);
    if (status != RILL_OK) {
        cuda_close(&cu->base);
        return status;
    }
    *out = &cu->base;
    return RILL_OK;
}
