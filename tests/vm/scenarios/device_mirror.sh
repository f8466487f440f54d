# A file system on a mirrored volume that is a device of the kernel. Its server is killed and started again
# while files are written, then its peer; at the end it stands down. /order has the way to a device, /image a
# file system.
mark() { echo "MARK $* $(cut -d' ' -f1 /proc/uptime)"; }
backend=$(cat /order)
mkdir -p /mnt /dev/tasuki
for copy in 1 2; do
  pair sizes | { read -r meta data; truncate -s "$meta" /tmp/meta$copy; truncate -s "$data" /tmp/data$copy; }
  dd if=/image of=/tmp/data$copy bs=1M conv=notrunc 2> /dev/null
done

await() { # file, text
  until grep -q "$2" "$1" 2> /dev/null; do kill -0 $server && kill -0 $peer || break; usleep 10000; done
}
answers() { # the other copy
  pair server /tmp/meta2 /tmp/data2 lala kiki 127.0.0.1:29052 0 33554432 < /dev/null > /tmp/peer 2>&1 &
  peer=$!
}
serve() { # epoch: opens the volume and serves the device; orders come through descriptor 3
  rm -f /tmp/orders
  mkfifo /tmp/orders
  pair device $backend /tmp/meta1 /tmp/data1 $1 < /tmp/orders > /tmp/said 2>&1 &
  server=$!
  exec 3> /tmp/orders
  await /tmp/said " is /dev/"
  sed "s/^MARK /MARK server said /" /tmp/said
}
put() { printf '%03d\n' "$1" | dd of="$2" bs=4 seek="$3" conv=notrunc,fsync 2> /dev/null; }

answers
serve 1
mount -t ext4 /dev/tasuki/data /mnt || mark not mounted
echo first > /mnt/first
sync
(i=0; while [ $i -lt 300 ]; do put $i /mnt/log $i || echo $i >> /tmp/failed; i=$((i + 1)); done; echo done > /tmp/written) &
until [ -s /mnt/log ]; do usleep 10000; done
kill -9 $server
wait $server
mark killed
serve 2
await /tmp/said "MARK back"
kill -9 $peer
wait $peer
answers
await /tmp/said "MARK out"
until [ -e /tmp/written ]; do usleep 100000; done
[ -e /tmp/failed ] && mark failed "$(wc -l < /tmp/failed)" times || mark nothing failed
umount /mnt && mark unmounted
echo detach >&3
wait $server
mark closed with $?
sed "s/^MARK /MARK server said /" /tmp/said
one=$(dd if=/tmp/data1 bs=1M count=33 2> /dev/null | md5sum)
other=$(dd if=/tmp/data2 bs=1M count=33 2> /dev/null | md5sum)
[ "$one" = "$other" ] && mark the copies are equal || mark the copies differ

# What was written is on both: the volume is opened once more, and stands down under the file system.
serve 3
mount -t ext4 /dev/tasuki/data /mnt
mark found "$(cat /mnt/first)" and "$(wc -l < /mnt/log)" lines
echo cut >&3
wait $server
mark stood down with $?
put 1 /mnt/lost 0 && mark written without a device || mark writing fails
umount /mnt && mark unmounted
kill -9 $peer
dmesg | grep "INFO: task\|kernel BUG\|Oops" && mark the kernel complains
