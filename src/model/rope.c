// SPDX-License-Identifier: MIT
// Frequencies of the rotary positions. Source of the formulas: transformers'
// modeling_rope_utils.py; linear and NTK-aware scaling, YaRN (Peng et al., 2023), LongRoPE (Ding et
// al., 2024), Llama 3.1.
#include "model/description.h"

#include <math.h>

static const double turn = 6.283185307179586476925286766559;

static double llama3(const rill__rope_description *r, double frequency) {
    double wavelength = turn / frequency, context = r->original_context;
    if (wavelength > context / r->low_freq_factor) return frequency / r->factor;
    if (wavelength < context / r->high_freq_factor) return frequency;
    double smooth =
        (context / wavelength - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
    return (1 - smooth) * frequency / r->factor + smooth * frequency;
}

// The pair whose wave turns `turns` times in the original context, as a fraction.
static double yarn_pair(const rill__rope_description *r, double turns) {
    return r->n_dims * log(r->original_context / (turns * turn)) / (2 * log(r->theta));
}

// 1 where a pair keeps its frequency, 0 where it is divided by the factor, a ramp between.
static double yarn_kept(const rill__rope_description *r, uint32_t pair) {
    double low = yarn_pair(r, r->beta_fast), high = yarn_pair(r, r->beta_slow);
    if (r->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, r->n_dims - 1);
    if (low == high) high += 0.001;
    double ramp = (pair - low) / (high - low);
    return 1 - fmin(fmax(ramp, 0), 1);
}

// NTK: the base that stretches the slowest wave over the capacity.
static double ntk_theta(const rill__rope_description *r, uint32_t trained, double capacity) {
    double length = fmax(capacity, trained);
    double stretch = r->factor * length / trained - (r->factor - 1);
    return r->theta * pow(stretch, r->n_dims / (r->n_dims - 2.0));
}

double rill__rope_frequency(const rill__rope_description *r, uint32_t trained_context,
                            uint64_t capacity, uint32_t pair) {
    double theta = r->theta;
    if (r->scaling == RILL_ROPE_NTK && r->n_dims > 2)
        theta = ntk_theta(r, trained_context, (double)capacity);
    double frequency = pow(theta, -2.0 * pair / r->n_dims);
    switch (r->scaling) {
    case RILL_ROPE_LINEAR: return frequency / r->factor;
    case RILL_ROPE_LLAMA3: return llama3(r, frequency);
    case RILL_ROPE_YARN: {
        double kept = yarn_kept(r, pair);
        return frequency / r->factor * (1 - kept) + frequency * kept;
    }
    case RILL_ROPE_LONGROPE: {
        const double *factors = capacity > r->original_context ? r->long_factors : r->short_factors;
        return frequency / factors[pair];
    }
    case RILL_ROPE_FACTORS: return frequency / r->short_factors[pair];
    case RILL_ROPE_DEFAULT:
    case RILL_ROPE_NTK: break;
    }
    return frequency;
}

static double yarn_mscale(double factor, double mscale) {
    return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1;
}

double rill__rope_magnitude(const rill__rope_description *r) {
    if (r->attention_factor != 0) return r->attention_factor;
    if (r->scaling == RILL_ROPE_YARN) {
        if (r->mscale != 0 && r->mscale_all_dim != 0)
            return yarn_mscale(r->factor, r->mscale) / yarn_mscale(r->factor, r->mscale_all_dim);
        return yarn_mscale(r->factor, 1);
    }
    if (r->scaling == RILL_ROPE_LONGROPE && r->factor > 1)
        return sqrt(1 + log(r->factor) / log(r->original_context));
    return 1;
}

void rill__rope_phase_steps(const rill__rope_description *rope, uint32_t trained_context,
                            uint64_t capacity, uint64_t *steps, float *magnitude) {
    static const long double half = 9223372036854775808.0L;  // 2^63
    for (uint32_t i = 0; i < rope->n_dims / 2; i++) {
        double frequency = rill__rope_frequency(rope, trained_context, capacity, i);
        long double turns = (long double)frequency / 6.283185307179586476925286766559L;
        turns -= floorl(turns);  // whole turns a position change nothing
        long double step = roundl(turns * 2 * half);
        if (step >= 2 * half) step = 0;
        // By halves: compilers convert numbers past 2^63 in different ways.
        steps[i] = step >= half ? (uint64_t)(step - half) + ((uint64_t)1 << 63) : (uint64_t)step;
    }
    *magnitude = (float)rill__rope_magnitude(rope);
}

void rill__rope_stretch(rill__rope_description *r, bool ntk, double factor) {
    if (ntk && r->n_dims > 2) {
        r->theta *= pow(factor, r->n_dims / (r->n_dims - 2.0));
        return;
    }
    r->scaling = RILL_ROPE_LINEAR;
    r->factor = factor;
}

double rill__xpos_log2(const rill__rope_description *r, uint64_t capacity) {
    return (double)capacity / 2 / r->xpos_base * log2((1 + r->xpos_gamma) / r->xpos_gamma);
}
