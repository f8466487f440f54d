#!/bin/sh
# The witness of the lab.
set -eu
data=/var/lib/tasuki-witness
if [ -z "$(ls -A "$data" 2>/dev/null)" ]; then
    echo "the witness waits for its token"
    until [ -s /lab/ruru ]; do sleep 0.2; done
    until tasuki witness --data "$data" join 172.30.85.85:29001 --name ruru --token "$(cat /lab/ruru)"; do
        sleep 1
    done
fi
exec tasuki witness --data "$data"
