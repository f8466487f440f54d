#!/bin/sh
# Stops a PostgreSQL cluster: clients are disconnected, what was committed is on the disk.
# CLP_EVENT tells how it had been started here.
set -u
: "${PGDATA:?set PGDATA in the resource's environment}"
pg_ctl="${PGBIN:-$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)}/pg_ctl"
mode=fast

case "$CLP_EVENT" in
START | FAILOVER) ;;
*)
    echo "NO_CLP"
    exit 1
    ;;
esac
if [ "$CLP_DISK" != SUCCESS ]; then
    echo "ERROR_DISK from $CLP_EVENT"
    mode=immediate # there is nothing to write a checkpoint to; it has to end all the same
fi
echo "PostgreSQL stop on $TASUKI_SERVER ($CLP_SERVER) after $CLP_EVENT (${CLP_FACTOR:-})"
"$pg_ctl" -D "$PGDATA" status >/dev/null || exit 0 # stopped already is stopped
exec "$pg_ctl" -D "$PGDATA" -m "$mode" -w -t "${PGSTOP_TIMEOUT:-60}" stop
