#!/bin/bash
# SPDX-License-Identifier: MIT
# Makes a bare Debian 12 in a folder, clones this repository into it and times the two commands of the
# README there. Wants root and debootstrap; the machine's own package sources are used inside.
#
#   scripts/bare_machine.sh FOLDER [PACKAGES.tar]
#
# FOLDER is made anew. PACKAGES.tar, if it exists, saves debootstrap's downloads (see --make-tarball).
# Prints a line for `make test` and one for `make run`, with the seconds that each took.
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
debootstrap "${options[@]}" bookworm "$root/bare" >"$root/bare.log" 2>&1 ||
    { tail -5 "$root/bare.log" >&2; exit 1; }
cp /etc/resolv.conf "$root/bare/etc/resolv.conf"
for sources in sources.list sources.list.d/debian.sources; do
    [ -f "/etc/apt/$sources" ] || continue
    rm -f "$root/bare/etc/apt/sources.list"
    cp "/etc/apt/$sources" "$root/bare/etc/apt/$sources"
done
git -C "$repository" bundle create --quiet "$root/bare/root/rill.bundle" HEAD

# inside NAME COMMAND: runs it in a machine, with nothing of this one's environment.
inside() {
    mount -t proc proc "$root/$1/proc"
    local status=0
    chroot "$root/$1" /usr/bin/env -i HOME=/root TERM=dumb LANG=C.UTF-8 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin bash -euc "$2" ||
        status=$?
    umount "$root/$1/proc"
    return $status
}
inside bare 'apt-get -q update && apt-get -q -y install --no-install-recommends git make &&
    apt-get clean && cd && git -c advice.detachedHead=false clone --quiet rill.bundle rill' \
    >>"$root/bare.log" 2>&1 || { tail -5 "$root/bare.log" >&2; exit 1; }

# timed NAME COMMAND LINE: each command has a machine of its own; its output goes to FOLDER/NAME.log.
timed() {
    cp -a "$root/bare" "$root/$1"
    local start=$SECONDS closing
    inside "$1" "cd && cd rill && $2" >"$root/$1.log" 2>&1 || failed=1
    closing=$(grep -E "$3" "$root/$1.log" | tail -1)
    echo "$2: $((SECONDS - start)) s: ${closing:-failed, see $root/$1.log}"
}
failed=0
timed test 'make test' '^[0-9]+ passed, [0-9]+ failed$'
timed run 'make run ARGS="-n 50"' '^rill: stopped'
exit $failed
