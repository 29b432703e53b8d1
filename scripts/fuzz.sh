#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds the fuzz targets with clang and runs each over its seeds.
#
#   scripts/fuzz.sh [BUILD [TARGET ...]]      FUZZ_SECONDS=60 each; BUILD is build-fuzz by default
#
# What a run finds beyond the seeds stays in BUILD/fuzz/found/TARGET and serves the next one; inputs that
# fail go to BUILD/fuzz/crashes. Exit status: 0, or 1 if a target failed.
set -eu
cd "$(dirname "$0")/.."
build=${1:-build-fuzz}
[ $# -gt 0 ] && shift
targets=${*:-config gguf lines safetensors sentencepiece snapshot tokenizer}
seconds=${FUZZ_SECONDS:-60}

[ -f "$build/build.ninja" ] || CC=${CLANG:-clang-14} meson setup "$build" -Dfuzz=true -Db_lundef=false
ninja -C "$build" $(for target in $targets; do echo "fuzz/${target}_fuzz"; done)
mkdir -p "$build/fuzz/crashes"

# gguf and safetensors carry weights; the rest is text or small.
max_length() {
    case $1 in
        gguf | safetensors) echo 65536 ;;
        *) echo 16384 ;;
    esac
}

failed=0
for target in $targets; do
    found=$build/fuzz/found/$target
    log=$build/fuzz/$target.log
    mkdir -p "$found"
    verdict=passed
    # A slow input is a finding too: readers must be fast on small files.
    nice -n 19 "$build/fuzz/${target}_fuzz" "$found" "fuzz/corpus/$target" -max_total_time="$seconds" \
        -max_len="$(max_length "$target")" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$build/fuzz/crashes/$target-" >"$log" 2>&1 || verdict=FAILED
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -1)
    coverage=$(sed -n 's/.* cov: \([0-9]*\) ft: \([0-9]*\).*/\1 edges, \2 features/p' "$log" | tail -1)
    echo "$target: ${executions:-0} executions in $seconds s, ${coverage:-no coverage}: $verdict"
    if [ "$verdict" = FAILED ]; then
        failed=1
        grep -E 'ERROR|SUMMARY|runtime error|Test unit written' "$log" | head -5 || true
    fi
done
exit $failed
