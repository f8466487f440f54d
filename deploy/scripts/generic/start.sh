#!/bin/sh
# Start script of an exec resource: copy the pair, and put your own work into the two places marked.
# docs/operations.md lists the environment (CLP_…); the exit code decides:
# 0 is started, anything else is a failed start.

work() { # PLACE 1 of 2: what starting means; the same after a start and after a failover
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
    work || exit 1 # PLACE 2 of 2: what only a failover needs goes before this line
    ;;
*)
    echo "NO_CLP"
    exit 1
    ;;
esac
echo "EXIT"
exit 0
