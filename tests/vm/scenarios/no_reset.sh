. /common.sh
server "" && runs || return
for _ in $(seq 100); do # the others have to know of the watchdog
  told=$(tasuki registry get servers/kiki/presence --json | tr -d ' \n' | grep -o '"watchdog":{[^}]*}') && break
  sleep 0.1
done
mark "told $told"
mark now
# More than a watchdog's time-out, here and below.
for _ in $(seq 80); do
  mark "alive written=$(wc -l < /run/written)"
  sleep 0.1
done
kill -TERM "$guard"
wait "$guard"
mark "guard ended with $?"
for _ in $(seq 60); do
  mark "alive"
  sleep 0.1
done
