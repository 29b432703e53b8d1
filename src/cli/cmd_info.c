// SPDX-License-Identifier: MIT
// rill info: what a model is, and what an endless stream of it costs against keeping everything.
#include "cli/command.h"
#include "cli/fits.h"
#include "cli/machine.h"
#include "cli/session.h"
#include "cli/shape.h"
#include "cli/terminal.h"

#include "base/number.h"

enum { DEFAULT_SINKS = 4, DEFAULT_CONTEXT = 1024, DEFAULT_TOKENS = 10000 };

// What is to be told, gathered from a model or a shape.
typedef struct facts {
    rill_model_info model;
    bool real;                 // a model, not a shape
    rill_stream_options used;  // as asked for, resolved
    rill_stream_options best;  // recommended
    rill_stream_bytes bytes;   // of a stream of a real model
    uint64_t token_bytes;
    uint64_t full_tokens, full_bytes;
    uint64_t held_bytes;
    bool has_fits;  // --device was given, and a model
    rill__fits fits;
} facts;

static void resolve_shape(const rill__settings *s, facts *f) {
    uint32_t context = f->model.trained_context ? f->model.trained_context : DEFAULT_CONTEXT;
    f->best = s->stream;
    f->best.sinks = DEFAULT_SINKS;
    f->best.window = context > DEFAULT_SINKS ? context - DEFAULT_SINKS : 1;
    f->used = s->stream;
    if (f->used.sinks == RILL_SINKS_AUTO)
        f->used.sinks = s->stream.method == RILL_METHOD_STREAMING ? DEFAULT_SINKS : 0;
    if (f->used.default_types && s->device.exact)
        f->used.key_type = f->used.value_type = RILL_TYPE_F32;
    if (!f->used.window) f->used.window = context > f->used.sinks ? context - f->used.sinks : 1;
}

static rill_status gather(const rill__settings *s, rill__session *session, facts *f,
                          rill_error *err) {
    rill_status status;
    if (s->shape) {
        if (s->n_positionals)
            return rill__fail(err, RILL_EINVAL, "--shape: %.80s is given too: one of them",
                              s->positionals[0]);
        status = rill__shape_parse(s->shape, &f->model, err);
        if (status != RILL_OK) return status;
        resolve_shape(s, f);
    } else {
        rill_stream_bytes unused;
        status = rill__session_open(session, s, s->n_positionals ? s->positionals[0] : NULL, err);
        if (status == RILL_OK)
            status = rill_stream_estimate(session->model, NULL, &f->best, &unused, err);
        if (status == RILL_OK)
            status = rill_stream_estimate(session->model, &s->stream, &f->used, &f->bytes, err);
        if (status != RILL_OK) return status;
        f->real = true;
        f->model = session->info;
        f->has_fits = rill__options_given(s, RILL_FOR_INFO, "device");
        if (f->has_fits)
            status = rill__fits_find(session->device, session->model, s, &f->fits, err);
        if (status != RILL_OK) return status;
        rill__warn_past_context(session, &f->used);
    }
    f->token_bytes = rill_token_bytes(&f->model, f->used.key_type, f->used.value_type);
    f->full_tokens = s->n_tokens ? s->n_tokens : DEFAULT_TOKENS;
    uint64_t held = (uint64_t)f->used.sinks + f->used.window;
    if (__builtin_mul_overflow(f->token_bytes, f->full_tokens, &f->full_bytes) ||
        __builtin_mul_overflow(f->token_bytes, held, &f->held_bytes))
        return rill__fail(err, RILL_EINVAL, "--tokens: %llu: their cache is beyond 2^64 bytes",
                          (unsigned long long)f->full_tokens);
    return RILL_OK;
}

static double saved_share(const facts *f) {
    return f->full_bytes ? 1 - (double)f->held_bytes / (double)f->full_bytes : 0;
}

static void print_machine(const facts *f, const rill__session *session) {
    const rill_model_info *m = &f->model;
    json_t *object =
        json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "name", m->name, "family",
                  m->family, "layers", (int)m->n_layers, "hidden", (int)m->hidden_size, "heads",
                  (int)m->n_heads, "kv_heads", (int)m->n_kv_heads, "head_dim", (int)m->head_dim,
                  "ffn", (int)m->ffn_size, "vocabulary", (int)m->vocab_size, "trained_context",
                  (int)m->trained_context);
    const struct {
        const char *key;
        uint64_t value;
    } rest[] = {{"trained_window", m->trained_window},
                {"parameters", m->n_parameters},
                {"weight_bytes", m->weight_bytes},
                {"recommended_sinks", f->best.sinks},
                {"recommended_window", f->best.window},
                {"sinks", f->used.sinks},
                {"window", f->used.window},
                {"token_bytes", f->token_bytes},
                {"full_tokens", f->full_tokens},
                {"full_bytes", f->full_bytes},
                {"held_bytes", f->held_bytes},
                {"cache_bytes", f->bytes.cache},
                {"stream_bytes", f->bytes.total}};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
        json_object_set_new(object, rest[i].key, json_integer((json_int_t)rest[i].value));
    json_object_set_new(object, "saved", json_real(saved_share(f)));
    json_object_set_new(object, "weight_type",
                        json_string(f->real ? rill_type_name(m->weight_type) : ""));
    json_object_set_new(object, "chat_template", json_string(m->chat_template));
    json_t *warnings = json_array();
    const char *warning;
    for (size_t i = 0; f->real && (warning = rill_model_warning(session->model, i)); i++)
        json_array_append_new(warnings, json_string(warning));
    json_object_set_new(object, "warnings", warnings);
    if (f->has_fits) rill__fits_machine(&f->fits, object);
    (void)rill__machine_line(object);
}

