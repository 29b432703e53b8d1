// SPDX-License-Identifier: MIT
// Unigram: of all ways to cut a text into tokens, the one whose scores sum up highest (Viterbi), as
// EncodeOptimized does it in unigram_model.cc of google/sentencepiece and Unigram::encode_optimized
// in model.rs of huggingface/tokenizers. The one sums in float, the other in double.
#include "tokenizer/work.h"

#include "base/utf8.h"

static const double unknown_penalty = 10.0;
// Past this the sum starts anew at the next cut, so that a text without end is cut as finely as a
// short one.
static const double least_sum = -16384;

static double piece_score(const rill__tokenizer *t, int32_t id, size_t length) {
    const rill__scheme *s = &t->scheme;
    if (s->piece_scores && t->kinds[id] == RILL_TOKEN_USER_DEFINED)
        return (double)((float)length * (float)s->max_score) - 0.1;
    return t->scores[id];
}

static bool may_use(const rill__encoder *e, int32_t id) {
    const rill__tokenizer *t = e->tokenizer;
    if (!t->scheme.piece_scores)
        return !(e->flags & RILL_TEXT_PLAIN) || t->kinds[id] == RILL_TOKEN_NORMAL;
    if (t->kinds[id] == RILL_TOKEN_UNUSED) return false;
    return !(e->flags & RILL_TEXT_PLAIN) || t->kinds[id] != RILL_TOKEN_USER_DEFINED;
}

// Keeps the better way to `node`.
static void offer(const rill__scheme *s, rill__lattice_node *node, double score, size_t begin,
                  int32_t id) {
    if (s->piece_scores) score = (double)(float)score;
    if (node->begin != UINT32_MAX && !(score > node->score)) return;
    node->score = score;
    node->begin = (uint32_t)begin;
    node->id = id;
}

// All tokens that begin at `at`; an unknown character if none is just that character.
static void extend(rill__encoder *e, const char *text, size_t length, size_t at, size_t n_first) {
    const rill__scheme *s = &e->tokenizer->scheme;
    rill__lattice_node *nodes = e->lattice;
    double so_far = nodes[at].score;
    bool single = false;
    uint32_t node = 0;
    for (size_t i = at; s->pieces.n_nodes && i < length; i++) {
        node = rill__trie_step(&s->pieces, node, (uint8_t)text[i]);
        if (node == 0) break;
        int32_t id = s->pieces.values[node];
        if (id < 0 || !may_use(e, id)) continue;
        offer(s, &nodes[i + 1], so_far + piece_score(e->tokenizer, id, i + 1 - at), at, id);
        single = single || i + 1 - at == n_first;
    }
    if (single) return;
    double unknown = s->min_score - unknown_penalty;
    double score = s->piece_scores ? (double)((float)unknown + (float)so_far) : unknown + so_far;
    offer(s, &nodes[at + n_first], score, at, -1);
}

// Turns the best way round, first token first: `begin` becomes where the next one begins.
static void turn_round(rill__lattice_node *nodes, size_t length) {
    uint32_t next = UINT32_MAX;
    for (size_t at = length; at > 0;) {
        uint32_t begin = nodes[at].begin;
        nodes[at].begin = next;
        next = (uint32_t)at;
        at = begin;
    }
    nodes[0].begin = next;
}

rill_status rill__unigram(rill__encoder *e, const char *text, size_t length, rill_error *err) {
    const rill__scheme *s = &e->tokenizer->scheme;
    rill_status status =
        rill__work_reserve(&e->lattice, &e->lattice_capacity, length + 1, sizeof *e->lattice, err);
    if (status != RILL_OK) return status;
    rill__lattice_node *nodes = e->lattice;
    for (size_t i = 0; i <= length; i++) nodes[i].begin = UINT32_MAX;
    nodes[0].score = e->run.score;
    uint32_t before = 0, c;
    for (size_t at = 0, n; at < length; at += n, before = c) {
        n = rill__utf8_decode(text + at, length - at, &c);
        size_t joint = rill__joint(before, c);
        bool cut = at > 0 && s->joints && !(s->joints[joint / 64] >> joint % 64 & 1);
        if (cut && nodes[at].score < least_sum) nodes[at].score = 0;
        extend(e, text, length, at, n);
    }
    e->run.score = nodes[length].score < least_sum ? 0 : nodes[length].score;
    turn_round(nodes, length);
    for (size_t at = 0; status == RILL_OK && at < length; at = nodes[at].begin) {
        size_t end = nodes[at].begin;
        if (nodes[end].id >= 0)
            status = rill__tokens_push(&e->word, nodes[end].id, err);
        else
            status = rill__model_unknown(e, text + at, end - at, err);
    }
    return status;
}
