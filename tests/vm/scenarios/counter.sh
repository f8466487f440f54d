#!/bin/sh
# Counts into its block of the shared disk, and tells the console when the other machine's count still
# goes up: then both run.
. /pair.sh
tell() { echo "MARK $* $(cut -d' ' -f1 /proc/uptime)" > /dev/console; }
other=$(got $((1 - number)))
touch /run/serves
tell "$me serves"
count=0
while true; do
  count=$((count + 1))
  put $number $count
  now=$(got $((1 - number)))
  [ "$now" = "$other" ] || tell "both run: $other then $now"
  other=$now
  usleep 50000
done
