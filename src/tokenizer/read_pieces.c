// SPDX-License-Identifier: MIT
// SentencePiece models: sentencepiece_model.proto of google/sentencepiece, its protocol buffer read
// by hand (protobuf.dev/programming-guides/encoding).
#include "tokenizer/reader.h"

#include <float.h>
#include <string.h>

// ---- Protocol buffers -----------------------------------------------------------------------

typedef struct message {
    const uint8_t *data;
    size_t length;
    bool broken;  // what was read last did not fit
} message;

// One field. Numbers of every wire type are in `number`; lengths and groups of bytes in `bytes`.
typedef struct field {
    uint32_t id;
    unsigned wire;
    uint64_t number;
    message bytes;
} field;

static uint64_t read_varint(message *m) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (m->length == 0) break;
        uint8_t byte = *m->data++;
        m->length--;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return value;
    }
    m->broken = true;
    return 0;
}

static uint64_t read_fixed(message *m, unsigned n) {
    uint64_t value = 0;
    if (m->length < n) {
        m->broken = true;
        return 0;
    }
    for (unsigned i = 0; i < n; i++) value |= (uint64_t)m->data[i] << 8 * i;
    m->data += n;
    m->length -= n;
    return value;
}

// False at the end, and at what is broken.
static bool next_field(message *m, field *f) {
    if (m->length == 0 || m->broken) return false;
    uint64_t key = read_varint(m);
    *f = (field){.id = (uint32_t)(key >> 3), .wire = (unsigned)(key & 7)};
    if (f->wire == 0) {
        f->number = read_varint(m);
    } else if (f->wire == 1) {
        f->number = read_fixed(m, 8);
    } else if (f->wire == 5) {
        f->number = read_fixed(m, 4);
    } else if (f->wire == 2) {
        uint64_t length = read_varint(m);
        if (m->broken || length > m->length) {
            m->broken = true;
            return false;
        }
        f->bytes = (message){m->data, (size_t)length, false};
        m->data += length;
        m->length -= (size_t)length;
    } else {
        m->broken = true;  // groups went out of use before this format began
    }
    return !m->broken;
}

static float as_float(uint64_t number) {
    uint32_t bits = (uint32_t)number;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value == value ? value : -FLT_MAX;
}

// ---- The model ------------------------------------------------------------------------------

typedef struct model_file {
    size_t n_pieces;
    uint64_t type;  // 1 unigram, 2 BPE
    bool byte_fallback;
    bool space_as_suffix;
    int32_t unknown, bos, eos, pad;
} model_file;

static rill_status read_piece(const rill__reader *r, message m, size_t id) {
    rill__tokenizer *t = r->t;
    field f;
    message text = {0};
    uint64_t kind = RILL_TOKEN_NORMAL;
    float score = 0;
    while (next_field(&m, &f)) {
        if (f.id == 1 && f.wire == 2) text = f.bytes;
        if (f.id == 2 && f.wire == 5) score = as_float(f.number);
        if (f.id == 3 && f.wire == 0) kind = f.number;
    }
    if (m.broken || kind < RILL_TOKEN_NORMAL || kind > RILL_TOKEN_BYTE)
        return rill__reader_fail(r, RILL_EFORMAT, "pieces", "piece %zu is damaged", id);
    t->kinds[id] = (uint8_t)kind;
    t->scores[id] = (double)score;
    return rill__strings_set(&t->texts, id, text.length ? (const char *)text.data : "", text.length,
                             r->err);
}

static rill_status read_all_pieces(const rill__reader *r, message m, size_t n) {
    rill__tokenizer *t = r->t;
    field f;
    size_t id = 0;
    t->scores = rill__calloc(n, sizeof *t->scores);
    t->kinds = rill__calloc(n, 1);
    if (!t->scores || !t->kinds)
        return rill__fail_memory(r->err, "a vocabulary", n * sizeof *t->scores);
    rill_status status = RILL_OK;
    while (status == RILL_OK && next_field(&m, &f))
        if (f.id == 1 && f.wire == 2) status = read_piece(r, f.bytes, id++);
    return status;
}

static bool read_trainer(message m, model_file *file) {
    field f;
    while (next_field(&m, &f)) {
        if (f.wire != 0) continue;
        if (f.id == 3) file->type = f.number;
        if (f.id == 24) file->space_as_suffix = f.number != 0;
        if (f.id == 35) file->byte_fallback = f.number != 0;
        if (f.id == 40) file->unknown = (int32_t)f.number;
        if (f.id == 41) file->bos = (int32_t)f.number;
        if (f.id == 42) file->eos = (int32_t)f.number;
        if (f.id == 43) file->pad = (int32_t)f.number;
    }
    return !m.broken;
}

