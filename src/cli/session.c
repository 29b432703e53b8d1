// SPDX-License-Identifier: MIT
// Finds and opens what the subcommands work with.
#include "cli/session.h"

#include "cli/command.h"
#include "cli/measured_sinks.h"

#include "base/file.h"
#include "base/number.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// The only .gguf file in a folder, in *out; false if there is none, *several if there are more.
static bool only_gguf(const char *folder, char **out, bool *several) {
    DIR *directory = opendir(folder);
    if (!directory) return false;
    char *found = NULL;
    size_t n = 0;
    for (struct dirent *entry; (entry = readdir(directory));) {
        size_t length = strlen(entry->d_name);
        if (length <= 5 || strcmp(entry->d_name + length - 5, ".gguf") != 0) continue;
        n++;
        rill__free(found);
        found = rill__path_join(folder, entry->d_name);
    }
    closedir(directory);
    *several = n > 1;
    if (n == 1 && found) {
        *out = found;
        return true;
    }
    rill__free(found);
    return false;
}

// Beside the command: installed, or in the build folder of a source tree.
static rill_status shipped_model(char **out, rill_error *err) {
    static const char *const places[] = {"../share/rill", "../models", "../../../models"};
    char path[PATH_MAX + 32];
    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX);
    if (length > 0) {
        path[length] = 0;
        char *slash = strrchr(path, '/');
        for (size_t i = 0; slash && i < sizeof places / sizeof *places; i++) {
            bool several = false;
            snprintf(slash + 1, sizeof path - (size_t)(slash + 1 - path), "%s", places[i]);
            if (only_gguf(path, out, &several)) return RILL_OK;
        }
    }
    return rill__fail(err, RILL_EINVAL,
                      "no model: none came with this command: name a .gguf file or a Hugging Face "
                      "directory, or set RILL_MODEL");
}

rill_status rill__find_tokenizer(const char *name, char **out, rill_error *err) {
    if (!name) {
        name = getenv("RILL_MODEL");
        if (!name || !*name) return shipped_model(out, err);
    }
    if (rill__directory_exists(name)) {
        bool several = false;
        char *config = rill__path_join(name, "config.json");
        bool is_model = config && rill__file_exists(config);
        rill__free(config);
        if (!is_model && only_gguf(name, out, &several)) return RILL_OK;
        if (!is_model && several)
            return rill__fail(err, RILL_EINVAL, "%s: several .gguf files: name one", name);
    }
    *out = rill__strdup(name);
    return *out ? RILL_OK : rill__fail_memory(err, "a path", strlen(name) + 1);
}

// A folder without config.json is nobody's model: say so, not that a file is missing.
static rill_status check_folder(const char *path, rill_error *err) {
    if (!rill__directory_exists(path)) return RILL_OK;
    char *config = rill__path_join(path, "config.json");
    if (!config) return rill__fail_memory(err, "a path", strlen(path));
    bool is_model = rill__file_exists(config);
    rill__free(config);
    if (is_model) return RILL_OK;
    return rill__fail(err, RILL_EIO, "%s: no model in it: neither config.json nor a .gguf file",
                      path);
}

rill_status rill__find_model(const char *name, char **out, rill_error *err) {
    rill_status status = rill__find_tokenizer(name, out, err);
    if (status == RILL_OK) status = check_folder(*out, err);
    if (status == RILL_OK) return RILL_OK;
    rill__free(*out);
    *out = NULL;
    return status;
}

// By its path, or with random weights.
static rill_status open_model(rill__session *session, const rill__settings *s, const char *path,
                              rill_error *err) {
    return path ? rill_model_open(session->device, path, &session->model, err)
                : rill_model_open_synthetic(session->device, s->synthetic, s->type, s->mix,
                                            s->sampling.seed, &session->model, err);
}

