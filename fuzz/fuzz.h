// SPDX-License-Identifier: MIT
// What the fuzz targets share. Each target hands its bytes to one reader of foreign files and then
// uses what the reader accepted, as a program would; a sanitizer's report is the failure.
#ifndef RILL_FUZZ_H
#define RILL_FUZZ_H

#include "rill/rill.h"

#include "tokenizer/tokenizer.h"

#include <stddef.h>
#include <stdint.h>

// libFuzzer's entry point, one a target.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
// Called once, before it: requests for much memory are refused from then on.
int LLVMFuzzerInitialize(int *argc, char ***argv);

// Writes a file into this process's own directory in memory (/dev/shm), replacing one of that name,
// and returns its path: in one of four static buffers. The directory goes when the process ends.
const char *fuzz_file(const char *name, const void *data, size_t size);
// That directory.
const char *fuzz_directory(void);
// Where the tiny model lies: $RILL_FUZZ_MODEL, else fuzz/model of the tree that this was built
// from.
const char *fuzz_model(void);
// Copies a file of the tiny model's there.
void fuzz_copy_model_file(const char *name);
// A device with reference kernels and one thread, opened once.
rill_device *fuzz_device(void);

// Uses an accepted tokenizer: encodes a text of many scripts and the file's own beginning, decodes
// what came out and tokens outside the vocabulary, asks for everything it knows. Frees nothing of
// t.
void fuzz_use_tokenizer(const rill__tokenizer *t, const uint8_t *data, size_t size);
// Uses an accepted model: opens a small stream, reads a few tokens past its capacity, writes a few.
// Does nothing for models of more than a few megabytes.
void fuzz_use_model(rill_model *model);

#endif