static void print_model(const facts *f) {
    const rill_model_info *m = &f->model;
    char number[32], bytes[32];
    rill__outputf("%-12s %s%s%s%s\n", f->real ? "model" : "shape", m->name,
                  m->family[0] ? " (" : "", m->family, m->family[0] ? ")" : "");
    rill__outputf("%-12s %u layers, %u wide, %u heads (%u of keys and values) of %u", "sizes",
                  m->n_layers, m->hidden_size, m->n_heads, m->n_kv_heads, m->head_dim);
    if (m->ffn_size) rill__outputf(", feed-forward %u", m->ffn_size);
    if (m->vocab_size) rill__outputf(", vocabulary %u", m->vocab_size);
    rill__outputf("\n");
    if (m->n_parameters) {
        rill__number_grouped(number, sizeof number, m->n_parameters);
        rill__number_bytes(bytes, sizeof bytes, m->weight_bytes);
        rill__outputf("%-12s %s", "parameters", number);
        if (f->real) rill__outputf(", most in %s, %s", rill_type_name(m->weight_type), bytes);
        rill__outputf("\n");
    }
    if (m->trained_context)
        rill__outputf("%-12s %u tokens at once%s\n", "trained on", m->trained_context,
                      m->trained_window ? ", less in layers with a window" : "");
    if (f->real)
        rill__outputf("%-12s %s\n", "chat",
                      m->has_tokenizer
                          ? (m->chat_template[0] ? m->chat_template : "no template known")
                          : "no tokenizer");
}

static void print_people(const facts *f) {
    char number[32], full[32], held[32], bytes[32];
    print_model(f);
    rill__outputf("%-12s --sinks %u --window %u\n", "recommended", f->best.sinks, f->best.window);
    rill__number_bytes(bytes, sizeof bytes, f->token_bytes);
    rill__number_bytes(full, sizeof full, f->full_bytes);
    rill__number_bytes(held, sizeof held, f->held_bytes);
    rill__number_grouped(number, sizeof number, f->full_tokens);
    rill__outputf("%-12s %s of keys (%s) and values (%s) in all layers\n", "a token", bytes,
                  rill_type_name(f->used.key_type), rill_type_name(f->used.value_type));
    rill__outputf("%-12s %s for %s tokens, and growing\n", "full cache", full, number);
    if (f->used.method == RILL_METHOD_DENSE)
        rill__outputf("%-12s %s for %u tokens; then it is full", "this cache", held,
                      f->used.window);
    else if (f->used.sinks)
        rill__outputf("%-12s %s for %u sinks and a window of %u, for ever", "sink cache", held,
                      f->used.sinks, f->used.window);
    else
        rill__outputf("%-12s %s for a window of %u, for ever", "this cache", held, f->used.window);
    if (saved_share(f) > 0) rill__outputf(": %.1f%% less", 100 * saved_share(f));
    rill__outputf("\n");
    if (f->real) {
        rill__number_bytes(held, sizeof held, f->bytes.cache);
        rill__number_bytes(bytes, sizeof bytes, f->bytes.total);
        rill__outputf("%-12s %s of cache, with room for a chunk of %u tokens; %s in all\n",
                      "a stream", held, f->used.chunk, bytes);
    }
    if (f->has_fits) rill__fits_print(&f->fits);
}

static int run(rill__settings *s) {
    rill__session session = {0};
    rill_error err = {0};
    facts f = {0};
    rill_status status = gather(s, &session, &f, &err);
    if (status == RILL_OK && s->json)
        print_machine(&f, &session);
    else if (status == RILL_OK)
        print_people(&f);
    rill__session_close(&session);
    return status == RILL_OK ? rill__output_status() : rill__report(&err);
}

const rill__command rill__command_info = {
    .name = "info",
    .bit = RILL_FOR_INFO,
    .usage = "[MODEL] [--shape SHAPE] [options]",
    .summary = "what a model is, and what a stream of it costs",
    .details =
        "Sizes, trained context, recommended window, and the memory of a stream with the given\n"
        "sinks and window against a cache that keeps --tokens. --shape asks about a model one\n"
        "does not have: layers=24,hidden=768,heads=12[,kv=12,head_dim=64,context=2048].\n"
        "With --device also how many streams fit beside a model on that device: of the\n"
        "window that is asked for (or recommended), and of usual ones.",
    .max_positionals = 1,
    .run = run,
};