// Who names a library for the GPU that is there means it: that it cannot be used is said, though
// the CPU computes. (A path of nothing keeps rill from looking for one.)
static void warn_of_library(const rill_device *device) {
    const char *library = getenv("RILL_CUDA_LIBRARY");
    uint64_t total, available;
    if (!library || !rill__file_exists(library) || rill_device_memory(device, &total, &available))
        return;
    rill_device_options options;
    rill_device *gpu = NULL;
    rill_error err;
    rill_device_options_default(&options);
    options.device = "cuda";
    if (rill_device_open(&options, &gpu, &err) != RILL_OK)
        rill__warn("%s; the CPU computes instead", err.message);
    rill_device_close(&gpu);
}

// Weights that a GPU has no room for go to the CPU, unless that GPU was asked for.
static rill_status open_device_and_model(rill__session *session, const rill__settings *s,
                                         const char *path, rill_error *err) {
    rill_device_options cpu = s->device;
    uint64_t total, available;
    rill_status status = rill_device_open(&s->device, &session->device, err);
    if (status == RILL_OK) status = open_model(session, s, path, err);
    bool any = !s->device.device || strcmp(s->device.device, "auto") == 0;
    if (status == RILL_OK && any) warn_of_library(session->device);
    if (status != RILL_ENOMEM || !any || !rill_device_memory(session->device, &total, &available))
        return status;
    rill__warn("%s; the CPU computes instead", err->message);
    rill_device_close(&session->device);
    cpu.device = "cpu";
    status = rill_device_open(&cpu, &session->device, err);
    return status == RILL_OK ? open_model(session, s, path, err) : status;
}

// What is written must not be what is read: the model, or the text.
static rill_status check_outputs(const rill__settings *s, const char *model, rill_error *err) {
    const struct {
        const char *option, *path;
    } outputs[] = {{"--save", s->save}, {"--out", s->out}, {"--csv", s->csv}};
    const char *const inputs[] = {model, s->file, s->token_file};
    for (size_t o = 0; o < sizeof outputs / sizeof *outputs; o++)
        for (size_t i = 0; outputs[o].path && i < sizeof inputs / sizeof *inputs; i++)
            if (inputs[i] && rill__same_file(outputs[o].path, inputs[i]))
                return rill__fail(
                    err, RILL_EINVAL,
                    "%s: %s is what is read: it stays as it is; another name is right",
                    outputs[o].option, outputs[o].path);
    return RILL_OK;
}

rill_status rill__session_open(rill__session *session, const rill__settings *s, const char *model,
                               rill_error *err) {
    char *path = NULL;
    rill_status status = rill__find_model(model, &path, err);
    if (status == RILL_OK) status = check_outputs(s, path, err);
    if (status == RILL_OK) status = open_device_and_model(session, s, path, err);
    rill__free(path);
    if (status != RILL_OK) return status;
    rill_model_get_info(session->model, &session->info);
    const char *warning;
    for (size_t i = 0; (warning = rill_model_warning(session->model, i)); i++)
        rill__warn("%s", warning);
    return RILL_OK;
}

rill_status rill__session_open_synthetic(rill__session *session, const rill__settings *s,
                                         unsigned command, rill_error *err) {
    if (!s->synthetic && rill__options_given(s, command, "type"))
        return rill__fail(err, RILL_EINVAL,
                          "--type: a model has its own: this is for --synthetic, and rill convert");
    if (!s->synthetic)
        return rill__session_open(session, s, s->n_positionals ? s->positionals[0] : NULL, err);
    if (s->n_positionals)
        return rill__fail(err, RILL_EINVAL, "--synthetic: %.80s is given too: one of them",
                          s->positionals[0]);
    rill_status status = open_device_and_model(session, s, NULL, err);
    if (status == RILL_OK) rill_model_get_info(session->model, &session->info);
    return status;
}

