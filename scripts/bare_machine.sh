#!/bin/bash
# SPDX-License-Identifier: MIT
# Makes a bare Debian 12 in a folder, clones this repository into it and times the two commands of the
# README there. Wants root, debootstrap and about 3 GB.
#
#   scripts/bare_machine.sh FOLDER [PACKAGES.tar]
#
# FOLDER is made anew; when all went well, only its logs stay. PACKAGES.tar, if it exists, saves
# debootstrap's downloads (see its --make-tarball). Packages come from $MIRROR, or from where this
# machine gets its own. Prints a line for `make test` and one for `make run`: the seconds that each
# took, and what the installation of packages took of them.
set -euo pipefail
root=${1:?a folder to make the machine in}
packages=${2:-}
repository=$(cd "$(dirname "$0")/.." && pwd)

[ "$(id -u)" -eq 0 ] || { echo "bare_machine: run as root: it makes a chroot" >&2; exit 1; }
[ ! -e "$root" ] || { echo "bare_machine: $root: there already: name a new folder" >&2; exit 1; }
mirror=${MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Codename: bookworm' |
    sed -n 1p)}
mkdir -p "$root"
root=$(cd "$root" && pwd)
mounted=
trap 'for place in $mounted; do umount "$place" || true; done' EXIT

# What a person has who was told of a repository: git to clone it, make for the first command.
echo "bare_machine: debootstrap" >&2
options=(--variant=minbase)
[ -f "$packages" ] && options+=("--unpack-tarball=$(realpath "$packages")")
debootstrap "${options[@]}" bookworm "$root/bare" ${mirror:+"$mirror"} >"$root/bare.log" 2>&1 ||
    { tail -5 "$root/bare.log" >&2; exit 1; }
cp /etc/resolv.conf "$root/bare/etc/resolv.conf"
git -C "$repository" bundle create --quiet "$root/bare/root/rill.bundle" HEAD

# inside NAME COMMAND: runs it in a machine, with nothing of this one's environment.
inside() {
    local place status=0
    mount -t proc proc "$root/$1/proc"
    mounted="$root/$1/proc"
    mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/$1/dev/pts"
    mounted="$root/$1/dev/pts $mounted"
    chroot "$root/$1" /usr/bin/env -i HOME=/root TERM=dumb LANG=C.UTF-8 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin bash -euc "$2" ||
        status=$?
    for place in $mounted; do umount "$place"; done
    mounted=
    return $status
}
inside bare 'apt-get -q update && apt-get -q -y install --no-install-recommends git make &&
    apt-get clean && cd && git -c advice.detachedHead=false clone --quiet rill.bundle rill' \
    >>"$root/bare.log" 2>&1 || { tail -5 "$root/bare.log" >&2; exit 1; }

# timed NAME COMMAND PATTERN: each command has a machine of its own; its output goes to FOLDER/NAME.log.
timed() {
    cp -a "$root/bare" "$root/$1"
    local start=$SECONDS took closing
    inside "$1" "cd && cd rill && $2" >"$root/$1.log" 2>&1 || failed=1
    took=$((SECONDS - start))
    closing=$(grep -E "$3" "$root/$1.log" | tail -1)
    echo "$2: $took s: ${closing:-failed, see $root/$1.log}"
    sed -n 's/^bootstrap: done in/    of these for packages:/p' "$root/$1.log"
}
failed=0
timed test 'make test' '^[0-9]+ passed, [0-9]+ failed$'
timed run 'make run ARGS="-n 50"' '^rill: stopped'
[ $failed -ne 0 ] || rm -rf --one-file-system "$root/bare" "$root/test" "$root/run"
exit $failed
