. /common.sh
server '
[[group.resource]]
name = "broken"
type = "exec"
start = "/broken.sh"
depends_on = ["writer"]
on_start_failure = { retries = 0, failovers = 0, final = "reset" }' || return
for _ in $(seq 300); do
  [ -e /run/broken ] && break
  sleep 0.1
done
[ -e /run/broken ] || { tail -n 40 /run/guard.log; return; }
watch_on
