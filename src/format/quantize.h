// SPDX-License-Identifier: MIT
// float32 to the block types: from_float of the table in types.c.
//
// Every byte is the one that ggml's quantizers write without an importance matrix (ggml-quants.c,
// quantize_q4_K and its like), wherever their arithmetic is defined. Beyond that: where a number
// would not fit its integer it takes the nearest that does; a NaN counts as zero but in q8_0 and
// q4_0, where its code is 0; and a block that holds an infinity, or needs a scale above 65504,
// decodes to numbers that are not finite, as it does in f16. (mxfp4 has room for all finite
// numbers, and an infinity stays one.)
#ifndef RILL_FORMAT_QUANTIZE_H
#define RILL_FORMAT_QUANTIZE_H

#include <stddef.h>

// n values, whole blocks; dst needs no alignment. Threads: any.
void rill__q4_0_from_float(const float *src, void *dst, size_t n);
void rill__q4_1_from_float(const float *src, void *dst, size_t n);
void rill__q5_0_from_float(const float *src, void *dst, size_t n);
void rill__q5_1_from_float(const float *src, void *dst, size_t n);
void rill__q8_0_from_float(const float *src, void *dst, size_t n);
void rill__mxfp4_from_float(const float *src, void *dst, size_t n);
void rill__q2_k_from_float(const float *src, void *dst, size_t n);
void rill__q3_k_from_float(const float *src, void *dst, size_t n);
void rill__q4_k_from_float(const float *src, void *dst, size_t n);
void rill__q5_k_from_float(const float *src, void *dst, size_t n);
void rill__q6_k_from_float(const float *src, void *dst, size_t n);
void rill__iq4_nl_from_float(const float *src, void *dst, size_t n);
void rill__iq4_xs_from_float(const float *src, void *dst, size_t n);

#endif
