#!/bin/sh
# Starts a PostgreSQL cluster and waits until it accepts connections.
#   PGDATA  the data directory, on storage that moves with the group
#   PGBIN   the folder of pg_ctl; that of the distribution when not given
# Set them with `environment = { PGDATA = "…" }` in the resource, which also runs as `user = "postgres"`.
set -u
: "${PGDATA:?set PGDATA in the resource's environment}"
pg_ctl="${PGBIN:-$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)}/pg_ctl"

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
echo "PostgreSQL start on $TASUKI_SERVER ($CLP_SERVER) after $CLP_EVENT"
# Left behind by a server that was lost. Nobody else can be running on this data: the group is ours.
if [ "$CLP_EVENT" = FAILOVER ] && ! "$pg_ctl" -D "$PGDATA" status >/dev/null; then
    rm -f "$PGDATA/postmaster.pid"
fi
exec "$pg_ctl" -D "$PGDATA" -l "$PGDATA/startup.log" -w -t "${PGSTART_TIMEOUT:-60}" start
