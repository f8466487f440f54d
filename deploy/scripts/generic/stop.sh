#!/bin/sh
# Stop script of an exec resource: copy the pair, and put your own work into the two places marked.
# CLP_EVENT tells how the service had been started here. docs/operations.md lists the environment;
# the exit code decides:
# 0 is stopped, anything else is a failed stop.

work() { # PLACE 1 of 2: what stopping means, in the reverse order of starting
    :
}

case "$CLP_EVENT" in
START)
    if [ "$CLP_DISK" != SUCCESS ]; then
        echo "ERROR_DISK from START"
        exit 1
    fi
    echo "NORMAL1"
    if [ "$CLP_SERVER" = HOME ]; then echo "NORMAL2"; else echo "ON_OTHER1"; fi
    work || exit 1
    ;;
FAILOVER)
    if [ "$CLP_DISK" != SUCCESS ]; then
        echo "ERROR_DISK from FAILOVER"
        exit 1
    fi
    echo "FAILOVER1"
    if [ "$CLP_SERVER" = HOME ]; then echo "FAILOVER2"; else echo "ON_OTHER2"; fi
    work || exit 1 # PLACE 2 of 2: what only a failover needs to clear away goes before this line
    ;;
*)
    echo "NO_CLP"
    exit 1
    ;;
esac
echo "EXIT"
exit 0
