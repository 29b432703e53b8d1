// SPDX-License-Identifier: MIT
// Counts the processors that pay: the affinity mask, cut down by the control groups' CPU quotas.
// Source: the kernel's Documentation/admin-guide/cgroup-v2.rst (cpu.max) and
// Documentation/scheduler/sched-bwc.rst (cpu.cfs_quota_us, cpu.cfs_period_us).
#include "base/processors.h"

#include "base/pool.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

enum {
    MAX_LINE = 1024,
    NO_LIMIT = 1 << 16,  // more than any machine's processors
};

// Reads up to two whole numbers from a small file; returns how many there were.
static int read_numbers(const char *path, long long *first, long long *second) {
    FILE *file = fopen(path, "re");
    if (!file) return 0;
    int n = fscanf(file, "%lld %lld", first, second);
    fclose(file);
    return n < 0 ? 0 : n;
}

// The limit that one group sets, NO_LIMIT if none. "max" of version 2 reads as no number at all.
static unsigned group_limit(const char *directory, bool second_version) {
    char path[MAX_LINE + 32];
    long long quota = 0, period = 0, unused;
    if (second_version) {
        snprintf(path, sizeof path, "%s/cpu.max", directory);
        if (read_numbers(path, &quota, &period) != 2) return NO_LIMIT;
    } else {
        snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", directory);
        if (read_numbers(path, &quota, &unused) < 1) return NO_LIMIT;
        snprintf(path, sizeof path, "%s/cpu.cfs_period_us", directory);
        if (read_numbers(path, &period, &unused) < 1) return NO_LIMIT;
    }
    if (quota <= 0 || period <= 0 || quota / period >= NO_LIMIT) return NO_LIMIT;
    return (unsigned)(quota / period) + (quota % period != 0);
}

// The least limit of the group at `mount` + `group` and those above it. Inside a container the
// files of its own group may be at the mount itself while the list names the host's path: the walk
// ends there.
static unsigned hierarchy_limit(const char *mount, const char *group, bool second_version) {
    char directory[MAX_LINE];
    int length = snprintf(directory, sizeof directory, "%s%s", mount, group);
    if (length < 0 || (size_t)length >= sizeof directory) return NO_LIMIT;
    unsigned least = NO_LIMIT;
    for (;;) {
        unsigned limit = group_limit(directory, second_version);
        least = limit < least ? limit : least;
        char *slash = strrchr(directory, '/');
        if (!slash || (size_t)(slash - directory) < strlen(mount)) return least;
        *slash = '\0';
    }
}

// Whether "cpu" is in a list such as "cpu,cpuacct".
static bool names_cpu(const char *controllers) {
    for (const char *at = controllers; *at;) {
        size_t n = strcspn(at, ",");
        if (n == 3 && memcmp(at, "cpu", 3) == 0) return true;
        at += n + (at[n] == ',');
    }
    return false;
}

unsigned rill__quota_count(const char *groups, const char *root) {
    FILE *file = fopen(groups, "re");
    if (!file) return 0;
    unsigned least = NO_LIMIT;
    char line[MAX_LINE];
    while (fgets(line, sizeof line, file)) {
        // number:controllers:path, the controllers empty in version 2
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group) continue;
        controllers++;
        *group++ = '\0';
        bool second_version = *controllers == '\0';
        if (!second_version && !names_cpu(controllers)) continue;
        char mount[MAX_LINE];
        snprintf(mount, sizeof mount, "%s%s%s", root, second_version ? "" : "/", controllers);
        unsigned limit = hierarchy_limit(mount, group, second_version);
        least = limit < least ? limit : least;
    }
    fclose(file);
    return least == NO_LIMIT ? 0 : least;
}

// The processors of the affinity mask, 0 if it cannot be read. The kernel refuses (EINVAL) a set
// that is smaller than its own, so one cpu_set_t's 1024 are not enough for every kernel; none is
// built for more than 8192 (NR_CPUS).
static unsigned affinity_count(void) {
    cpu_set_t sets[16];
    if (sched_getaffinity(0, sizeof sets, sets) != 0) return 0;
    return (unsigned)CPU_COUNT_S(sizeof sets, sets);
}

unsigned rill__cpu_count(void) {
    unsigned n = affinity_count();
    if (n == 0) n = 1;
    unsigned quota = rill__quota_count("/proc/self/cgroup", "/sys/fs/cgroup");
    if (quota && quota < n) n = quota;
    return n;
}
