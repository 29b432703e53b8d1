// SPDX-License-Identifier: MIT
// The thread pool: every piece once, whatever the number of threads, callers and processors.
#include "base/pool.h"

#include "base/processors.h"

#include "failing_allocator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_PIECES = 1000 };

// A kernel of 8192 processor ids, three of them this process's, while `many_ids`; else the real
// one.
static bool many_ids;

int sched_getaffinity(pid_t pid, size_t bytes, cpu_set_t *set) {
    enum { KERNEL_BYTES = 8192 / 8 };
    memset(set, 0, bytes);
    if (!many_ids) return syscall(SYS_sched_getaffinity, pid, bytes, set) < 0 ? -1 : 0;
    if (bytes < KERNEL_BYTES) {
        errno = EINVAL;
        return -1;
    }
    CPU_SET_S(5, bytes, set);
    CPU_SET_S(1500, bytes, set);
    CPU_SET_S(8191, bytes, set);
    return 0;
}

typedef struct job {
    unsigned n_threads;
    atomic_uint times[MAX_PIECES];  // how often each piece was done
    atomic_bool thread_out_of_range;
} job;

static void count_piece(void *context, size_t piece, unsigned thread) {
    job *j = context;
    atomic_fetch_add_explicit(&j->times[piece], 1, memory_order_relaxed);
    if (thread >= j->n_threads) atomic_store(&j->thread_out_of_range, true);
}

static void run_and_check(rill__pool *pool, job *j, size_t n_pieces) {
    memset(j, 0, sizeof *j);
    j->n_threads = rill__pool_threads(pool);
    rill__pool_run(pool, n_pieces, count_piece, j);
    for (size_t i = 0; i < MAX_PIECES; i++)
        assert_int_equal(atomic_load_explicit(&j->times[i], memory_order_relaxed), i < n_pieces);
    assert_false(atomic_load(&j->thread_out_of_range));
}

static void every_piece_runs_once(void **state) {
    (void)state;
    static const size_t counts[] = {0, 1, 2, 3, 7, 64, MAX_PIECES};
    job *j = malloc(sizeof *j);
    for (unsigned n_threads = 1; n_threads <= 9; n_threads++) {
        rill__pool *pool;
        assert_int_equal(rill__pool_open(n_threads, &pool, NULL), RILL_OK);
        assert_int_equal(rill__pool_threads(pool), n_threads);
        for (size_t i = 0; i < 200; i++) run_and_check(pool, j, counts[i % 7]);
        rill__pool_close(&pool);
        assert_null(pool);
    }
    free(j);
}

static void a_pool_that_slept_wakes(void **state) {
    (void)state;
    rill__pool *pool;
    job *j = malloc(sizeof *j);
    assert_int_equal(rill__pool_open(2, &pool, NULL), RILL_OK);
    for (unsigned gap_us = 1; gap_us < 3000; gap_us += gap_us / 4 + 1) {
        usleep(gap_us);
        run_and_check(pool, j, 16);
    }
    rill__pool_close(&pool);
    free(j);
}

// Plain memory on purpose: what the pieces write must be visible to the caller, and what the caller
// writes to the pieces, without anybody's atomics but the pool's.
typedef struct plain {
    uint64_t in;
    uint64_t out[8];
} plain;

static void add_piece(void *context, size_t piece, unsigned thread) {
    (void)thread;
    plain *p = context;
    p->out[piece] = p->in + piece;
}

static void results_are_visible_to_the_caller(void **state) {
    (void)state;
    rill__pool *pool;
    assert_int_equal(rill__pool_open(3, &pool, NULL), RILL_OK);
    plain p = {0};
    for (uint64_t round = 1; round <= 20000; round++) {
        p.in = round;
        rill__pool_run(pool, 8, add_piece, &p);
        for (size_t i = 0; i < 8; i++) assert_int_equal(p.out[i], round + i);
    }
    rill__pool_close(&pool);
}

typedef struct caller {
    rill__pool *pool;
    bool right;
} caller;

static void *call_often(void *argument) {
    caller *c = argument;
    plain p = {0};
    c->right = true;
    for (uint64_t round = 1; round <= 2000; round++) {
        p.in = round;
        rill__pool_run(c->pool, 1 + round % 8, add_piece, &p);
        for (size_t i = 0; i < 1 + round % 8; i++) c->right &= p.out[i] == round + i;
    }
    return NULL;
}

