#!/usr/bin/env bash
# The compose lab: a cluster in containers to try things with.
#
#   deploy/lab.sh up            builds what is missing, and starts it; waits for the database and its second copy
#   deploy/lab.sh down          ends it, and removes everything that it made but the images
#   deploy/lab.sh watch         what the client sees
#   deploy/lab.sh add           a third server, mimi, becomes a member while everything runs
#   deploy/lab.sh remove        and is taken out again
#   deploy/lab.sh on SERVER …   a command on kiki, lala, mimi or ruru: deploy/lab.sh on kiki tasuki cluster status
#   deploy/lab.sh compose …     any other word of docker compose
#
# TASUKI_BINARY names a program that is built already; otherwise target/release/tasuki is built here, and
# where there is no cargo, inside the image.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { printf '%s\n' "$*" >&2; exit 1; }

# mimi is in a profile of her own, so that `up` alone leaves her out.
compose() {
    local COMPOSE_PROFILES=mimi
    [ "$*" != "up --detach" ] || COMPOSE_PROFILES=""
    export COMPOSE_PROFILES
    if docker compose version >/dev/null 2>&1; then
        docker compose --project-name tasuki-lab --file deploy/compose.yaml "$@"
    elif command -v docker-compose >/dev/null; then
        docker-compose --project-name tasuki-lab --file deploy/compose.yaml "$@"
    else
        fail "neither 'docker compose' nor docker-compose is installed"
    fi
}

# The program, as a path below the repository: the context of the image.
program() {
    local from="${TASUKI_BINARY:-}"
    if [ -z "$from" ] && command -v cargo >/dev/null; then
        cargo build --release --package tasuki >&2
        from="${CARGO_TARGET_DIR:-target}/release/tasuki"
    fi
    [ -n "$from" ] || return 0 # built inside
    [ -x "$from" ] || fail "$from is no program"
    install -D -m 755 "$from" target/lab/tasuki
    strip target/lab/tasuki 2>/dev/null || true
    echo target/lab/tasuki
}

# Waits for a condition, at most so many seconds, and says what for.
await() {
    local seconds="$1" what="$2" end
    shift 2
    end=$((SECONDS + seconds))
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || fail "waited $seconds s in vain for $what"
        sleep 0.2
    done
}

answers() { compose exec -T client python3 /usr/local/bin/client.py check; }
# Before that, lala is no place to fail over to.
in_step() { [ "$(compose exec -T kiki tasuki mirror status --json | grep -Eo '"disk": *"up_to_date"' | wc -l)" = 2 ]; }

case "${1:-}" in
up)
    docker info >/dev/null 2>&1 || fail "no Docker engine answers: start one, or say where it is in DOCKER_HOST"
    deploy/base-image.sh --unless-there
    modprobe --all loop fuse 2>/dev/null || true
    BINARY="$(program)"
    export BINARY
    compose build
    compose up --detach
    await 120 "the database" answers
    await 300 "the first copy of its disk to lala" in_step
    compose exec -T kiki tasuki cluster status
    printf '\nSee outages as they happen:  deploy/lab.sh watch\nBreak something:             docker kill tasuki-kiki\n'
    ;;
down) compose down --volumes --remove-orphans ;;
add)
    token="$(compose exec -T kiki tasuki server add mimi --at public=172.30.85.13 --at interconnect=172.30.86.13 --json |
        sed -n 's/.*"token": *"\([^"]*\)".*/\1/p')"
    [ -n "$token" ] || fail "there is no token for mimi"
    compose exec -T kiki sh -c "echo '$token' >/lab/mimi"
    compose up --detach --no-build mimi
    await 60 "mimi" compose exec -T kiki sh -c "tasuki cluster status | grep -Eq '^mimi +up '"
    compose exec -T kiki tasuki cluster status
    ;;
remove)
    compose exec -T kiki tasuki server remove mimi --stop --yes
    compose exec -T kiki rm -f /lab/mimi
    compose rm --stop --force mimi
    docker volume rm tasuki-lab_mimi >/dev/null
    compose exec -T kiki tasuki cluster status
    ;;
watch) compose logs --follow --tail 20 client ;;
on)
    shift
    [ $# -ge 2 ] || fail "deploy/lab.sh on SERVER COMMAND …"
    server="$1"
    shift
    compose exec -T "$server" "$@"
    ;;
compose)
    shift
    compose "$@"
    ;;
*)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' deploy/lab.sh
    exit 2
    ;;
esac
