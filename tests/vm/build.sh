#!/bin/sh
# Makes what pack.sh completes and a test boots: a Debian kernel, and a small first file system with
# busybox and the modules for a watchdog, disks and a cable between two machines.
#
# usage: build.sh DIR [RELEASE] [MODULE...]       reads Debian's package archive; some seconds
#        RELEASE of Debian, where the kernel is not the configured one; "" for that
#        MODULE  more modules, in the order in which they are loaded
# needs: apt-get dpkg-deb depmod cpio gzip busybox (static); xz where the modules are packed
set -eu
dir=$1 release=${2:-}
[ $# -lt 3 ] && more= || { shift 2; more=$*; }
mkdir -p "$dir"
cd "$dir"
options=
if [ -n "$release" ]; then
  # Another release has lists of its own, beside the machine's.
  mkdir -p apt/lists/partial apt/archives/partial
  from=$(awk '/^URIs:/{print $2; exit}' /etc/apt/sources.list.d/*.sources)
  echo "deb $from $release main" > apt/sources.list
  options="-o Dir::Etc::sourcelist=$PWD/apt/sources.list -o Dir::Etc::sourceparts=- -o Dir::State::lists=$PWD/apt/lists
    -o Dir::Cache::archives=$PWD/apt/archives -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root"
  apt-get $options -qq update
fi
package=$(apt-cache $options depends linux-image-cloud-amd64 | awk '/Depends: linux-image-/{print $2; exit}')
rm -rf kernel base ./*.deb
apt-get $options -qq download "$package"
dpkg-deb -x "$package"_*.deb kernel
version=${package#linux-image-}
[ -d kernel/lib/modules ] || { mkdir -p kernel/lib; cp -a kernel/usr/lib/modules kernel/lib/; }
depmod -b kernel "$version"

mkdir -p base/bin base/modules base/proc base/sys base/dev base/run base/tmp base/etc base/lib64 base/var
cp "$(command -v busybox)" base/bin/busybox
number=10
for module in virtio_pci virtio_blk virtio_net softdog dm_mod dm_log_writes $more; do
  modprobe -d "$PWD/kernel" -S "$version" --show-depends "$module" | awk '/^insmod/{print $2}'
done | awk '!seen[$0]++' | while read -r file; do
  number=$((number + 1))
  case $file in
    *.xz) xz -dc "$file" > "base/modules/$number-$(basename "$file" .xz)" ;;
    *) cp "$file" "base/modules/$number-$(basename "$file")" ;;
  esac
done
cat > base/init <<'END'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mount -t cgroup2 cgroup /sys/fs/cgroup
for module in /modules/*; do insmod "$module"; done
ip link set lo up
hostname vm
echo "MARK booted $(uname -r) $(cut -d' ' -f1 /proc/uptime)"
sh /scenario.sh
echo "MARK end of the scenario"
echo o > /proc/sysrq-trigger
sleep 60
END
chmod +x base/init
(cd base && find . | cpio -o -H newc --quiet) | gzip -1 > base.gz
cp kernel/boot/vmlinuz-"$version" vmlinuz
rm -rf kernel base apt ./*.deb
echo "$version" > made-2
