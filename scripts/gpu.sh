#!/bin/bash
# SPDX-License-Identifier: MIT
# Tests and measures the CUDA backend on a machine with a GPU, in less than ten minutes. Wants programs
# that were built, bash, and tests/data; neither a compiler nor packages.
#
#   scripts/gpu.sh test BUILD           tests (a skip and exit status 0 where there is no GPU)
#   scripts/gpu.sh sanitize BUILD       the same operations, small, under compute-sanitizer
#   scripts/gpu.sh bench BUILD          a table of tokens a second
#   scripts/gpu.sh all BUILD            all three
#   scripts/gpu.sh carry BUILD FOLDER   makes FOLDER what another machine needs in BUILD's place:
#                                       programs without symbols, and the libraries they want
#
# DEVICE=cuda:1 chooses another GPU; SEED=N the random shapes; BENCH="--streams 1,64" replaces what is
# measured. Each test's output is kept in $OUT (default: BUILD/gpu).
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

# The tests that know RILL_TEST_DEVICE.
tests="cuda/agreement cuda/stage cuda/step cuda/choose kernels/attend kernels/backend kernels/experts model/golden model/oracle
    model/divergence stream/batch stream/snapshot stream/draft stream/scaling"

usage() {
    sed -n 's/^#   /    /p' "$0" >&2
    exit 2
}
[[ $# -ge 2 ]] || usage
what=$1 build=$2
[[ -x $build/src/cli/rill ]] || { echo "gpu: $build/src/cli/rill: not there: build first" >&2; exit 1; }
build=$(cd "$build" && pwd)

carry() {
    local to=$1 test program
    mkdir -p "$to/src/cli" "$to/src/backend/cuda" "$to/lib"
    cp "$build/src/backend/cuda/librill-cuda.so" "$to/src/backend/cuda/" || exit 1
    for test in $tests; do
        mkdir -p "$to/tests/${test%/*}"
        strip -o "$to/tests/${test}_test" "$build/tests/${test}_test" || exit 1
    done
    strip -o "$to/src/cli/rill" "$build/src/cli/rill" || exit 1
    # Everything but what every system has.
    for program in "$to/src/cli/rill" "$to"/tests/*/*_test; do
        ldd "$program" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p'
    done | sort -u | grep -v '/lib\(c\|m\|pthread\|dl\|rt\|gcc_s\)\.so' | xargs -r cp -L -t "$to/lib"
    du -sh "$to"
}

if [[ $what == carry ]]; then
    [[ $# -eq 3 ]] || usage
    carry "$3"
    exit
fi

[[ -d $build/lib ]] && export LD_LIBRARY_PATH=$build/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export RILL_TEST_DEVICE=${DEVICE:-cuda} RILL_TEST_DATA=$PWD/tests/data RILL_MODEL=$PWD/models
[[ -n ${RILL_CUDA_LIBRARY:-} ]] || export RILL_CUDA_LIBRARY=$build/src/backend/cuda/librill-cuda.so
[[ -e $RILL_CUDA_LIBRARY ]] || {
    echo "skipped: this build has no CUDA backend ($RILL_CUDA_LIBRARY): it takes nvcc"
    exit 0
}
out=${OUT:-$build/gpu}
mkdir -p "$out"
rill=$build/src/cli/rill

# What stands in the way of a GPU is said by the library; no GPU is no failure.
if ! said=$("$rill" info --device "$RILL_TEST_DEVICE" 2>&1 >"$out/info"); then
    if [[ $said == *"no GPU can be used"* ]]; then
        echo "skipped: $said"
        exit 0
    fi
    echo "gpu: $said" >&2
    exit 1
fi

failed=0
# step NAME COMMAND...: one line; the whole of it in $out, and its end here if it fails.
step() {
    local name=$1 start=$SECONDS status
    shift
    timeout 300 "$@" >"$out/${name//[\/ ]/-}" 2>&1
    status=$?
    if [[ $status -eq 0 ]]; then
        printf '%-40s ok      %4d s\n' "$name" $((SECONDS - start))
    else
        failed=$((failed + 1))
        printf '%-40s FAILED  %4d s (exit status %d)\n' "$name" $((SECONDS - start)) $status
        grep -v '^\[ *\(RUN\|OK\)' "$out/${name//[\/ ]/-}" | tail -n 25 | sed 's/^/    /'
    fi
}

run_tests() {
    local test
    for test in $tests; do
        if [[ $test == model/divergence && ! -d tests/data/trained ]]; then
            echo "skipped: $test: tests/data/trained is not here"
        elif [[ $test == cuda/* ]]; then
            step $test "$build/tests/${test}_test" "${SEED:-1}"
        else
            step $test "$build/tests/${test}_test"
        fi
    done
}

run_sanitizer() {
    local tool sanitizer
    sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
    if [[ ! -x $sanitizer ]]; then
        echo "skipped: compute-sanitizer: not on this machine"
        return
    fi
    for tool in memcheck racecheck; do
        step "$tool agreement" "$sanitizer" --tool $tool --error-exitcode 9 \
            "$build/tests/cuda/agreement_test" "${SEED:-1}" small
        step "$tool oracle" "$sanitizer" --tool $tool --error-exitcode 9 \
            "$build/tests/kernels/backend_test"
        step "$tool stage" "$sanitizer" --tool $tool --error-exitcode 9 \
            "$build/tests/cuda/stage_test" "${SEED:-1}" small
        step "$tool attend" "$sanitizer" --tool $tool --error-exitcode 9 \
            "$build/tests/kernels/attend_test" small
        step "$tool step" "$sanitizer" --tool $tool --error-exitcode 9 \
            "$build/tests/cuda/step_test" "${SEED:-1}" small
    done
}

run_bench() {
    local model
    "$rill" bench --device "$RILL_TEST_DEVICE" --runs 3 || failed=$((failed + 1))
    if [[ -n ${BENCH:-} ]]; then
        # shellcheck disable=SC2086
        "$rill" bench batch --device "$RILL_TEST_DEVICE" $BENCH || failed=$((failed + 1))
        return
    fi
    for model in llama-1b llama-7b; do
        "$rill" bench --device "$RILL_TEST_DEVICE" --synthetic $model --type f16,q8_0,q4_0 --runs 3 ||
            failed=$((failed + 1))
    done
    "$rill" bench batch --device "$RILL_TEST_DEVICE" --synthetic llama-1b --type q8_0 \
        --streams 1,8,32,128 --runs 3 || failed=$((failed + 1))
}

case $what in
test) run_tests ;;
sanitize) run_sanitizer ;;
bench) run_bench ;;
all)
    run_tests
    run_sanitizer
    run_bench
    ;;
*) usage ;;
esac
[[ $failed -eq 0 ]] || { echo "gpu: $failed failed; whole outputs are in $out" >&2; exit 1; }
