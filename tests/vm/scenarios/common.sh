# One server with one service that writes a line ten times a second. Sourced by the scenarios.
mark() { echo "MARK $* $(cut -d' ' -f1 /proc/uptime)"; }

server() { # more of the service's configuration
  mkdir -p /run/data
  cat > /run/cluster.toml <<END
[cluster]
name = "vm"
detect = "10s"

[cluster.timing]
watchdog = "5s"

[[network]]
name = "public"
subnet = "127.1.2.0/24"
use = "public"

[[network]]
name = "interconnect"
subnet = "127.1.1.0/24"
use = "interconnect"

[[server]]
name = "kiki"
addresses = { public = "127.1.2.1", interconnect = "127.1.1.1" }

[[heartbeat]]
kind = "lan"
network = "interconnect"
[[heartbeat]]
kind = "lan"
network = "public"

[[group]]
name = "service"
servers = ["kiki"]

[[group.resource]]
name = "writer"
type = "exec"
start = "/writer.sh"
wait = false
$1
END
  export TASUKI_DATA=/run/data
  tasuki cluster init --server kiki --config /run/cluster.toml || return 1
  tasuki guard --watchdog /dev/watchdog > /run/guard.log 2>&1 &
  guard=$!
}

runs() { # until the service runs
  for _ in $(seq 300); do
    [ -s /run/written ] && return 0
    sleep 0.1
  done
  echo "the service does not run:"
  tail -n 40 /run/guard.log
  return 1
}

node() { # the node's process
  for pid in $(pidof tasuki); do
    [ "$pid" != "$guard" ] && tr '\0' ' ' < /proc/$pid/cmdline | grep -q ' node ' && echo "$pid" && return
  done
}

# The console is the clock of whoever looks from outside.
watch_on() {
  for _ in $(seq 300); do
    mark "alive written=$(wc -l < /run/written)"
    sleep 0.1
  done
}
