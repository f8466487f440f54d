#!/bin/sh
# Completes the first file system: with a program and the libraries that it needs, and with a scenario
# and the files beside it.
#
# usage: pack.sh DIR PROGRAM SCENARIO-FOLDER OUT
#        SCENARIO-FOLDER has scenario.sh, which runs as the only thing in the machine
set -eu
dir=$1 program=$2 scenario=$3 out=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/more/bin"
# The program does not change between scenarios: it is packed once.
packed=$dir/program-$(stat -c '%Y-%s-%i' "$program").gz
if [ ! -s "$packed" ]; then
  cp "$program" "$work/more/bin/tasuki"
  strip "$work/more/bin/tasuki" 2>/dev/null || true
  ldd "$program" | awk '$3 ~ /^\//{print $3} $1 ~ /^\//{print $1}' | while read -r library; do
    mkdir -p "$work/more$(dirname "$library")"
    cp -L "$library" "$work/more$library"
  done
  (cd "$work/more" && find . | cpio -o -H newc --quiet) | gzip -1 > "$work/packed"
  rm -f "$dir"/program-*.gz
  mv "$work/packed" "$packed"
fi
(cd "$scenario" && find . | cpio -o -H newc --quiet) | gzip -1 > "$work/scenario.gz"
cat "$dir/base.gz" "$packed" "$work/scenario.gz" > "$out"
