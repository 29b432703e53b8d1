// SPDX-License-Identifier: MIT
// Text and tokens of a model: the public face of the tokenizer.
#include "stream/handles.h"

struct rill_encoder {
    rill_model *model;  // an owner of it
    rill__encoder *encoder;
    rill__tokens tokens;  // what the last push gave
};

static rill_status require_tokenizer(const rill_model *model, rill_error *err) {
    if (model->model->tokenizer) return RILL_OK;
    return rill__fail(err, RILL_EUNSUPPORTED, "%s: this model has no tokenizer; only tokens work",
                      model->model->description.name);
}

rill_status rill_encode(const rill_model *model, const char *text, size_t length, unsigned flags,
                        rill_token **tokens, size_t *n_tokens, rill_error *err) {
    rill__tokens list = {0};
    rill_status status = require_tokenizer(model, err);
    if (status == RILL_OK)
        status = rill__tokenizer_encode(model->model->tokenizer, text, length, flags, &list, err);
    if (status != RILL_OK) {
        rill__tokens_deinit(&list);
        return status;
    }
    *tokens = list.ids;
    *n_tokens = list.n;
    return RILL_OK;
}

// A model may have more rows than its tokenizer has tokens; those are no text.
static rill_status decode_token(const rill_model *model, rill__decoder *decoder, rill_token token,
                                rill__bytes *out, rill_error *err) {
    size_t own = rill__tokenizer_size(model->model->tokenizer);
    if (token >= 0 && (size_t)token >= own &&
        (uint32_t)token < model->model->description.vocab_size)
        return RILL_OK;
    return rill__decoder_push(decoder, token, out, err);
}

void rill_tokens_free(rill_token *tokens) {
    rill__free(tokens);
}

rill_status rill_decode(const rill_model *model, const rill_token *tokens, size_t n_tokens,
                        char **text, size_t *length, rill_error *err) {
    rill__bytes bytes;
    rill__bytes_init(&bytes, 0);
    rill_status status = require_tokenizer(model, err);
    if (status == RILL_OK) status = rill__bytes_reserve(&bytes, 1, err);
    if (status == RILL_OK) {
        rill__decoder decoder;
        rill__decoder_init(&decoder, model->model->tokenizer);
        for (size_t i = 0; status == RILL_OK && i < n_tokens; i++)
            status = decode_token(model, &decoder, tokens[i], &bytes, err);
        if (status == RILL_OK) status = rill__decoder_end(&decoder, &bytes, err);
    }
    // An empty text is a text too.
    if (status == RILL_OK) status = rill__bytes_append(&bytes, "", 0, err);
    if (status == RILL_OK) *text = rill__bytes_take(&bytes, length);
    rill__bytes_deinit(&bytes);
    return status;
}

void rill_text_free(char *text) {
    rill__free(text);
}

rill_status rill_encoder_open(const rill_model *model, unsigned flags, rill_encoder **out,
                              rill_error *err) {
    rill_status status = require_tokenizer(model, err);
    if (status != RILL_OK) return status;
    rill_encoder *e = rill__calloc(1, sizeof *e);
    if (!e) return rill__fail_memory(err, "an encoder", sizeof *e);
    // Counting owners is all that happens to it.
    e->model = rill__model_ref((rill_model *)model);
    status = rill__encoder_open(model->model->tokenizer, flags, &e->encoder, err);
    if (status != RILL_OK) {
        rill_encoder_close(&e);
        return status;
    }
    *out = e;
    return RILL_OK;
}

void rill_encoder_close(rill_encoder **encoder) {
    rill_encoder *e = *encoder;
    *encoder = NULL;
    if (!e) return;
    rill__encoder_close(&e->encoder);
    rill__tokens_deinit(&e->tokens);
    rill_model_close(&e->model);
    rill__free(e);
}

rill_status rill_encoder_push(rill_encoder *encoder, const char *text, size_t length, bool end,
                              const rill_token **tokens, size_t *n_tokens, rill_error *err) {
    encoder->tokens.n = 0;
    rill_status status =
        rill__encoder_push(encoder->encoder, text, length, end, &encoder->tokens, err);
    if (status != RILL_OK) return status;
    *tokens = encoder->tokens.ids;
    *n_tokens = encoder->tokens.n;
    return RILL_OK;
}

bool rill_is_end(const rill_model *model, rill_token token) {
    return model->model->tokenizer && rill__tokenizer_is_end(model->model->tokenizer, token);
}
