#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs into a folder of its own, and uses what lies there: the command with the model it finds
# beside itself, and a program built with pkg-config against the shared and the static library.
#
#   install_test.sh BUILD EXAMPLE.c
set -eu
build=$1 example=$2
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
# The command must find its own model; meson must not build in the middle of a test.
unset RILL_MODEL
meson install -C "$build" --destdir "$root" --no-rebuild --quiet

one() {
    found=$(find "$root" -path "$1" | head -1)
    [ -n "$found" ] || { echo "nothing was installed as $1"; exit 1; }
    echo "$found"
}
command=$(one '*/bin/rill')
model=$(one '*/share/rill/*.gguf')
one '*/include/rill/rill.h' >/dev/null
one '*/man/man1/rill.1' >/dev/null
one '*/bash-completion/completions/rill' >/dev/null
one '*/site-functions/_rill' >/dev/null
"$command" run -n 20 --seed 1 >"$root/by-command"
[ -s "$root/by-command" ] || { echo "the installed command wrote nothing"; exit 1; }

PKG_CONFIG_PATH=$(dirname "$(one '*/pkgconfig/rill.pc')")
PKG_CONFIG_SYSROOT_DIR=$root
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR
libraries=$(dirname "$(one '*/librill.so')")
# shellcheck disable=SC2046
${CC:-cc} -o "$root/shared" "$example" $(pkg-config --cflags --libs rill)
# shellcheck disable=SC2046
${CC:-cc} -o "$root/static" "$example" $(pkg-config --cflags rill) "$libraries/librill.a" \
    $(pkg-config --static --libs rill | sed 's/-lrill//')
LD_LIBRARY_PATH=$libraries "$root/shared" "$model" 'It was' 20 >"$root/by-shared"
"$root/static" "$model" 'It was' 20 >"$root/by-static"
[ -s "$root/by-shared" ] || { echo "the example wrote nothing"; exit 1; }
cmp "$root/by-shared" "$root/by-static"
