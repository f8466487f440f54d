#!/bin/sh
# Completes the first file system: with programs and the libraries that they need, and with a scenario
# and the files beside it.
#
# usage: pack.sh DIR SCENARIO-FOLDER OUT PROGRAM...
#        SCENARIO-FOLDER has scenario.sh, which runs as the only thing in the machine
set -eu
dir=$1 scenario=$2 out=$3
shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$scenario" && find . | cpio -o -H newc --quiet) | gzip -1 > "$work/scenario.gz"
cat "$dir/base.gz" > "$out"
for program; do
  # Programs do not change between scenarios: each is packed once.
  name=$(basename "$program")
  packed=$dir/program-$name-$(stat -L -c '%Y-%s-%i' "$program").gz
  if [ ! -s "$packed" ]; then
    rm -rf "$work/more"
    mkdir -p "$work/more/bin"
    cp -L "$program" "$work/more/bin/$name"
    strip "$work/more/bin/$name" 2>/dev/null || true
    ldd "$program" | awk '$3 ~ /^\//{print $3} $1 ~ /^\//{print $1}' | while read -r library; do
      mkdir -p "$work/more$(dirname "$library")"
      cp -L "$library" "$work/more$library"
    done
    (cd "$work/more" && find . | cpio -o -H newc --quiet) | gzip -1 > "$work/packed"
    rm -f "$dir/program-$name"-[0-9]*.gz
    mv "$work/packed" "$packed"
  fi
  cat "$packed" >> "$out"
done
cat "$work/scenario.gz" >> "$out"
