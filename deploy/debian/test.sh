#!/bin/bash
# Installs, upgrades, removes and purges the package in a clean Debian, and looks at what each does:
#
#   test.sh OLDER.deb NEWER.deb
#
# To be run as root in a container that is thrown away.
set -euo pipefail
older="$1" newer="$2"

failed() { echo "FAILED: $*" >&2; exit 1; }
ok() { echo "ok: $*"; }
mode() { stat -c '%a %U %G' "$1"; }
is() { [ "$2" = "$3" ] || failed "$1: $2, and not $3"; }

# Only listens: dpkg's scripts call it where systemd runs.
calls=/tmp/systemctl.calls
pretend_that_systemd_runs() {
    mkdir -p /run/systemd/system
    printf '#!/bin/sh\necho "$*" >> %s\n' "$calls" >/usr/local/bin/systemctl
    chmod 755 /usr/local/bin/systemctl
    hash -r
    : >"$calls"
}

# --- installed: everything is there, and nothing is started
dpkg -i "$older" >/tmp/installed 2>&1 || { cat /tmp/installed; failed "the package does not install"; }
tasuki --version | grep -q '^tasuki ' || failed "the program does not say its version"
is "the data folder" "$(mode /var/lib/tasuki)" "700 root root"
is "the witness's folder" "$(mode /var/lib/tasuki-witness)" "700 tasuki-witness tasuki-witness"
is "the folder of the configuration" "$(mode /etc/tasuki)" "755 root root"
[ "$(id -u tasuki-witness)" -ne 0 ] || failed "the witness runs as root"
for unit in tasuki tasuki-witness; do
    is "$unit.service" "$(systemctl is-enabled $unit.service || true)" disabled
done
find /etc/systemd/system -name '*tasuki*' | grep . && failed "something was enabled"
ok "installed, with users and folders; no unit is enabled"

systemd-analyze verify --man=yes /usr/lib/systemd/system/tasuki.service /usr/lib/systemd/system/tasuki-witness.service \
    >/tmp/verified 2>&1 || { cat /tmp/verified; failed "systemd does not take the units"; }
grep tasuki /tmp/verified && failed "systemd finds fault with the units"
ok "systemd takes the units"

MANPAGER=cat man 8 tasuki-group-move 2>/tmp/man.errors | grep -q 'Move a group to another server' ||
    failed "no man page of 'tasuki group move'"
[ ! -s /tmp/man.errors ] || { cat /tmp/man.errors; failed "man finds fault with a page"; }
pages=0
for page in /usr/share/man/man8/tasuki*.8.gz; do
    [ -z "$(man --warnings -l "$page" 2>&1 >/dev/null)" ] || failed "man finds fault with $page"
    pages=$((pages + 1))
done
ok "$pages man pages without a warning"

complete_as_bash() {
    bash -c 'source /usr/share/bash-completion/bash_completion
        source /usr/share/bash-completion/completions/tasuki
        COMP_WORDS=(tasuki "$@") COMP_CWORD=$#
        _tasuki tasuki "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        echo "${COMPREPLY[@]}"' bash "$@"
}
is "completion in bash" "$(complete_as_bash grou)" group
complete_as_bash group mo | grep -qw move || failed "bash does not complete 'tasuki group mo'"
head -n 1 /usr/share/zsh/vendor-completions/_tasuki | grep -q '^#compdef tasuki' || failed "completion for zsh"
grep -q '__fish_tasuki' /usr/share/fish/vendor_completions.d/tasuki.fish || failed "completion for fish"
ok "completions"

for sample in /usr/share/doc/tasuki/examples/*.toml; do
    tasuki config check "$sample" >/tmp/checked 2>&1 || { cat /tmp/checked; failed "$sample"; }
done
[ -s /usr/share/doc/tasuki/operations.md ] || failed "no documents"
for file in changelog.gz copyright; do [ -s /usr/share/doc/tasuki/$file ] || failed "no $file"; done
ok "samples pass the check"

# --- upgraded: nothing is restarted, what was configured stays
echo 'TASUKI_HOLD_LEVEL=1' >>/etc/default/tasuki
mkdir -p /var/lib/tasuki/identity /var/lib/tasuki/registry
echo '{}' >/var/lib/tasuki/identity/identity.json
echo 'what a mirrored disk has' >/var/lib/tasuki/data.img
echo '[cluster]' >/etc/tasuki/cluster.toml
pretend_that_systemd_runs
dpkg -i "$newer" >/tmp/upgraded 2>&1 </dev/null || { cat /tmp/upgraded; failed "the package does not upgrade"; }
grep -q 'Nothing was restarted' /tmp/upgraded || { cat /tmp/upgraded; failed "an upgrade does not say what to do"; }
grep -Ew 'start|stop|restart|try-restart|reload-or-restart|enable|preset|kill' "$calls" && failed "an upgrade touches services"
grep -q '^TASUKI_HOLD_LEVEL=1' /etc/default/tasuki || failed "an upgrade overwrites /etc/default/tasuki"
[ -f /var/lib/tasuki/identity/identity.json ] || failed "an upgrade loses state"
is "the version" "$(dpkg-query -W -f '${Version}' tasuki)" "$(dpkg-deb -f "$newer" Version)"
ok "upgraded: nothing was restarted, and configuration and state stayed"

# --- removed: stopped in order, configuration and state stay
: >"$calls"
dpkg -r tasuki >/tmp/removed 2>&1 || { cat /tmp/removed; failed "the package is not removed"; }
grep -q '^stop tasuki.service' "$calls" || failed "a removal does not stop the server"
grep -Ew 'start|restart|enable' "$calls" && failed "a removal starts something"
[ ! -e /usr/bin/tasuki ] || failed "the program is still there"
for file in /var/lib/tasuki/identity/identity.json /var/lib/tasuki/data.img /etc/tasuki/cluster.toml /etc/default/tasuki; do
    [ -e "$file" ] || failed "a removal took $file"
done
ok "removed: configuration and state stayed"

# --- purged: what Tasuki wrote is gone, and nothing else
dpkg -P tasuki >/tmp/purged 2>&1 || { cat /tmp/purged; failed "the package is not purged"; }
for file in /var/lib/tasuki/identity /var/lib/tasuki/registry /var/lib/tasuki-witness /etc/tasuki /etc/default/tasuki; do
    [ ! -e "$file" ] || failed "a purge left $file"
done
is "the data of a mirrored disk" "$(cat /var/lib/tasuki/data.img)" 'what a mirrored disk has'
grep -q 'data.img' /tmp/purged || { cat /tmp/purged; failed "a purge does not say what it left"; }
rm /var/lib/tasuki/data.img && rmdir /var/lib/tasuki
dpkg -i "$newer" >/dev/null 2>&1 && dpkg -P tasuki >/tmp/purged 2>&1
for folder in /var/lib/tasuki /var/lib/tasuki-witness /etc/tasuki; do
    [ ! -e "$folder" ] || failed "nothing was ever configured, and a purge left $folder"
done
ok "purged: what Tasuki wrote is gone, and the data of a mirrored disk is not"
