#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds all of rill for 64-bit Arm with Debian's cross compiler, and runs the kernel tests under
# qemu-user: as a processor that has every extension, and as one that has none. Says what is missing,
# and installs nothing.
#
#   scripts/arm.sh [BUILD]
set -eu
build=${1:-build-arm}
libraries="libjansson-dev libpcre2-dev libutf8proc-dev libxxhash-dev libedit-dev libcmocka-dev libcurl4-openssl-dev"

missing=
for need in meson:meson ninja:ninja-build pkg-config:pkg-config qemu-aarch64:qemu-user \
    aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu; do
    command -v "${need%%:*}" >/dev/null || missing="$missing ${need#*:}"
done
PKG_CONFIG_LIBDIR=/usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig pkg-config --exists \
    jansson libpcre2-8 libutf8proc libxxhash libedit cmocka libcurl 2>/dev/null ||
    for library in $libraries; do missing="$missing $library:arm64"; done
if [ -n "$missing" ]; then
    echo "arm: missing:$missing: as root, 'dpkg --add-architecture arm64 && apt-get update &&" \
        "apt-get install --no-install-recommends$missing'" >&2
    exit 1
fi

[ -f "$build/build.ninja" ] || meson setup "$build" --cross-file scripts/aarch64.ini >/dev/null
ninja -C "$build"
# An emulated processor takes minutes; without extensions only products of whole numbers differ.
echo "arm: as a processor with every extension"
QEMU_CPU=max scripts/run_tests.py "$build" --suite kernels --slower 10
echo "arm: as a cortex-a53"
QEMU_CPU=cortex-a53 scripts/run_tests.py "$build" kernels backend project --slower 10
