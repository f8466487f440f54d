#!/usr/bin/env bash
# Makes the base image of the lab from Debian's packages, under the name that Containerfile asks for:
# for machines that reach a Debian mirror and no image registry. Needs root and debootstrap.
#
#   deploy/base-image.sh [NAME [SUITE [MIRROR]]]
#   deploy/base-image.sh --unless-there        only where it is not there and no registry has it; what went
#                                              wrong is the last line then
set -euo pipefail
wanted=""
if [ "${1:-}" = --unless-there ]; then
    wanted=yes
    shift
fi
name="${1:-debian:bookworm-slim}"
suite="${2:-bookworm}"
mirror="${3:-http://deb.debian.org/debian}"

if [ -n "$wanted" ]; then
    docker image inspect "$name" >/dev/null 2>&1 && exit 0
    docker pull --quiet "$name" 2>/dev/null && exit 0
    echo "$name cannot be pulled"
fi
command -v debootstrap >/dev/null || { echo "debootstrap is missing: apt-get install debootstrap" >&2; exit 1; }
[ "$(id -u)" = 0 ] || { echo "debootstrap needs root" >&2; exit 1; }
root="$(mktemp -d)"
trap 'rm -rf "$root" "$root.log"' EXIT

echo "making $name from $mirror ($suite): about a minute"
debootstrap --variant=minbase "$suite" "$root" "$mirror" >"$root.log" 2>&1 || {
    tail -n 20 "$root.log" >&2
    exit 1
}
# What the stock slim image leaves out too.
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,info}/*
find "$root/usr/share/locale" -mindepth 1 -maxdepth 1 ! -name en -exec rm -rf {} +
printf 'path-exclude /usr/share/%s/*\n' doc man info >"$root/etc/dpkg/dpkg.cfg.d/slim"
tar -C "$root" -c . | docker import -c 'CMD ["bash"]' - "$name"
