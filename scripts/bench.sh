#!/bin/bash
# SPDX-License-Identifier: MIT
# Measures what docs/performance.md shows: kernels, products, and tokens a second of the shipped model
# and of a synthetic one of 1.1 G parameters, per tier and number of threads. Wants a quiet machine and
# some minutes. Prints the page's tables; with PAGE set, also puts them into that page.
#
#   [ROUNDS=3] [THREADS="1 16"] [PAGE=docs/performance.md] scripts/bench.sh [BUILD]
#
# All configurations take turns, ROUNDS times, so that a machine that grows hot or busy harms no one of
# them; every `rill bench` measures the roof in its own run. Raw figures stay in BUILD/bench-figures.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
rounds=${ROUNDS:-3}
out=$build/bench-figures
rm -rf "$out"
mkdir -p "$out"

# measure CASE...: one `rill bench`, its JSON lines kept.
measure() {
    printf 'bench: round %s of %s: rill bench %s\n' "$round" "$rounds" "$*" >&2
    "$build/rill" bench "$@" --runs 3 --json >>"$out/rill.jsonl"
}

{
    lscpu | sed -n 's/^Model name: *//p;s/^CPU(s): */CPUs: /p;s/^Thread(s) per core: */threads per core: /p'
    lscpu | sed -n 's/^\(L[123]d\{0,1\}\) cache: */\1: /p'
    uname -sr
    "${CC:-gcc}" --version | sed -n 1p
} >"$out/machine"
echo "bench: kernels" >&2
"$build/tests/kernels/kernels_test" --bench >"$out/kernels"
"$build/tests/kernels/throughput" >"$out/products"

all=$(nproc)
counts=${THREADS:-$([ "$all" -eq 1 ] || echo 1) $all}
for round in $(seq "$rounds"); do
    for tier in avx2 avx512 amx; do
        for count in $counts; do
            measure --cpu $tier --threads "$count"
            measure --cpu $tier --threads "$count" --synthetic llama-1b --type q8_0
        done
    done
done
scripts/bench_table.py "$out" ${PAGE:+"$PAGE"}
