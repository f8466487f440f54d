#!/bin/sh
# Watches a PostgreSQL server as a client does: looks again and again, in the foreground, and ends when it
# finds it bad. For an `exec` resource with `wait = false`, with a `pid` monitor on it whose recovery says
# what follows; without such a monitor, its end is a failure of the resource itself. It needs no stop
# script: it ends when it is told to.
#
#   --every SECONDS     between two looks                                     10
#   --timeout SECONDS   how long an answer may take                           10
#   --tries N           looks that fail one after the other before it ends    3
#   --table NAME        writes a row of this table at each look; made when it is not there
#
# Where: PGHOST (an address, or the folder of the socket), PGPORT, PGUSER, PGDATABASE of the resource's
# `environment`; PGPASSFILE for a password. Without a table it sees a server that does not answer; with
# one also a disk that does not take anything any more.
set -u
every=10 timeout=10 tries=3 table=""
while [ $# -gt 0 ]; do
    case "$1" in
    --every) every="${2:?}" ;;
    --timeout) timeout="${2:?}" ;;
    --tries) tries="${2:?}" ;;
    --table) table="${2:?}" ;;
    *)
        echo "postgres-watch: $1 is no option"
        exit 2
        ;;
    esac
    shift 2
done
case "$CLP_EVENT" in
START | FAILOVER) ;;
*)
    echo "NO_CLP"
    exit 1
    ;;
esac
if [ "$CLP_DISK" != SUCCESS ]; then
    echo "ERROR_DISK from $CLP_EVENT"
    exit 1
fi
psql="${PGBIN:+$PGBIN/}psql"
command -v "$psql" >/dev/null || { echo "postgres-watch: $psql is not installed"; exit 2; }
export PGCONNECT_TIMEOUT="$timeout"

ask() { timeout "$timeout" "$psql" --no-psqlrc --quiet --tuples-only --no-password --set ON_ERROR_STOP=1 --command "$1" 2>&1 >/dev/null; }

question="SELECT 1"
if [ -n "$table" ]; then
    question="UPDATE $table SET seen = now()"
    make="CREATE TABLE IF NOT EXISTS $table (seen timestamptz NOT NULL);
          INSERT INTO $table SELECT now() WHERE NOT EXISTS (SELECT FROM $table)"
fi

failed=0
while :; do
    why="$(if [ -n "${make:-}" ]; then ask "$make" && ask "$question"; else ask "$question"; fi)"
    code=$?
    if [ $code -eq 0 ]; then
        make="" failed=0
    else
        [ $code -ne 124 ] || why="no answer within $timeout s"
        failed=$((failed + 1))
        echo "look $failed of $tries failed: $(echo "$why" | head -n 1)"
        [ $failed -lt "$tries" ] || exit 1
    fi
    sleep "$every"
done
