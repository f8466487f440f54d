# Two copies of a volume on the first disk, written until the machine ends. With a second disk, every write
# and every flush is recorded there.
export DM_DISABLE_UDEV=1
size=$(pair table | awk '{ last = $2 + $3 } END { print last }')
base=/dev/vda
if [ -b /dev/vdb ]; then
  dmsetup create recorded --table "0 $size log-writes /dev/vda /dev/vdb" || return
  base=/dev/mapper/recorded
fi
pair table | while read -r name from long; do
  dmsetup create "$name" --table "0 $long linear $base $from"
done
pair write /dev/mapper $(cat /words)
for name in meta1 data1 meta2 data2 ledger; do
  dmsetup remove "$name"
done
[ -b /dev/vdb ] && dmsetup remove recorded
