// SPDX-License-Identifier: MIT
// The block types whose scales are numbers of a few bits themselves, and those whose values stand
// in a table, to float32.
//
// Source of the layouts: ggml-common.h (block_q2_K ... block_iq4_xs); of the arithmetic and its
// order, ggml-quants.c's dequantize_row_*, so that every bit is the same.
#ifndef RILL_FORMAT_K_QUANTS_H
#define RILL_FORMAT_K_QUANTS_H

#include <stddef.h>

enum { RILL_SUPER_BLOCK = 256 };  // values of a block of all these but iq4_nl, which has 32

// n values, whole blocks; src needs no alignment. Threads: any.
void rill__q2_k_to_float(const void *src, float *dst, size_t n);
void rill__q3_k_to_float(const void *src, float *dst, size_t n);
void rill__q4_k_to_float(const void *src, float *dst, size_t n);
void rill__q5_k_to_float(const void *src, float *dst, size_t n);
void rill__q6_k_to_float(const void *src, float *dst, size_t n);
void rill__iq4_nl_to_float(const void *src, float *dst, size_t n);
void rill__iq4_xs_to_float(const void *src, float *dst, size_t n);

#endif
