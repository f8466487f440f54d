#!/bin/sh
# A server of the lab: becomes a member the first time, and is one from then on. kiki makes the cluster
# and leaves a token for each of the others in the folder that they share.
set -eu
name="$(hostname)"
data=/var/lib/tasuki
mkdir -p "$data/mirror"

if [ ! -e "$data/identity/identity.json" ]; then
    if [ "$name" = kiki ]; then
        tasuki cluster init --config /etc/tasuki/cluster.toml --server kiki
        # Tokens need a cluster that runs: made beside the guard, as soon as it answers.
        (
            for other in lala ruru; do
                until tasuki cluster token --server "$other" --expires 24h --json >"/tmp/token.$other" 2>/dev/null; do
                    sleep 0.2
                done
                sed -n 's/.*"token": *"\([^"]*\)".*/\1/p' "/tmp/token.$other" >"/lab/.$other"
                mv "/lab/.$other" "/lab/$other"
            done
        ) &
    else
        echo "$name waits for its token"
        until [ -s "/lab/$name" ]; do sleep 0.2; done
        until tasuki cluster join 172.30.86.11:29001 --server "$name" --token "$(cat "/lab/$name")"; do
            sleep 1
        done
    fi
fi
exec tasuki guard --data "$data" --run /run/tasuki
