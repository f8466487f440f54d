#!/bin/bash
# pgbench on the lab's database, through its floating address, through everything that happens to it.
# Each transaction has a number of its own, which is written down here, outside the cluster, once its
# commit was acknowledged.
#
#   pgbench.sh                    until it is ended; begins anew whenever it was cut off
#   pgbench.sh check [NUMBER…]    counts the acknowledged numbers that the database does not have, and looks
#                                 whether the balances agree. A NUMBER counts as acknowledged too: one that
#                                 was never written has to be missed, or the count would be worth nothing
set -u
kept=/var/tmp/pgbench.acknowledged
database="host=${ADDRESS:-172.30.85.88} user=postgres dbname=postgres connect_timeout=2 tcp_user_timeout=1000"
database="$database keepalives_idle=1 keepalives_interval=1 keepalives_count=2"
rate="${RATE:-50}" # transactions a second that are asked for: the lab is a small one

say() { printf '%s %s\n' "$(date +%T.%3N)" "$*"; }
ask() { psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 "$@" "$database"; }
acknowledged() { cat "$kept" 2>/dev/null | wc -l; }

# In one question, so as of one moment.
sums() {
    ask --command "SELECT (SELECT sum(delta) FROM pgbench_history) AS history, (SELECT sum(abalance) FROM pgbench_accounts) AS accounts,
        (SELECT sum(tbalance) FROM pgbench_tellers) AS tellers, (SELECT sum(bbalance) FROM pgbench_branches) AS branches,
        (SELECT count(*) FROM pgbench_history) AS transactions, (SELECT count(*) FROM bench_numbers) AS numbers" 2>&1
}

check() {
    local all
    all="$(mktemp)"
    { cat "$kept" 2>/dev/null; printf '%s\n' "$@"; } | sed '/^$/d' >"$all"
    # Read before the question is asked: what is in it was committed before.
    ask >"$all.said" <<SQL || return 2
CREATE TEMP TABLE kept (number bigint);
\\copy kept FROM '$all'
SELECT count(*), count(*) FILTER (WHERE there.number IS NULL),
       (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history)
   AND (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(delta) FROM pgbench_history)
   AND (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(delta) FROM pgbench_history)
  FROM kept LEFT JOIN bench_numbers there USING (number);
SQL
    local count lost agree
    IFS='|' read -r count lost agree <"$all.said"
    rm -f "$all" "$all.said"
    if [ "$agree" = t ]; then agree="agree"; else agree="DO NOT AGREE: $(sums)"; fi
    echo "pgbench: $count transactions acknowledged, $lost of them lost; balances $agree"
    [ "$lost" = 0 ] && [ "$agree" = agree ] && [ "$count" -gt 0 ]
}

# The tables, unless they are there. The last of them says that the others are whole.
prepare() {
    case "$(ask --command "SELECT to_regclass('bench_numbers') IS NOT NULL" 2>/dev/null)" in
    t) return ;;
    f) ;;
    # No answer is no "no": making them drops those that are there, and a database that came back just
    # then lost its history to that.
    *) return 1 ;;
    esac
    pgbench --initialize --quiet --scale 1 "$database" >/dev/null 2>&1 &&
        ask --command "CREATE TABLE bench_numbers (number bigint PRIMARY KEY)" 2>/dev/null &&
        say "the tables are made"
}

if [ "${1:-}" = check ]; then
    shift
    check "$@"
    exit
fi
say "pgbench waits for the database"
while :; do
    if prepare; then
        say "pgbench runs: 4 clients, $rate transactions a second; $(acknowledged) acknowledged so far"
        pgbench --no-vacuum --client 4 --jobs 4 --rate "$rate" --time 86400 --random-seed=rand \
            --file /usr/local/share/pgbench.sql "$database" >/var/tmp/pgbench.said 2>&1
        why="$(sed -n 's/^pgbench: error: //p' /var/tmp/pgbench.said | head -n 1)"
        say "cut off: ${why:-$(tail -n 1 /var/tmp/pgbench.said)}"
    fi
    sleep 0.1
done
