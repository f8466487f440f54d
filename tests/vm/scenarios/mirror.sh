# One of two machines, each with one copy of a volume: the management area on the first disk, the data on the
# second. Orders come over the console; see `node/volume/examples/pair/apart.rs`.
number=$(cat /me)
[ "$number" = 0 ] && me=kiki peer=lala || me=lala peer=kiki
ip addr add 10.7.0.$((number + 1))/24 dev eth0
ip link set eth0 up
pair server /dev/vda /dev/vdb $me $peer 10.7.0.$((2 - number)):29051 $(cat /words) < /dev/ttyS0