// A snapshot brings its own stream: options that would shape another one are refused.
static rill_status refuse_with_resume(const rill__settings *s, unsigned command, rill_error *err) {
    static const char *const shaping[] = {"sinks", "window", "attention",    "cache-type",
                                          "evict", "pin",    "sink-scale",   "sink-cap",
                                          "chunk", "system", "over-context", NULL};
    for (size_t i = 0; shaping[i]; i++)
        if (rill__options_given(s, command, shaping[i]))
            return rill__fail(err, RILL_EINVAL,
                              "--%s: a resumed stream keeps its own: leave it out, or --resume",
                              shaping[i]);
    return RILL_OK;
}

static bool sampling_given(const rill__settings *s, unsigned command) {
    static const char *const names[] = {"temperature",
                                        "top-p",
                                        "top-k",
                                        "min-p",
                                        "repetition-penalty",
                                        "presence-penalty",
                                        "frequency-penalty",
                                        "penalty-window",
                                        "logit-bias",
                                        "seed",
                                        NULL};
    for (size_t i = 0; names[i]; i++)
        if (rill__options_given(s, command, names[i])) return true;
    return false;
}

void rill__warn_past_context(const rill__session *session, const rill_stream_options *o) {
    uint32_t trained = session->info.trained_context;
    uint64_t capacity = (uint64_t)o->sinks + o->window;
    if (!trained || capacity <= trained || o->over_context) return;
    if (o->sinks >= trained)
        rill__warn("--sinks: %u leave no room for recent tokens: the model was trained on %u at "
                   "once: expect nonsense; 4 is right for most",
                   o->sinks, trained);
    else
        rill__warn("--window: the model sees %llu tokens at once but was trained on %u: expect "
                   "nonsense; at most --window %u is right",
                   (unsigned long long)capacity, trained, trained - o->sinks);
}

// In the words of the command line: which option asked for so much.
static rill_status too_large(const rill__session *session, const rill__settings *s,
                             rill_error *err) {
    rill_stream_options used;
    rill_stream_bytes bytes;
    rill_error unused;
    char total[32];
    if (rill_stream_estimate(session->model, &s->stream, &used, &bytes, &unused) != RILL_OK)
        return RILL_ENOMEM;
    rill__number_bytes(total, sizeof total, bytes.total);
    return rill__fail(err, RILL_ENOMEM, "--window: %u sinks and %u tokens take %s: out of memory",
                      used.sinks, used.window, total);
}

rill_status rill__session_resume(rill__session *session, rill__settings *s, unsigned command,
                                 const char *path, rill_error *err) {
    rill_stream *loaded = NULL;
    rill_status status = rill_stream_load(session->model, path, &loaded, err);
    if (status == RILL_OK && sampling_given(s, command))
        status = rill_stream_set_sampling(loaded, &s->sampling, err);
    if (status != RILL_OK) {
        rill_stream_close(&loaded);
        return status;
    }
    rill_stream_close(&session->stream);
    session->stream = loaded;
    return RILL_OK;
}

rill_status rill__session_stream(rill__session *session, rill__settings *s, unsigned command,
                                 bool silent, rill_error *err) {
    rill_status status;
    s->sampling.bias = s->bias;
    s->sampling.n_bias = s->n_bias;
    if (s->resume) {
        status = refuse_with_resume(s, command, err);
        return status == RILL_OK ? rill__session_resume(session, s, command, s->resume, err)
                                 : status;
    }
    if (s->measured_sinks) rill__measured_sinks_apply(&session->info, &s->stream, s->json);
    status = rill_stream_open(session->model, &s->stream, &session->stream, err);
    if (status == RILL_ENOMEM) status = too_large(session, s, err);
    if (status == RILL_OK) status = rill_stream_set_sampling(session->stream, &s->sampling, err);
    if (status == RILL_OK && !silent)
        rill__warn_past_context(session, rill_stream_get_options(session->stream));
    return status;
}

void rill__session_close(rill__session *session) {
    rill_stream_close(&session->stream);
    rill_model_close(&session->model);
    rill_device_close(&session->device);
}
