# Guard and node of one of two are frozen: the other one evicts it in the voting file, which it does not read.
. /pair.sh
pair || return
[ $me = kiki ] && { takes_over; return; }
frozen="$guard $(node)"
mark now
kill -STOP $frozen
stays
