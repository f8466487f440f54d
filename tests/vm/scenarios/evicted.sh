# One of two servers. The other one is only in the configuration: it writes into the voting file from outside,
# at every line of the console from "whole" on.
. /pair.sh
order='"kiki", "lala"'
member || return
ends() { mark alive; ! pidof counter.sh > /dev/null; }
await 60 "the service" [ -e /run/serves ] || return
mark whole
await 60 "an end of the service" ends || return
mark stopped
await 10 "the reason" grep -q evicted /run/guard.log
mark "why: $(grep -om1 '[a-z]* has evicted this server[^"]*' /run/guard.log)"