static rill_status read_rules(const rill__reader *r, message m) {
    rill__tokenizer *t = r->t;
    field f;
    message charsmap = {0};
    while (next_field(&m, &f)) {
        if (f.id == 2 && f.wire == 2) charsmap = f.bytes;
        if (f.wire != 0) continue;
        if (f.id == 3) t->pieces.add_dummy_prefix = f.number != 0;
        if (f.id == 4) t->pieces.remove_extra_whitespaces = f.number != 0;
        if (f.id == 5) t->pieces.escape_whitespaces = f.number != 0;
    }
    if (m.broken) return rill__reader_fail(r, RILL_EFORMAT, "normalizer_spec", "is damaged");
    if (charsmap.length == 0 || t->charsmap_blob) return RILL_OK;
    t->charsmap_blob = rill__malloc(charsmap.length);
    if (!t->charsmap_blob)
        return rill__fail_memory(r->err, "a precompiled_charsmap", charsmap.length);
    memcpy(t->charsmap_blob, charsmap.data, charsmap.length);
    t->charsmap_blob_length = charsmap.length;
    return rill__charsmap_read(&t->charsmap, r->name, charsmap.data, charsmap.length, r->err);
}

static rill_status scan(const rill__reader *r, message m, model_file *file) {
    field f;
    rill_status status = RILL_OK;
    while (status == RILL_OK && next_field(&m, &f)) {
        if (f.wire != 2) continue;
        if (f.id == 1) file->n_pieces++;
        if (f.id == 2 && !read_trainer(f.bytes, file))
            status = rill__reader_fail(r, RILL_EFORMAT, "trainer_spec", "is damaged");
        if (f.id == 3) status = read_rules(r, f.bytes);
    }
    if (status != RILL_OK) return status;
    if (m.broken || file->n_pieces == 0 || file->n_pieces > RILL_MAX_TOKENS)
        return rill__reader_fail(r, RILL_EFORMAT, "pieces",
                                 "%s a SentencePiece model of 1 to %d pieces",
                                 m.broken ? "damaged, or not" : "not", RILL_MAX_TOKENS);
    if (file->type == 1 || file->type == 2) return RILL_OK;
    return rill__reader_fail(r, RILL_EUNSUPPORTED, "trainer_spec.model_type",
                             "%llu: unigram (1) and BPE (2) are known",
                             (unsigned long long)file->type);
}

static int32_t checked_id(const rill__tokenizer *t, int32_t id) {
    return id >= 0 && (size_t)id < t->n_tokens ? id : -1;
}

static rill_status index_model(const rill__reader *r) {
    rill__tokenizer *t = r->t;
    rill_status status = RILL_OK;
    if (t->scheme.kind == RILL_MODEL_BPE) return rill__scheme_merge_by_score(t, r->err);
    status = rill__index_init(&t->model, t->n_tokens, r->err);
    for (size_t id = 0; status == RILL_OK && id < t->n_tokens; id++) {
        uint8_t kind = t->kinds[id];
        if (kind == RILL_TOKEN_NORMAL || kind == RILL_TOKEN_USER_DEFINED ||
            kind == RILL_TOKEN_UNUSED)
            rill__index_add(&t->model, &t->texts, (uint32_t)id);
    }
    return status == RILL_OK ? rill__scheme_index_pieces(t, r->err) : status;
}

rill_status rill__finish_pieces(const rill__reader *r) {
    rill__tokenizer *t = r->t;
    rill_status status = RILL_OK;
    t->scheme.fuse_unknown = true;
    t->scheme.piece_scores = true;
    t->pieces.active = true;
    for (size_t id = 0; status == RILL_OK && id < t->n_tokens; id++) {
        rill__text text = rill__strings_get(&t->texts, id);
        if (t->kinds[id] == RILL_TOKEN_USER_DEFINED && text.length > 0)
            status =
                rill__trie_add(&t->scheme.symbols, text.data, text.length, (int32_t)id, r->err);
    }
    if (status == RILL_OK) status = index_model(r);
    if (status != RILL_OK) return status;
    rill__scheme_find_bytes(t);
    rill__decoding *d = &t->decoding;
    if (t->pieces.remove_extra_whitespaces)
        d->lead = RILL_LEAD_ALL_SPACES;
    else if (t->pieces.add_dummy_prefix)
        d->lead = RILL_LEAD_ONE_SPACE;
    return rill__decoding_from_pieces(t, r->err);
}

rill_status rill__read_pieces(const rill__reader *r, const uint8_t *data, size_t length) {
    rill__tokenizer *t = r->t;
    message m = {data, length, false};
    model_file file = {.type = 1, .bos = 1, .eos = 2, .pad = -1};
    t->pieces = (rill__piece_rules){true, true, true, true, false};
    rill_status status = scan(r, m, &file);
    if (status == RILL_OK) status = read_all_pieces(r, m, file.n_pieces);
    if (status == RILL_OK) status = rill__tokenizer_set_size(t, r->err);
    if (status != RILL_OK) return status;
    t->pieces.space_as_suffix = file.space_as_suffix;
    t->scheme.kind = file.type == 1 ? RILL_MODEL_UNIGRAM : RILL_MODEL_BPE;
    t->scheme.byte_fallback = file.byte_fallback;
    t->scheme.unknown = checked_id(t, file.unknown);
    t->bos = checked_id(t, file.bos);
    t->eos = checked_id(t, file.eos);
    t->pad = checked_id(t, file.pad);
    if (t->bos >= 0) t->before[t->n_before++] = t->bos;
    return rill__finish_pieces(r);
}
