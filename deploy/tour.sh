#!/usr/bin/env bash
# The guided tour of the compose lab (docs/tour.md), unattended: does each step and checks what comes of
# it. Ends with a table of the outages that the client saw, and with 0 when everything was as promised.
#
#   deploy/tour.sh [--keep]      --keep leaves the lab running
set -euo pipefail
cd "$(dirname "$0")/.."
keep=""
[ "${1:-}" = --keep ] && keep=yes

docker info >/dev/null 2>&1 || { echo "skipped, because no Docker engine answers"; exit 0; }

lab() { deploy/lab.sh "$@"; }
say() { printf '\n== %s\n' "$*"; }
fail() { printf 'NOT AS PROMISED: %s\n' "$*" >&2; lab compose logs --no-color --tail 40 client kiki lala >&2; exit 1; }
end() { [ -n "$keep" ] || lab down >/dev/null 2>&1; }
trap end EXIT

# Waits for a condition, and fails when it does not come.
await() {
    local seconds="$1" what="$2" until_second
    shift 2
    until_second=$((SECONDS + seconds))
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $until_second ] || fail "waited $seconds s in vain for $what"
        sleep 0.2
    done
}

# What the client has said, oldest first.
heard() { docker logs tasuki-client 2>&1; }
outages() { heard | grep -c 'back after' || true; }
one_more_than() { [ "$(outages)" -gt "$1" ]; }
owner() { docker exec "tasuki-$1" tasuki group status database --json | sed -n 's/.*"server": *"\([a-z]*\)".*/\1/p' | head -n 1; }
runs_on() { [ "$(owner "$1")" = "$2" ]; }
online() { docker exec "tasuki-$1" tasuki group status database | grep -q '^database  *Online '; }
up() { docker exec "tasuki-$1" tasuki cluster status | grep -Eq "^$2 +up "; }
in_step() {
    local disks
    disks="$(docker exec "tasuki-$1" tasuki mirror status --json | grep -Eo '"disk": *"[a-z_]*"' | sed 's/.*"\([a-z_]*\)"$/\1/' | sort | uniq -c)"
    [ "$(echo $disks)" = "2 up_to_date" ]
}
written() { heard | sed -n 's/.* \([0-9][0-9]*\) rows.*/\1/p' | tail -n 1; }
goes_on() { [ "$(written)" -gt "$1" ]; }

table=""
# The last outage, which must have lost nothing: a row of the table.
outage() {
    local line
    line="$(heard | grep 'back after' | tail -n 1)"
    echo "   client: $line"
    case "$line" in *", 0 of them lost"*) ;; *) fail "acknowledged rows are lost" ;; esac
    table="$table$(printf '%-44s %s' "$1" "$(echo "$line" | sed 's/.*back after \([0-9.]*\) s, now on \([a-z]*\);.*/\1 s, then on \2/')")
"
}

say "One command: kiki and lala keep PostgreSQL, ruru has a vote"
lab up
await 60 "both copies of the disk to be in step" in_step kiki
runs_on kiki kiki || fail "the database does not run on its home"

say "The client writes through the floating address"
before="$(written)"
await 20 "the client to go on" goes_on "$before"
lab on kiki tasuki mirror status

say "kiki's power fails"
before="$(outages)"
docker kill tasuki-kiki >/dev/null
await 60 "the database on lala" one_more_than "$before"
outage "power of the active server fails"
runs_on lala lala || fail "lala does not own the group"

say "kiki comes back: only what changed is copied"
docker start tasuki-kiki >/dev/null
await 60 "kiki" up lala kiki
await 120 "the copies to be in step" in_step lala
lab on lala tasuki mirror status

say "The cable between the servers is cut: nobody moves"
count="$(outages)" before="$(written)"
docker network disconnect tasuki-lab_interconnect tasuki-kiki
await 30 "writing to go on" goes_on "$((before + 1000))"
runs_on lala lala || fail "the group moved"
docker network connect --ip 172.30.86.11 tasuki-lab_interconnect tasuki-kiki
await 120 "the copies to be in step" in_step lala
[ "$(outages)" = "$count" ] || outage "cable between the servers cut"

say "Every cable of lala is cut: it stops by itself, and kiki goes on"
before="$(outages)"
docker network disconnect tasuki-lab_interconnect tasuki-lala
docker network disconnect tasuki-lab_public tasuki-lala
await 60 "the database on kiki" one_more_than "$before"
outage "every cable of the active server cut"
docker network connect --ip 172.30.85.12 tasuki-lab_public tasuki-lala
docker network connect --ip 172.30.86.12 tasuki-lab_interconnect tasuki-lala
await 60 "lala" up kiki lala
await 120 "the copies to be in step" in_step kiki

say "kiki is frozen for longer than its lease, and thawed after lala has taken over"
before="$(outages)"
docker pause tasuki-kiki >/dev/null
await 60 "the database on lala" one_more_than "$before"
docker unpause tasuki-kiki >/dev/null
outage "active server frozen, thawed later"
await 60 "kiki" up lala kiki
await 120 "the copies to be in step" in_step lala
runs_on lala lala || fail "the thawed server took the group back"

say "What would follow, and why it is as it is"
lab on lala tasuki plan --server-down lala
lab on lala tasuki explain database

say "Moved home by hand"
before="$(outages)"
lab on lala tasuki group move database --to kiki
await 60 "the client on kiki" one_more_than "$before"
outage "moved by hand"

say "Nothing that was acknowledged is lost"
lab compose exec -T client python3 /usr/local/bin/client.py check || fail "rows are missing"

say "Outages, as the client saw them"
printf '%s' "$table"
