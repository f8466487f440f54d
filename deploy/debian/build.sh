#!/usr/bin/env bash
# Makes the Debian package from a program that was built already:
#
#   deploy/debian/build.sh [--program FILE] [--version VERSION] [--to FOLDER] [--fast]
#
# FILE is target/release/tasuki if not given, VERSION the program's own, FOLDER target/debian. --fast: the
# package is for a test, and is barely compressed. DEBFULLNAME and DEBEMAIL say who makes it. Prints where
# the package is. Needs dpkg-deb, and objdump and strip of binutils.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
root="$(cd "$here/../.." && pwd)"
program="$root/target/release/tasuki" version='' to="$root/target/debian" compress=(-Zxz)
while [ $# -gt 0 ]; do
    case "$1" in
    --program) program="$2"; shift 2 ;;
    --version) version="$2"; shift 2 ;;
    --to) to="$2"; shift 2 ;;
    --fast) compress=(-Zgzip -z1); shift ;;
    *) echo "unknown word: $1" >&2; exit 2 ;;
    esac
done
for tool in dpkg-deb objdump strip gzip; do
    command -v "$tool" >/dev/null || { echo "$tool is missing" >&2; exit 1; }
done
[ -x "$program" ] || { echo "there is no program $program: cargo build --release -p tasuki" >&2; exit 1; }
maintainer="${DEBFULLNAME:-The Tasuki developers} <${DEBEMAIL:-packages@tasuki.invalid}>"
[ -n "$version" ] || version="$("$program" --version | cut -d' ' -f2)"

tree="$(mktemp -d)"
trap 'rm -rf "$tree"' EXIT
chmod 755 "$tree"
put() { install -D -m "$1" "$2" "$tree$3"; }

put 755 "$program" /usr/bin/tasuki
strip --strip-unneeded "$tree/usr/bin/tasuki"
for unit in tasuki tasuki-witness; do
    put 644 "$root/deploy/systemd/$unit.service" "/usr/lib/systemd/system/$unit.service"
done
put 644 "$here/sysusers" /usr/lib/sysusers.d/tasuki.conf
put 644 "$here/tmpfiles" /usr/lib/tmpfiles.d/tasuki.conf
put 644 "$here/default" /etc/default/tasuki

# Words that the program says itself.
"$program" manual --to "$tree/usr/share/man/man8"
gzip -9n "$tree"/usr/share/man/man8/*.8
completion() {
    install -d -m 755 "$tree$(dirname "$2")"
    "$program" completion "$1" >"$tree$2"
}
completion bash /usr/share/bash-completion/completions/tasuki
completion zsh /usr/share/zsh/vendor-completions/_tasuki
completion fish /usr/share/fish/vendor_completions.d/tasuki.fish

doc=/usr/share/doc/tasuki
put 644 "$here/copyright" "$doc/copyright"
{
    printf 'tasuki (%s) unstable; urgency=medium\n\n' "$version"
    printf '  * What changed is in the history of the repository.\n\n'
    printf ' -- %s  %s\n' "$maintainer" \
        "$(date -Ru -d "@${SOURCE_DATE_EPOCH:-$(stat -c %Y "$program")}")"
} | gzip -9n >"$tree$doc/changelog.gz"
for file in "$root"/docs/*.md; do put 644 "$file" "$doc/$(basename "$file")"; done
for file in "$root"/docs/errors/*.md; do put 644 "$file" "$doc/errors/$(basename "$file")"; done
for file in "$root"/deploy/samples/*; do put 644 "$file" "$doc/examples/$(basename "$file")"; done
(cd "$root/deploy" && find scripts -type f) | while read -r file; do
    put 755 "$root/deploy/$file" "$doc/examples/$file"
done
# Debian's rules for what lies about: 755 and 644, whatever the umask was.
find "$tree" -type d -exec chmod 755 {} +
find "$tree/usr/share/man" "$tree/usr/share/bash-completion" "$tree/usr/share/zsh" "$tree/usr/share/fish" \
    "$tree$doc/changelog.gz" -type f -exec chmod 644 {} +

architecture="$(dpkg --print-architecture)"
glibc="$(objdump -T "$program" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)"
size="$(du -sk --exclude=DEBIAN "$tree" | cut -f1)"
install -d -m 755 "$tree/DEBIAN"
sed -e "s/@MAINTAINER@/$maintainer/" -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" \
    -e "s/@GLIBC@/${glibc#GLIBC_}/" -e "s/@SIZE@/$size/" "$here/control.in" >"$tree/DEBIAN/control"
install -m 644 "$here/conffiles" "$tree/DEBIAN/conffiles"
install -m 755 "$here/postinst" "$here/prerm" "$here/postrm" "$tree/DEBIAN/"
(cd "$tree" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"

mkdir -p "$to"
package="$to/tasuki_${version}_$architecture.deb"
dpkg-deb --root-owner-group "${compress[@]}" --build "$tree" "$package" >/dev/null
echo "$package"
