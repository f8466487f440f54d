#!/bin/sh
# A server of the lab: becomes a member the first time, and is one from then on. kiki makes the cluster
# and leaves a token for lala and the witness in the folder that they share; mimi's comes with
# `deploy/lab.sh add`.
set -eu
name="$(hostname)"
data=/var/lib/tasuki
mkdir -p "$data/mirror"

# Tokens need a cluster that runs: made beside the guard, as soon as it answers.
make_tokens() {
    for other in lala ruru; do
        [ ! -s "/lab/$other" ] || continue
        until tasuki cluster token --server "$other" --expires 24h --json >"/tmp/token.$other" 2>/dev/null; do
            sleep 0.2
        done
        sed -n 's/.*"token": *"\([^"]*\)".*/\1/p' "/tmp/token.$other" >"/lab/.$other"
        mv "/lab/.$other" "/lab/$other"
    done
}

if [ ! -e "$data/identity/identity.json" ]; then
    if [ "$name" = kiki ]; then
        sed "s/^detect = .*/detect = \"${DETECT:-1s}\"/" /etc/tasuki/cluster.toml >/tmp/cluster.toml
        mv /tmp/cluster.toml /etc/tasuki/cluster.toml
        tasuki cluster init --config /etc/tasuki/cluster.toml --server kiki
    else
        echo "$name waits for its token"
        until [ -s "/lab/$name" ]; do sleep 0.2; done
        # Any member lets others in.
        until tasuki cluster join 172.30.86.11:29001 --server "$name" --token "$(cat "/lab/$name")" ||
            tasuki cluster join 172.30.86.12:29001 --server "$name" --token "$(cat "/lab/$name")"; do
            sleep 1
        done
    fi
fi
# No child of the guard's: it ends what is below it when it has to.
[ "$name" != kiki ] || (make_tokens &)
exec tasuki guard --data "$data" --run /run/tasuki
