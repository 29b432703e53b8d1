#!/bin/bash
# SPDX-License-Identifier: MIT
# Makes a bare Debian 12 in a folder, clones this repository into it and times the two commands of the
# README there. Wants root and debootstrap; the machine's own package sources are used inside.
#
#   scripts/bare_machine.sh FOLDER [PACKAGES.tar]
#
# FOLDER is made anew. PACKAGES.tar, if it exists, saves debootstrap's downloads (see --make-tarball).
# The last line is one of `make test` and one of `make run`, with the seconds that each took.
set -euo pipefail
root=${1:?a folder to make the machine in}
packages=${2:-}
repository=$(cd "$(dirname "$0")/.." && pwd)

[ "$(id -u)" -eq 0 ] || { echo "bare_machine: run as root: it makes a chroot" >&2; exit 1; }
[ ! -e "$root" ] || { echo "bare_machine: $root: there already: name a new folder" >&2; exit 1; }
mkdir -p "$root"
root=$(cd "$root" && pwd)

# What a person has who was told of a repository: git to clone it, make for the first command.
echo "bare_machine: debootstrap" >&2
options=(--variant=minbase)
[ -f "$packages" ] && options+=("--unpack-tarball=$(realpath "$packages")")
debootstrap "${options[@]}" bookworm "$root" >"$root.log" 2>&1 ||
    { tail -5 "$root.log" >&2; exit 1; }
cp /etc/resolv.conf "$root/etc/resolv.conf"
for debian in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do
    [ -f "$debian" ] || continue
    rm -f "$root/etc/apt/sources.list"
    cp "$debian" "$root/etc/apt/${debian#/etc/apt/}"
done
trap 'umount "$root/proc" "$root/dev" 2>/dev/null || true' EXIT
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"

# inside COMMAND: runs it in the bare machine, with nothing of this one's environment.
inside() {
    chroot "$root" /usr/bin/env -i HOME=/root TERM=dumb LANG=C.UTF-8 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin bash -euc "$1"
}
inside 'apt-get -q update && apt-get -q -y install --no-install-recommends git make' \
    >>"$root.log" 2>&1 || { tail -5 "$root.log" >&2; exit 1; }
git -C "$repository" bundle create --quiet "$root/root/rill.bundle" HEAD
inside 'cd && git clone --quiet rill.bundle rill'
# Packages are fetched anew by each command that is timed, as on a machine that never had them.
inside 'apt-get clean'

# timed NAME COMMAND: its output goes to ROOT-NAME.log, its time to $seconds.
timed() {
    local start=$SECONDS
    inside "cd && cd rill && $2" >"$root-$1.log" 2>&1 || failed=1
    seconds=$((SECONDS - start))
}
failed=0
timed test 'make test'
echo "make test: $seconds s: $(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$root-test.log" || echo failed)"
timed run 'make run ARGS="-n 50"'
echo "make run ARGS=\"-n 50\": $seconds s: $(grep '^rill: stopped' "$root-run.log" || echo failed)"
exit $failed
