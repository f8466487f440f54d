#!/bin/sh
# Stops a PostgreSQL cluster: clients are disconnected, what was committed is on the disk.
set -u
: "${PGDATA:?set PGDATA in the resource's environment}"
pg_ctl="${PGBIN:-$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)}/pg_ctl"

echo "PostgreSQL stop on $TASUKI_SERVER (${CLP_FACTOR:-})"
"$pg_ctl" -D "$PGDATA" status >/dev/null || exit 0 # stopped already is stopped
exec "$pg_ctl" -D "$PGDATA" -m fast -w -t "${PGSTOP_TIMEOUT:-60}" stop
