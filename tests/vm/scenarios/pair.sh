# Two servers on one cable, with a voting file on a disk that both have, and one service that counts into
# another such disk. Sourced by the scenarios of a pair; /me is a server's number. Kiki runs more, so that
# she is the one who goes on alone.
. /common.sh
number=$(cat /me)
[ "$number" = 0 ] && me=kiki || me=lala
shared=/dev/vdb

# Blocks of the shared disk: 0 and 1 are the service's counters, 8 a token, 9 the word that all is whole.
put() { # block, text
  printf '%-4095s\n' "$2" > /run/block
  dd if=/run/block of=$shared bs=4096 seek="$1" conv=notrunc,fsync 2> /dev/null
}
got() { # block: what the other machine has written counts, and not the cache
  blockdev --flushbufs $shared
  dd if=$shared bs=4096 skip="$1" count=1 2> /dev/null | tr -d '\0 \n'
}
await() { # seconds, what, command...
  seconds=$1 what=$2
  shift 2
  for _ in $(seq $((seconds * 5))); do
    "$@" && return 0
    sleep 0.2
  done
  echo "not in $seconds s: $what"
  tail -n 40 /run/guard.log
  return 1
}
said() { [ -n "$(got "$1")" ]; }

idle() { # group: one that only runs
  cat <<END
[[group]]
name = "$1"
servers = ["kiki", "lala"]

[[group.resource]]
name = "$1"
type = "exec"
start = "/bin/sleep 1000000"
wait = false

END
}

member() { # more of [cluster], more of the file
  [ -e /sys/class/net/eth0 ] && cable=eth0 || cable=lo
  ip addr add 10.5.0.$((number + 1))/24 dev $cable
  ip addr add 10.6.0.$((number + 1))/24 dev $cable
  ip link set $cable up
  mkdir -p /run/data
  cat > /run/cluster.toml <<END
[cluster]
name = "pair"
detect = "20s"
voting_file = "/dev/vda"
$1

[cluster.timing]
watchdog = "10s"

[[network]]
name = "public"
subnet = "10.5.0.0/24"
use = "public"

[[network]]
name = "interconnect"
subnet = "10.6.0.0/24"
use = "interconnect"

[[server]]
name = "kiki"
addresses = { public = "10.5.0.1", interconnect = "10.6.0.1" }

[[server]]
name = "lala"
addresses = { public = "10.5.0.2", interconnect = "10.6.0.2" }

[[heartbeat]]
kind = "lan"
network = "interconnect"
[[heartbeat]]
kind = "lan"
network = "public"

$2
$(idle one)
$(idle two)
[[group]]
name = "service"
servers = [${order:-"\"lala\", \"kiki\""}]

[[group.resource]]
name = "counter"
type = "exec"
start = "/counter.sh"
wait = false
END
  export TASUKI_DATA=/run/data
  if [ $number = 0 ]; then
    tasuki cluster init --server kiki --config /run/cluster.toml || return 1
  else
    await 60 "a token" said 8 || return 1
    tasuki cluster join 10.6.0.1 --token "$(got 8)" --server lala || return 1
  fi
  tasuki guard --watchdog /dev/watchdog > /run/guard.log 2>&1 &
  guard=$!
}

pair() { # as `member`; until both are, and know of each other's watchdog
  member "$@" || return 1
  if [ $number = 0 ]; then
    await 30 "the first server's registry" token || return 1
    await 90 "a whole pair" whole || return 1
    put 9 whole
  else
    await 90 "a whole pair" said 9 || return 1
  fi
}

token() {
  text=$(tasuki cluster token --server lala --json 2> /dev/null | tr -d ' \n' | sed 's/.*"token":"\([^"]*\)".*/\1/')
  [ -n "$text" ] && put 8 "$text"
}

whole() { # both vote, know of each other's watchdog, and each runs what it should
  status=$(tasuki cluster status --json | tr -d ' \n')
  echo "$status" | grep -q '"survives":true' && said 1 || return 1
  for server in kiki lala; do
    tasuki registry get servers/$server/presence --json | tr -d ' \n' | grep -q '"watchdog":{' || return 1
  done
}

takes_over() { # what kiki does: she looks until the service runs here, and then whether it runs there too
  mark whole
  await 60 "the service on this machine" [ -e /run/serves ] || return 1
  sleep 2
  tasuki fence status
}

stays() { # what lala does once she is broken: she is looked at from outside
  while true; do
    mark alive
    sleep 0.2
  done
}
