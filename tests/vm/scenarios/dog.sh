# The guard of one of two is killed. Its own watchdog is its fence.
. /pair.sh
pair 'fence = "dog"' '[[fence]]
name = "dog"
kind = "watchdog"
' || return
[ $me = kiki ] && { takes_over; return; }
mark now
kill -9 "$guard"
stays