static void callers_queue(void **state) {
    (void)state;
    caller callers[4];
    pthread_t threads[4];
    rill__pool *pool;
    assert_int_equal(rill__pool_open(2, &pool, NULL), RILL_OK);
    for (int i = 0; i < 4; i++) {
        callers[i] = (caller){.pool = pool};
        assert_int_equal(pthread_create(&threads[i], NULL, call_often, &callers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_true(callers[i].right);
    }
    rill__pool_close(&pool);
}

static double processor_seconds(void) {
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec + 1e-9 * (double)used.tv_nsec;
}

static void an_idle_pool_costs_nothing(void **state) {
    (void)state;
    rill__pool *pool;
    job *j = malloc(sizeof *j);
    assert_int_equal(rill__pool_open(8, &pool, NULL), RILL_OK);
    run_and_check(pool, j, 64);
    usleep(20000);
    double before = processor_seconds();
    usleep(200000);
    assert_true(processor_seconds() - before < 0.02);
    rill__pool_close(&pool);
    free(j);
}

static void open_survives_lack_of_memory(void **state) {
    (void)state;
    failing_allocator_install();
    bool fired = true;
    uint64_t n = 0;
    while (fired) {
        rill__pool *pool = NULL;
        rill_error err;
        failing_allocator_arm(++n, true);
        rill_status status = rill__pool_open(2, &pool, &err);
        fired = failing_allocator_disarm();
        assert_int_equal(status, fired ? RILL_ENOMEM : RILL_OK);
        rill__pool_close(&pool);
        assert_int_equal(failing_allocator_live_blocks(), 0);
    }
    assert_int_equal(n, 3);
    failing_allocator_remove();
}

static void running_allocates_nothing(void **state) {
    (void)state;
    rill__pool *pool;
    plain p = {0};
    assert_int_equal(rill__pool_open(2, &pool, NULL), RILL_OK);
    uint64_t before = rill__allocation_count();
    for (int i = 0; i < 100; i++) rill__pool_run(pool, 8, add_piece, &p);
    assert_int_equal(rill__allocation_count(), before);
    rill__pool_close(&pool);
    rill_error err;
    assert_int_equal(rill__pool_open(100000, &pool, &err), RILL_EINVAL);
    assert_non_null(strstr(err.message, "100000"));
}

static void note_mask(void *context, size_t piece, unsigned thread) {
    (void)piece;
    if (thread == 0) {
        usleep(1000);  // leaves a piece for the worker
        return;
    }
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    if (sigismember(&mask, SIGINT) == 1) atomic_store((atomic_bool *)context, true);
}

static void workers_leave_signals_to_the_program(void **state) {
    (void)state;
    atomic_bool blocked = false;
    sigset_t mask;
    rill__pool *pool;
    assert_int_equal(rill__pool_open(2, &pool, NULL), RILL_OK);
    for (int i = 0; i < 1000 && !atomic_load(&blocked); i++)
        rill__pool_run(pool, 2, note_mask, &blocked);
    assert_true(atomic_load(&blocked));
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    assert_int_equal(sigismember(&mask, SIGINT), 0);
    rill__pool_close(&pool);
}

static void count_respects_the_affinity_mask(void **state) {
    (void)state;
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    unsigned n = rill__cpu_count();
    assert_in_range(n, 1, (unsigned)CPU_COUNT(&before));
    CPU_ZERO(&one);
    for (size_t i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &before)) CPU_SET(i, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(rill__cpu_count(), 1);
    rill__pool *pool;
    job *j = malloc(sizeof *j);
    // Two threads on one processor: right, if not fast.
    assert_int_equal(rill__pool_open(2, &pool, NULL), RILL_OK);
    for (int i = 0; i < 300; i++) run_and_check(pool, j, 9);
    rill__pool_close(&pool);
    free(j);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
}

static void count_knows_kernels_of_many_processors(void **state) {
    (void)state;
    unsigned quota = rill__quota_count("/proc/self/cgroup", "/sys/fs/cgroup");
    many_ids = true;
    unsigned n = rill__cpu_count();
    many_ids = false;
    assert_int_equal(n, quota && quota < 3 ? quota : 3);
}

static void put(const char *directory, const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void quotas_of_all_groups_above_count(void **state) {
    (void)state;
    char root[] = "/tmp/rill-groups-XXXXXX", groups[64], command[96];
    assert_non_null(mkdtemp(root));
    snprintf(groups, sizeof groups, "%s/list", root);
    put(root, "list", "0::/user/app\n");
    assert_int_equal(rill__quota_count(groups, root), 0);
    put(root, "user/app/cpu.max", "max 100000\n");
    assert_int_equal(rill__quota_count(groups, root), 0);
    put(root, "user/cpu.max", "250000 100000\n");
    assert_int_equal(rill__quota_count(groups, root), 3);
    put(root, "user/app/cpu.max", "50000 100000\n");
    assert_int_equal(rill__quota_count(groups, root), 1);
    put(root, "list",
        "0::/../elsewhere\n");  // another name space: only the mount itself can be seen
    put(root, "cpu.max", "400000 100000\n");
    assert_int_equal(rill__quota_count(groups, root), 4);
    // Version 1, beside an unlimited version 2.
    put(root, "list", "5:cpuset:/\n3:cpu,cpuacct:/box\n0::/none\nnonsense\n");
    put(root, "cpu.max", "max 100000\n");
    put(root, "cpu,cpuacct/box/cpu.cfs_quota_us", "-1\n");
    put(root, "cpu,cpuacct/box/cpu.cfs_period_us", "100000\n");
    assert_int_equal(rill__quota_count(groups, root), 0);
    put(root, "cpu,cpuacct/box/cpu.cfs_quota_us", "150000\n");
    assert_int_equal(rill__quota_count(groups, root), 2);
    assert_int_equal(rill__quota_count("/nonexistent", root), 0);
    snprintf(command, sizeof command, "rm -r %s", root);
    assert_int_equal(system(command), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_piece_runs_once),
        cmocka_unit_test(a_pool_that_slept_wakes),
        cmocka_unit_test(results_are_visible_to_the_caller),
        cmocka_unit_test(callers_queue),
        cmocka_unit_test(an_idle_pool_costs_nothing),
        cmocka_unit_test(open_survives_lack_of_memory),
        cmocka_unit_test(running_allocates_nothing),
        cmocka_unit_test(workers_leave_signals_to_the_program),
        cmocka_unit_test(count_respects_the_affinity_mask),
        cmocka_unit_test(count_knows_kernels_of_many_processors),
        cmocka_unit_test(quotas_of_all_groups_above_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
