#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs what is missing to build rill on Debian 12; says and does nothing when all is there.
#
#   scripts/bootstrap.sh [build] [lint] [fuzz]
#
# build: compiler, Meson, libraries. lint: clang and clang-format, for the second compiler's opinion
# and the layout of the sources. fuzz: clang and its run-time library.
set -eu

packages=
# need PACKAGE CHECK...: notes the package unless the check succeeds.
need() {
    package=$1
    shift
    "$@" >/dev/null 2>&1 || packages="$packages $package"
}
have() { command -v "$1"; }
found() { [ -e "$1" ]; }

[ $# -gt 0 ] || set -- build
for part in "$@"; do
    case $part in
    build)
        need gcc have gcc
        need libc6-dev test -e /usr/include/stdio.h
        need make have make
        need git have git
        need python3 have python3
        need meson have meson
        need ninja-build have ninja
        need pkg-config have pkg-config
        # One question to pkg-config answers for all libraries; if it says no, apt sorts out which.
        need "libjansson-dev libpcre2-dev libutf8proc-dev libxxhash-dev libedit-dev libcmocka-dev" \
            pkg-config --exists jansson libpcre2-8 libutf8proc libxxhash libedit cmocka
        need libcurl4-openssl-dev pkg-config --exists libcurl
        need gnuplot-nox have gnuplot
        ;;
    lint)
        need clang-14 have clang-14
        need clang-format-14 have clang-format-14
        ;;
    fuzz)
        need clang-14 have clang-14
        need libclang-rt-14-dev found /usr/lib/llvm-14/lib/clang/*/lib/linux/libclang_rt.fuzzer*
        ;;
    *)
        echo "bootstrap: $part: no such part; there are build, lint and fuzz" >&2
        exit 2
        ;;
    esac
done
[ -n "$packages" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "bootstrap: missing:$packages: these are Debian's names; install them with your system's tool" >&2
    exit 1
fi
as_root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "bootstrap: missing:$packages: run 'apt-get install$packages' as root (no sudo here)" >&2
        exit 1
    fi
    as_root=sudo
fi
echo "bootstrap: installing$packages" >&2
apt="$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 -o Acquire::Retries=3"
start=$(date +%s)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The package lists may be old or absent, and mirrors fail for moments: fetch the lists when installing
# without does not work, and try again after a while.
for pause in 0 0 10 30; do
    [ "$pause" -eq 0 ] || echo "bootstrap: apt-get failed; trying again in $pause s" >&2
    sleep "$pause"
    # shellcheck disable=SC2086
    if $apt install --no-install-recommends $packages >"$log" 2>&1; then
        echo "bootstrap: done in $(($(date +%s) - start)) s; $(grep '^Fetched' "$log" || true)" >&2
        exit 0
    fi
    $apt update >>"$log" 2>&1 || true
done
cat "$log" >&2
echo "bootstrap: apt-get could not install$packages" >&2
exit 1
