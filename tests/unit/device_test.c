// SPDX-License-Identifier: MIT
// Names of devices, and what is said of a CUDA backend that is not there, is no backend, or is of
// another build. tests/support/fake_cuda.c stands for the right one.
#include "backend/cuda_library.h"
#include "backend/open.h"
#include "rill/rill.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void use_library(const char *path) {
    setenv("RILL_CUDA_LIBRARY", path, 1);
    unsetenv("RILL_FAKE_GPUS");
}

static void expect_opened(const rill_device_options *options, const char *description) {
    rill_error err;
    rill__backend *be = NULL;
    if (rill__backend_open(options, &be, &err) != RILL_OK) fail_msg("%s", err.message);
    size_t length = strlen(description);
    if (strncmp(be->ops->describe(be), description, length) != 0)
        fail_msg("'%s', not '%s'", be->ops->describe(be), description);
    be->ops->close(be);
}

static void expect_refused(const char *device, rill_status status, const char *part) {
    rill_error err = {RILL_OK, ""};
    rill__backend *be = NULL;
    const rill_device_options options = {.device = device};
    assert_int_equal(rill__backend_open(&options, &be, &err), status);
    assert_int_equal(err.status, status);
    assert_null(be);
    if (!strstr(err.message, part)) fail_msg("'%s' has no '%s'", err.message, part);
}

static void names_are_read_whole(void **state) {
    (void)state;
    static const char *const wrong[] = {"",       "CPU",     "gpu",      "cuda:",   "cuda0",
                                        "cuda:x", "cuda:-1", "cuda:256", "cuda:1,", "cuda:0x1"};
    use_library(FAKE_CUDA);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        expect_refused(wrong[i], RILL_EINVAL, "auto, cpu, cuda and cuda:0 to cuda:255 are known");
    expect_refused("cuda:x", RILL_EINVAL, "device: there is no 'cuda:x'");
}

static void a_gpu_is_opened_by_number(void **state) {
    (void)state;
    use_library(FAKE_CUDA);
    expect_opened(&(rill_device_options){.device = "cuda"}, "cuda:0 fake");
    expect_opened(&(rill_device_options){.device = "cuda:1"}, "cuda:1 fake");
    expect_opened(&(rill_device_options){.device = "cuda", .exact = true}, "cuda:0 fake, exact");
    expect_opened(&(rill_device_options){.device = "cpu"}, "cpu ");
    expect_refused("cuda:2", RILL_EINVAL, "there is no such GPU");
}

static void auto_takes_the_gpu_and_falls_back(void **state) {
    (void)state;
    use_library(FAKE_CUDA);
    expect_opened(&(rill_device_options){.device = "auto"}, "cuda:0 fake");
    expect_opened(&(rill_device_options){0}, "cuda:0 fake");
    expect_opened(&(rill_device_options){.exact = true}, "cpu ");
    expect_opened(&(rill_device_options){.cpu = "ref"}, "cpu ");
    setenv("RILL_FAKE_GPUS", "0", 1);
    expect_opened(&(rill_device_options){.device = "auto"}, "cpu ");
    expect_refused("cuda", RILL_EUNSUPPORTED, "no GPU can be used");
    use_library("/nonexistent/librill-cuda.so");
    expect_opened(&(rill_device_options){.device = "auto"}, "cpu ");
}

static void what_is_wrong_with_a_library_is_said(void **state) {
    (void)state;
    char right[RILL_CUDA_VERSION_BYTES];
    rill__cuda_library_version(RILL_VERSION, right);
    use_library("/nonexistent/librill-cuda.so");
    expect_refused("cuda", RILL_EUNSUPPORTED, "RILL_CUDA_LIBRARY: /nonexistent/librill-cuda.so: ");
    expect_refused("cuda", RILL_EUNSUPPORTED, "the path of a librill-cuda.so is right");
    use_library(FAKE_CUDA_OTHER);
    expect_refused("cuda", RILL_EUNSUPPORTED, "is of version 0.0.9; ");
    expect_refused("cuda", RILL_EUNSUPPORTED, right);
    expect_opened(&(rill_device_options){.device = "auto"}, "cpu ");
    use_library(FAKE_CUDA_NOTHING);
    expect_refused("cuda", RILL_EUNSUPPORTED, "has no rill__cuda_backend_version");
}

// The system's loader would die of it.
static void a_library_cut_short_is_refused(void **state) {
    (void)state;
    char path[] = "cut-XXXXXX", some[4096];
    int cut = mkstemp(path);
    FILE *whole = fopen(FAKE_CUDA, "rb");
    assert_true(cut >= 0 && whole);
    size_t n = fread(some, 1, sizeof some, whole);
    assert_int_equal(write(cut, some, n), n);
    (void)fclose(whole);
    close(cut);
    use_library(path);
    expect_refused("cuda", RILL_EUNSUPPORTED, "is cut short");
    expect_opened(&(rill_device_options){.device = "auto"}, "cpu ");
    unlink(path);
}

static void a_public_device_tells_its_backend(void **state) {
    (void)state;
    rill_error err;
    rill_device *device = NULL;
    use_library(FAKE_CUDA);
    const rill_device_options options = {.device = "cuda:1"};
    assert_int_equal(rill_device_open(&options, &device, &err), RILL_OK);
    assert_string_equal(rill_device_describe(device), "cuda:1 fake");
    uint64_t total, available;
    assert_true(rill_device_memory(device, &total, &available));
    assert_int_equal(total, 0);
    rill_device_close(&device);
    assert_int_equal(rill_device_open(&(rill_device_options){.device = "tpu"}, &device, &err),
                     RILL_EINVAL);
    assert_null(device);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_read_whole),
        cmocka_unit_test(a_gpu_is_opened_by_number),
        cmocka_unit_test(auto_takes_the_gpu_and_falls_back),
        cmocka_unit_test(what_is_wrong_with_a_library_is_said),
        cmocka_unit_test(a_library_cut_short_is_refused),
        cmocka_unit_test(a_public_device_tells_its_backend),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
