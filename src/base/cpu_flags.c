// SPDX-License-Identifier: MIT
// What the processor can do: CPUID, and XGETBV for what the system saves. Source: Intel SDM
// volume 2. Tiles have to be asked for: Linux, Documentation/arch/x86/xstate.rst. On Arm the system
// says it: Linux, Documentation/arch/arm64/elf_hwcaps.rst.
#include "base/cpu_flags.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    unsigned mask;
} tiers[] = {
    {"ref", 0},
#if defined(__aarch64__)
    {"neon", RILL_CPU_NEON | RILL_CPU_DOTPROD | RILL_CPU_I8MM},
#elif defined(__x86_64__)
    {"avx2", RILL_CPU_AVX2 | RILL_CPU_AVX_VNNI},
    {"avx512", RILL_CPU_AVX2 | RILL_CPU_AVX_VNNI | RILL_CPU_AVX512 | RILL_CPU_AVX512_VNNI |
                   RILL_CPU_AVX512_BF16},
    {"amx", ~0u},
#endif
};

#if defined(__x86_64__)
#include <cpuid.h>

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };  // of <asm/prctl.h> since 5.16

// The permission is the process's: threads that begin later have it too. Refused where a thread's
// signal stack is too small for the tiles.
static bool tiles_permitted(void) {
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}
#else
static bool tiles_permitted(void) {
    return false;
}
#endif

static uint64_t saved_state(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return ((uint64_t)high << 32) | low;
}

static bool bit(unsigned word, int n) {
    return word >> n & 1;
}

unsigned rill__cpu_flags(void) {
    unsigned a, b, c, d, a1 = 0, b1, c1, d1;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !bit(c, 27)) return 0;
    bool fma = bit(c, 12), f16c = bit(c, 29);
    uint64_t state = saved_state();
    bool ymm = (state & 0x06) == 0x06, zmm = (state & 0xe6) == 0xe6;
    bool tiles = (state & 0x60000) == 0x60000;
    unsigned flags = 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    if (a >= 1) (void)__get_cpuid_count(7, 1, &a1, &b1, &c1, &d1);
    if (bit(b, 5) && fma && f16c && ymm) flags |= RILL_CPU_AVX2;
    if (flags && bit(a1, 4)) flags |= RILL_CPU_AVX_VNNI;
    bool avx512 = bit(b, 16) && bit(b, 17) && bit(b, 30) && bit(b, 31) && zmm;
    if (!(flags & RILL_CPU_AVX2) || !avx512) return flags;
    flags |= RILL_CPU_AVX512;
    if (bit(c, 11)) flags |= RILL_CPU_AVX512_VNNI;
    if (bit(a1, 5)) flags |= RILL_CPU_AVX512_BF16;
    // The tier of tiles stands on all of those below.
    const unsigned below = RILL_CPU_AVX512_VNNI | RILL_CPU_AVX512_BF16;
    if ((flags & below) != below || !bit(d, 24) || !tiles || !tiles_permitted()) return flags;
    if (bit(d, 25)) flags |= RILL_CPU_AMX_INT8;
    if (bit(d, 22)) flags |= RILL_CPU_AMX_BF16;
    return flags;
}

void rill__cpu_model(char *out, size_t capacity) {
    unsigned words[13] = {0};
    for (unsigned i = 0; i < 3; i++)
        if (!__get_cpuid(0x80000002 + i, &words[4 * i], &words[4 * i + 1], &words[4 * i + 2],
                         &words[4 * i + 3]))
            break;
    char *name = (char *)words;
    while (*name == ' ') name++;
    snprintf(out, capacity, "%s", *name ? name : "x86-64");
    for (size_t n = strlen(out); n > 0 && out[n - 1] == ' '; n--) out[n - 1] = '\0';
}
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>

enum { HAS_ASIMD = 1 << 1, HAS_ASIMDDP = 1 << 20, HAS_I8MM = 1 << 13 };  // of <asm/hwcap.h>

unsigned rill__cpu_flags(void) {
    unsigned long first = getauxval(AT_HWCAP), second = getauxval(AT_HWCAP2);
    unsigned flags = 0;
    if (!(first & HAS_ASIMD)) return flags;
    flags |= RILL_CPU_NEON;
    if (first & HAS_ASIMDDP) flags |= RILL_CPU_DOTPROD;
    if (second & HAS_I8MM) flags |= RILL_CPU_I8MM;
    return flags;
}

// Arm's processors have numbers, not names.
void rill__cpu_model(char *out, size_t capacity) {
    snprintf(out, capacity, "arm64");
}
#else
unsigned rill__cpu_flags(void) {
    return 0;
}

void rill__cpu_model(char *out, size_t capacity) {
    snprintf(out, capacity, "processor");
}
#endif

bool rill__cpu_mask(const char *name, unsigned *mask) {
    for (size_t i = 0; i < sizeof tiers / sizeof *tiers; i++) {
        if (strcmp(name, tiers[i].name) == 0) {
            *mask = tiers[i].mask;
            return true;
        }
    }
    return false;
}

const char *rill__cpu_tier(unsigned flags) {
    if (flags & RILL_CPU_NEON) return "neon";
    if ((flags & RILL_CPU_AMX) == RILL_CPU_AMX) return "amx";
    return flags & RILL_CPU_AVX512 ? "avx512" : flags & RILL_CPU_AVX2 ? "avx2" : "ref";
}
