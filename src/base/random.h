// SPDX-License-Identifier: MIT
// The library's one generator of random numbers: xoshiro256** 1.0 (Blackman and Vigna, 2018),
// seeded by splitmix64 as its authors advise (prng.di.unimi.it). The state is the caller's.
#ifndef RILL_BASE_RANDOM_H
#define RILL_BASE_RANDOM_H

#include <stdint.h>

// Begins a sequence; equal seeds, equal sequences.
static inline void rill__random_seed(uint64_t state[4], uint64_t seed) {
    for (int i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15u;
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        state[i] = z ^ (z >> 31);
    }
}

// Part of rill__random_next: x turned left by k bits, 0 < k < 64.
static inline uint64_t rill__random_rotate(uint64_t x, int k) {
    return (x << k) | (x >> (64 - k));
}

// 64 random bits.
static inline uint64_t rill__random_next(uint64_t state[4]) {
    uint64_t *s = state;
    uint64_t result = rill__random_rotate(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rill__random_rotate(s[3], 45);
    return result;
}

#endif
