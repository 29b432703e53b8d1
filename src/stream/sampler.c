// SPDX-License-Identifier: MIT
// Sampling: bias, penalties, then temperature, top-k, top-p (nucleus sampling, Holtzman et al.,
// ICLR 2020) and min-p (Nguyen et al., 2024), each on what the one before it left.
#include "stream/sampler.h"

#include "base/random.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

void rill_sampling_default(rill_sampling *options) {
    *options = (rill_sampling){
        .temperature = 0.8f,
        .top_p = 0.95f,
        .repetition_penalty = 1.0f,
        .penalty_window = 256,
    };
}

rill_status rill__sampler_init(rill__sampler *s, size_t vocab_size, rill__buffer *kept,
                               rill_error *err) {
    memset(s, 0, sizeof *s);
    s->vocab_size = vocab_size;
    s->candidates = rill__calloc(vocab_size, sizeof *s->candidates);
    s->counts = rill__calloc(vocab_size, sizeof *s->counts);
    if (kept) s->adjustments = rill__calloc(RILL_MAX_ADJUSTMENTS, sizeof *s->adjustments);
    s->choice.kept = kept;
    if (!s->candidates || !s->counts || (kept && !s->adjustments)) {
        rill__sampler_deinit(s);
        return rill__fail_memory(err, "a sampler", vocab_size * rill__sampler_bytes_per_token());
    }
    rill_sampling_default(&s->options);
    s->options.bias = s->bias;
    rill__sampler_restart(s);
    return RILL_OK;
}

void rill__sampler_deinit(rill__sampler *s) {
    rill__free(s->candidates);
    rill__free(s->counts);
    rill__free(s->adjustments);
    s->candidates = NULL;
    s->counts = NULL;
    s->adjustments = NULL;
}

size_t rill__sampler_bytes_per_token(void) {
    return sizeof(rill__candidate) + sizeof(uint32_t);
}

// One line a number that has a range.
typedef struct range_check {
    const char *field;
    double value;
    double low;
    double high;
} range_check;

rill_status rill__sampler_check(const rill_sampling *options, size_t vocab_size, rill_error *err) {
    const range_check checks[] = {
        {"temperature", options->temperature, 0.0, 100.0},
        {"top_p", options->top_p, 1e-9F, 1.0},
        {"min_p", options->min_p, 0.0, 1.0},
        {"repetition_penalty", options->repetition_penalty, 1e-3, 1e3},
        {"presence_penalty", options->presence_penalty, -1e3, 1e3},
        {"frequency_penalty", options->frequency_penalty, -1e3, 1e3},
        {"penalty_window", options->penalty_window, 0, RILL_MAX_PENALTY_WINDOW},
        {"n_bias", (double)options->n_bias, 0, RILL_MAX_LOGIT_BIAS},
    };
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        const range_check *c = &checks[i];
        if (!(c->value >= c->low && c->value <= c->high))  // written so that NaN fails
            return rill__fail(err, RILL_EINVAL, "%s: %g; from %g to %g is right", c->field,
                              c->value, c->low, c->high);
    }
    for (size_t i = 0; i < options->n_bias; i++) {
        const rill_logit_bias *b = &options->bias[i];
        if (b->token < 0 || (size_t)b->token >= vocab_size)
            return rill__fail(err, RILL_EINVAL, "logit_bias: token %d; 0 to %zu is right", b->token,
                              vocab_size - 1);
        if (isnan(b->bias))
            return rill__fail(err, RILL_EINVAL, "logit_bias: token %d has no number", b->token);
    }
    return RILL_OK;
}

// Biases of a token that comes twice are added up. Returns how many there are then.
static size_t add_bias(rill_logit_bias *bias, size_t n, rill_logit_bias one) {
    for (size_t i = 0; i < n; i++)
        if (bias[i].token == one.token) {
            bias[i].bias += one.bias;
            return n;
        }
    bias[n] = one;
    return n + 1;
}

rill_status rill__sampler_set(rill__sampler *s, const rill_sampling *options, rill_error *err) {
    rill_status status = rill__sampler_check(options, s->vocab_size, err);
    if (status != RILL_OK) return status;
    size_t n = 0;  // options->bias may be s->bias: nothing is read after its place was written
    for (size_t i = 0; i < options->n_bias; i++) n = add_bias(s->bias, n, options->bias[i]);
    s->options = *options;
    s->options.bias = s->bias;
    s->options.n_bias = n;
    rill__sampler_restart(s);
    return RILL_OK;
}

