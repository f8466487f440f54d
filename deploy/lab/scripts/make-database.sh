#!/bin/sh
# Makes a PostgreSQL cluster for the lab, where there is none yet. Open to the lab's network, for that
# is what it is for: not for anything else.
set -eu
: "${PGDATA:?set PGDATA in the resource's environment}"
[ -s "$PGDATA/PG_VERSION" ] && exit 0
bin="$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)"
rm -rf "$PGDATA.new"
install -d -o postgres -g postgres -m 700 "$PGDATA.new"
setpriv --reuid postgres --regid postgres --init-groups \
    "$bin/initdb" -D "$PGDATA.new" --auth-local peer --auth-host trust >/dev/null
cat >>"$PGDATA.new/postgresql.conf" <<'END'
listen_addresses = '*'
max_connections = 50
unix_socket_directories = '/tmp'
END
echo 'host all all 172.30.85.0/24 trust' >>"$PGDATA.new/pg_hba.conf"
sync
mv "$PGDATA.new" "$PGDATA" # whole, or not there
sync
