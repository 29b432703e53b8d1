// SPDX-License-Identifier: MIT
// How many processors the system's control groups leave to this process.
#ifndef RILL_BASE_PROCESSORS_H
#define RILL_BASE_PROCESSORS_H

#include "base/base.h"

// The least CPU quota, rounded up to whole processors, of this process's control group and all
// groups above it, versions 1 and 2; 0 if none has a limit or nothing can be read. `groups` is the
// list of groups ("/proc/self/cgroup"), `root` where the hierarchies are mounted
// ("/sys/fs/cgroup"). Threads: any.
unsigned rill__quota_count(const char *groups, const char *root);

#endif