void rill__sampler_restart(rill__sampler *s) {
    rill__random_seed(s->random, s->options.seed);
    s->chosen = -1;
}

// A number in [0, 1).
static double draw(uint64_t random[4]) {
    return (double)(rill__random_next(random) >> 11) * 0x1.0p-53;
}

static void apply_bias(rill__sampler *s) {
    for (size_t i = 0; i < s->options.n_bias; i++)
        s->candidates[s->bias[i].token].value += s->bias[i].bias;
}

static bool penalizes(const rill_sampling *o) {
    return o->repetition_penalty != 1.0f || o->presence_penalty != 0.0f ||
           o->frequency_penalty != 0.0f;
}

// Adjusts each token of the window once, where it is met first; false: there are more than `most`.
static bool each_penalty(rill__sampler *s, const rill__history *history, size_t most,
                         void (*adjust)(rill__sampler *s, size_t i, rill_token token,
                                        float charge)) {
    const rill_sampling *o = &s->options;
    if (!penalizes(o)) return true;
    size_t n = 0;
    uint64_t first = history->seen > o->penalty_window ? history->seen - o->penalty_window : 0;
    for (uint64_t t = first; t < history->seen; t++) s->counts[rill__history_get(history, t)]++;
    for (uint64_t t = first; t < history->seen; t++) {
        rill_token token = rill__history_get(history, t);
        uint32_t count = s->counts[token];
        if (count == 0) continue;
        s->counts[token] = 0;
        if (n < most)
            adjust(s, n, token, o->presence_penalty + o->frequency_penalty * (float)count);
        n++;
    }
    return n <= most;
}

static void penalize(rill__sampler *s, size_t i, rill_token token, float charge) {
    (void)i;
    float *logit = &s->candidates[token].value;
    float repetition = s->options.repetition_penalty;
    *logit = *logit > 0.0f ? *logit / repetition : *logit * repetition;
    *logit -= charge;
}

static void list_penalty(rill__sampler *s, size_t i, rill_token token, float charge) {
    s->adjustments[s->choice.n_biases + i] = (rill__adjustment){
        .token = token, .repetition = s->options.repetition_penalty, .charge = charge};
    s->choice.n_adjustments++;
}

const rill__choice *rill__sampler_prepare(rill__sampler *s, const rill__history *history) {
    const rill_sampling *o = &s->options;
    s->chosen = -1;
    if (!s->adjustments) return NULL;
    memcpy(s->random_after, s->random, sizeof s->random);
    s->choice = (rill__choice){
        .temperature = o->temperature,
        .top_p = o->top_p,
        .min_p = o->min_p,
        .top_k = o->top_k,
        .draw = o->temperature != 0.0f ? draw(s->random_after) : 0,
        .adjustments = s->adjustments,
        .n_biases = (uint32_t)o->n_bias,
        .n_adjustments = (uint32_t)o->n_bias,
        .kept = s->choice.kept,
        .chosen = &s->chosen,
    };
    for (size_t i = 0; i < o->n_bias; i++)
        s->adjustments[i] =
            (rill__adjustment){.token = s->bias[i].token, .bias = s->bias[i].bias, .repetition = 1};
    return each_penalty(s, history, RILL_MAX_ADJUSTMENTS - o->n_bias, list_penalty) ? &s->choice
                                                                                    : NULL;
}

bool rill__sampler_take(rill__sampler *s, rill_token *out) {
    if (s->chosen < 0) return false;
    *out = s->chosen;
    s->chosen = -1;
    memcpy(s->random, s->random_after, sizeof s->random);
    return true;
}

// Likelier first; of equals the smaller id, so that a choice never depends on the order of work.
static bool before(const rill__candidate *a, const rill__candidate *b) {
    return a->value != b->value ? a->value > b->value : a->token < b->token;
}

static size_t best(const rill__candidate *c, size_t n) {
    size_t at = 0;
    for (size_t i = 1; i < n; i++)
        if (before(&c[i], &c[at])) at = i;
    return at;
}

static void swap(rill__candidate *a, rill__candidate *b) {
    rill__candidate kept = *a;
    *a = *b;
    *b = kept;
}

