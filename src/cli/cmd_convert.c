// SPDX-License-Identifier: MIT
// rill convert: any model that rill reads, to a GGUF file.
#include "cli/command.h"
#include "cli/session.h"
#include "cli/terminal.h"

#include "base/base.h"
#include "base/file.h"

static int run(rill__settings *s) {
    rill_error err = {0};
    char *source = NULL;
    rill__bar bar = {.label = "converting", .unit = "bytes"};
    if (s->n_positionals != 2)
        return rill__usage("convert: wants a model and a file to write: rill convert SOURCE "
                           "TARGET.gguf --type q8_0");
    rill_status status = rill__find_model(s->positionals[0], &source, &err);
    // Writing onto what is read would replace a model by a coarser one of itself.
    if (status == RILL_OK && rill__same_file(source, s->positionals[1]))
        status = rill__fail(&err, RILL_EINVAL, "%s: is the model itself: name another TARGET",
                            s->positionals[1]);
    const rill_convert_options options = {
        .type = s->type, .mix = s->mix, .threads = s->device.threads};
    if (status == RILL_OK)
        status = rill_convert(source, s->positionals[1], &options, rill__progress, &bar, &err);
    rill__free(source);
    return status == RILL_OK ? RILL_EXIT_OK : rill__report(&err);
}

const rill__command rill__command_convert = {
    .name = "convert",
    .bit = RILL_FOR_CONVERT,
    .usage = "SOURCE TARGET.gguf [--type q8_0]",
    .summary = "write a model as a GGUF file",
    .details =
        "SOURCE is a Hugging Face directory or a .gguf file. TARGET appears whole or not at all.\n"
        "The name of a type means every matrix in that type; q4_K_M and the like give more bits "
        "to\n"
        "matrices that matter more, the same ones as llama.cpp (its Q2_K is q2_K_M). Vectors stay\n"
        "f32. Rows that do not divide into blocks of 256 get a type with blocks of 32, or f16.",
    .max_positionals = 2,
    .run = run,
};
