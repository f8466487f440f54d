# A file system on a device whose server is killed and started again; then one that is cut off.
# /order has the way to a device, /image a file system.
mark() { echo "MARK $* $(cut -d' ' -f1 /proc/uptime)"; }
backend=$(cat /order)
cp /image /tmp/volume
mkdir -p /mnt

serve() { # starts a server; its orders come through descriptor 3
  rm -f /tmp/orders
  mkfifo /tmp/orders
  volume_device "$backend" /tmp/volume /dev/tasuki /run/tasuki < /tmp/orders > /tmp/said 2>&1 &
  server=$!
  exec 3> /tmp/orders
  until grep -q . /tmp/said 2> /dev/null; do kill -0 $server || break; usleep 10000; done
  sed "s/^/MARK server said /" /tmp/said
}

serve
mount -t ext4 /dev/tasuki/data /mnt || mark not mounted
echo first > /mnt/first
sync
put() { printf '%03d\n' "$1" | dd of="$2" bs=4 seek="$3" conv=notrunc,fsync 2> /dev/null; }
(i=0; while [ $i -lt 300 ]; do put $i /mnt/log $i || echo $i >> /tmp/failed; i=$((i + 1)); done; echo done > /tmp/written) &
until [ -s /mnt/log ]; do usleep 10000; done
kill -9 $server
wait $server
# Nothing of the file system is touched here: whoever does waits for the next server.
mark killed
serve
until [ -e /tmp/written ]; do usleep 100000; done
[ -e /tmp/failed ] && mark failed "$(wc -l < /tmp/failed)" times || mark nothing failed
umount /mnt && mark unmounted
echo detach >&3
wait $server
mark detached with $?
sed "s/^/MARK server said /" /tmp/said

# What was written is in the volume: a device made anew shows it.
serve
mount -t ext4 /dev/tasuki/data /mnt
mark found "$(cat /mnt/first)" and "$(wc -l < /mnt/log)" lines
echo detach >&3
usleep 2500000
sed "s/^/MARK in use: /" /tmp/said
echo cut >&3
wait $server
mark cut off with $?
put 1 /mnt/lost 0 && mark written without a device || mark writing fails
umount /mnt && mark unmounted
dmesg | grep "INFO: task\|kernel BUG\|Oops" && mark the kernel complains