// Puts the candidates that come before one of them in front of it; returns where it ends.
static size_t partition(rill__candidate *c, size_t n) {
    size_t middle = n / 2, last = n - 1;
    // The median of three: what is in order already would take n rounds otherwise.
    if (before(&c[middle], &c[0])) swap(&c[middle], &c[0]);
    if (before(&c[last], &c[0])) swap(&c[last], &c[0]);
    if (before(&c[middle], &c[last])) swap(&c[middle], &c[last]);
    size_t front = 0;
    for (size_t i = 0; i < last; i++) {  // without branches, which nothing could foresee
        rill__candidate one = c[i];
        c[i] = c[front];
        c[front] = one;
        front += before(&one, &c[last]);
    }
    swap(&c[front], &c[last]);
    return front;
}

static double mass_of(const rill__candidate *c, size_t n) {
    double mass = 0;
    for (size_t i = 0; i < n; i++) mass += (double)c[i].value;
    return mass;
}

// Reorders: c[0..i] are the likeliest, c[i] the last of them, and together they are the first to
// reach `target` in mass, or in number. Returns i; n - 1 if all do not. Quickselect (Hoare, 1961).
static size_t reach(rill__candidate *c, size_t n, double target, bool by_number) {
    size_t first = 0, end = n;
    while (end - first > 1) {
        size_t front = partition(c + first, end - first), at = first + front;
        double before_it = by_number ? (double)front : mass_of(c + first, front);
        double its = by_number ? 1 : (double)c[at].value;
        if (front > 0 && before_it >= target) {
            end = at;
        } else if (before_it + its >= target) {
            return at;
        } else {
            target -= before_it + its;
            first = at + 1;
        }
    }
    return first < n ? first : n - 1;
}

// exp(logit - greatest) at the temperature; returns the sum.
static double weigh(rill__sampler *s, double greatest) {
    rill__candidate *c = s->candidates;
    double sum = 0.0;
    for (size_t i = 0; i < s->vocab_size; i++) {
        c[i].value = (float)exp((c[i].value - greatest) / s->options.temperature);
        sum += c[i].value;
    }
    return sum;
}

// Keeps the likeliest: at most top_k, no more than reach top_p of the mass, none below min_p of the
// best. They end at candidates[0..kept). Returns how many.
static size_t keep_likeliest(rill__sampler *s, double sum) {
    const rill_sampling *o = &s->options;
    rill__candidate *c = s->candidates;
    size_t n = s->vocab_size;
    float least = o->min_p;          // the best weighs exp(0)
    if (o->top_k && o->top_k < n) {  // top-p is a share of what top-k leaves
        n = reach(c, n, o->top_k, true) + 1;
        sum = mass_of(c, n);
    }
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (c[i].value > 0 && c[i].value >= least) swap(&c[kept++], &c[i]);
    return reach(c, kept, o->top_p * sum, false) + 1;
}

// A draw among candidates[0..n), in proportion to their values, the least likely first.
static rill_token draw_kept(rill__sampler *s, size_t n) {
    double sum = mass_of(s->candidates, n);
    return s->candidates[reach(s->candidates, n, sum - draw(s->random) * sum, false)].token;
}

// A draw among all.
static rill_token draw_among_all(rill__sampler *s, double sum) {
    const rill__candidate *c = s->candidates;
    double target = draw(s->random) * sum, mass = 0.0;
    for (size_t i = 0; i < s->vocab_size; i++) {
        mass += (double)c[i].value;
        if (target < mass) return c[i].token;
    }
    return c[best(c, s->vocab_size)].token;  // if rounding leaves target at the very end
}

rill_status rill__sampler_choose(rill__sampler *s, const float *logits,
                                 const rill__history *history, rill_token *out, rill_error *err) {
    size_t n = s->vocab_size;
    for (size_t i = 0; i < n; i++) {
        bool number = !isnan(logits[i]) && logits[i] < INFINITY;
        s->candidates[i] =
            (rill__candidate){.value = number ? logits[i] : -INFINITY, .token = (rill_token)i};
    }
    apply_bias(s);
    (void)each_penalty(s, history, SIZE_MAX, penalize);
    size_t top = best(s->candidates, n);
    if (!isfinite(s->candidates[top].value))
        return rill__fail(err, RILL_EFORMAT,
                          "sampling: no logit is a finite number; the model's weights are damaged, "
                          "or every token is excluded by a bias");
    if (s->options.temperature == 0.0f) {
        *out = s->candidates[top].token;
        return RILL_OK;
    }
    double sum = weigh(s, (double)s->candidates[top].value);
    const rill_sampling *o = &s->options;
    if (o->top_k == 0 && o->top_p >= 1.0f && o->min_p == 0.0f) {
        *out = draw_among_all(s, sum);
    } else {
        *out = draw_kept(s, keep_likeliest(s, sum));
    }
    return RILL_OK;
}
