// SPDX-License-Identifier: MIT
// Many streams of one model in many threads at once: each writes what it would write alone, and
// the model lives until the last of them is closed. Run it under the thread sanitizer.
#include "rill/rill.h"

#include "support/open.h"
#include "support/random_model.h"
#include "support/tensors.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { VOCAB = 160, STREAMS = 4, READ = 70, WRITTEN = 60 };

typedef struct job {
    rill_model *model;
    uint64_t seed;
    pthread_barrier_t *opened;  // NULL: alone
    rill_token written[WRITTEN];
    float logits[VOCAB];
    rill_status status;
    rill_error err;
} job;

static rill_status work(job *j) {
    rill_stream *s = NULL;
    rill_stream_options o;
    rill_stream_options_default(&o);
    o.window = 28;
    rill_status status = rill_stream_open(j->model, &o, &s, &j->err);
    if (j->opened) pthread_barrier_wait(j->opened);
    rill_sampling sampling;
    rill_sampling_default(&sampling);
    sampling.seed = j->seed;
    if (status == RILL_OK) status = rill_stream_set_sampling(s, &sampling, &j->err);
    rill_token tokens[READ];
    test_random r = {j->seed};
    for (int i = 0; i < READ; i++) tokens[i] = (rill_token)test_random_between(&r, 0, VOCAB - 1);
    if (status == RILL_OK) status = rill_stream_feed(s, tokens, READ, NULL, &j->err);
    for (int i = 0; i < WRITTEN && status == RILL_OK; i++) {
        status = rill_stream_sample(s, &j->written[i], &j->err);
        if (status == RILL_OK) status = rill_stream_feed(s, &j->written[i], 1, NULL, &j->err);
    }
    const float *logits;
    if (status == RILL_OK) status = rill_stream_logits(s, &logits, &j->err);
    if (status == RILL_OK) memcpy(j->logits, logits, sizeof j->logits);
    rill_stream_close(&s);
    return status;
}

static void *work_in_thread(void *argument) {
    job *j = argument;
    j->status = work(j);
    return NULL;
}

static rill_model *open_model(unsigned threads) {
    return test_model(test_data("golden/qwen3"), &(rill_device_options){.threads = threads});
}

static void streams_in_threads_write_what_they_write_alone(void **state) {
    (void)state;
    static job alone[STREAMS], together[STREAMS];
    for (uint64_t i = 0; i < STREAMS; i++) {
        rill_model *model = open_model(1);
        alone[i] = (job){.model = model, .seed = i + 1};
        if (work(&alone[i]) != RILL_OK) fail_msg("%s", alone[i].err.message);
        rill_model_close(&model);
    }
    rill_model *model = open_model(3);
    pthread_t threads[STREAMS];
    pthread_barrier_t opened;
    pthread_barrier_init(&opened, NULL, STREAMS + 1);
    for (uint64_t i = 0; i < STREAMS; i++) {
        together[i] = (job){.model = model, .seed = i + 1, .opened = &opened};
        assert_int_equal(pthread_create(&threads[i], NULL, work_in_thread, &together[i]), 0);
    }
    pthread_barrier_wait(&opened);
    rill_model_close(&model);  // the streams keep it
    for (size_t i = 0; i < STREAMS; i++) {
        pthread_join(threads[i], NULL);
        if (together[i].status != RILL_OK) fail_msg("%s", together[i].err.message);
        assert_memory_equal(together[i].written, alone[i].written, sizeof alone[i].written);
        assert_memory_equal(together[i].logits, alone[i].logits, sizeof alone[i].logits);
    }
    pthread_barrier_destroy(&opened);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_in_threads_write_what_they_write_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
