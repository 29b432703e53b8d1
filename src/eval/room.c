// SPDX-License-Identifier: MIT
// Memory that is left, as Linux tells it: /proc/meminfo and the limits of the mounted control
// group.
#include "eval/room.h"

#include <inttypes.h>
#include <stdio.h>

// The first whole number of a file; false if there is none ("max").
static bool read_number(const char *path, uint64_t *out) {
    FILE *file = fopen(path, "re");
    if (!file) return false;
    bool ok = fscanf(file, "%" SCNu64, out) == 1;
    fclose(file);
    return ok;
}

static uint64_t group_room(const char *limit, const char *usage) {
    uint64_t most, used;
    if (!read_number(limit, &most) || !read_number(usage, &used)) return UINT64_MAX;
    return most > used ? most - used : 0;
}

static uint64_t system_room(void) {
    char line[256];
    uint64_t kib, room = UINT64_MAX;
    FILE *file = fopen("/proc/meminfo", "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "MemAvailable: %" SCNu64 " kB", &kib) == 1) room = kib * 1024;
    if (file) fclose(file);
    return room;
}

uint64_t rill__room(void) {
    uint64_t least = system_room();
    uint64_t groups[] = {
        group_room("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        group_room("/sys/fs/cgroup/memory/memory.limit_in_bytes",
                   "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    };
    for (size_t i = 0; i < 2; i++) least = groups[i] < least ? groups[i] : least;
    return least;
}

rill_status rill__room_check(const rill_model *model, const rill_stream_options *options,
                             rill_stream_options *resolved, rill_error *err) {
    rill_stream_bytes bytes;
    rill_status status = rill_stream_estimate(model, options, resolved, &bytes, err);
    uint64_t room = rill__room();
    if (status != RILL_OK || bytes.total <= room) return status;
    const double gib = 1024.0 * 1024 * 1024;
    return rill__fail(err, RILL_ENOMEM, "out of memory: takes %.1f GiB, and %.1f GiB are free",
                      (double)bytes.total / gib, (double)room / gib);
}
