#!/bin/sh
# SPDX-License-Identifier: MIT
# Measures what docs/performance.md shows: kernels, products, and tokens a second of the shipped model
# and of a synthetic one of 1.1 G parameters. Wants a quiet machine and some minutes.
#
#   scripts/bench.sh [BUILD]
set -eu
build=${1:-build}

echo "== machine"
uname -srm
lscpu | grep -E '^(Model name|CPU\(s\)|L[123]|Thread)' || true
uptime
echo "== kernels: each tier beside the reference"
"$build/tests/kernels/kernels_test" --bench
echo "== products: share of the roof measured in the same run"
"$build/tests/kernels/throughput"
echo "== the shipped model"
"$build/rill" bench
echo "== synthetic llama-1b, q8_0"
"$build/rill" bench --synthetic llama-1b --type q8_0
