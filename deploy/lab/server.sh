#!/bin/sh
# A server of the lab: becomes a member the first time, and is one from then on. kiki makes the cluster
# and leaves a token for lala and the witness in the folder that they share; mimi's comes with
# `deploy/lab.sh add`.
set -eu
name="$(hostname)"
data=/var/lib/tasuki
mkdir -p "$data/mirror" /oracle
mkdir -p /run/postgresql && chown postgres:postgres /run/postgresql # as at every start of a Debian

as_postgres() { setpriv --reuid postgres --regid postgres --init-groups "$@"; }

# What docs/example-postgres.md does by hand on kiki alone: the database that will be mirrored. Open to the
# lab's network, for that is what the lab is for: not for anything else.
prepare_disk() {
    bin="$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)"
    as_postgres mkdir /tmp/oracle
    as_postgres "$bin/initdb" -D /tmp/oracle/data --data-checksums --auth-local peer --auth-host trust >/dev/null
    as_postgres sh -c "cd /tmp/oracle/data
        echo \"listen_addresses = '172.30.85.88'\" >>postgresql.conf
        echo 'host all all 172.30.85.0/24 trust' >>pg_hba.conf
        truncate -s 512M /tmp/oracle.disk
        mkfs.ext4 -q -F -d /tmp/oracle /tmp/oracle.disk"
    cp --sparse=always /tmp/oracle.disk "$data/mirror/oracle.new"
    mv "$data/mirror/oracle.new" "$data/mirror/oracle.data" # whole, or not there
    as_postgres rm -rf /tmp/oracle /tmp/oracle.disk
}

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
        [ -e "$data/mirror/oracle.data" ] || prepare_disk
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
