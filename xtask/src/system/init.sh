# The first program of a virtual machine with a Debian system, run by busybox's shell: puts this
# boot's files onto the disk, and gives way to the init that is there.

bb=/bin/busybox
give_up() {
    echo "vm-init: $*" >/dev/kmsg
    $bb poweroff -f
}
$bb mkdir -p /dev /proc /disk
$bb mount -t devtmpfs devtmpfs /dev || give_up "cannot mount /dev"
for module in /.vm/modules/*.ko; do
    $bb insmod "$module" || give_up "cannot load $module"
done
$bb mount -t ext4 -o noatime /dev/vda /disk || give_up "cannot mount the disk"
$bb cp -a /.vm/root/. /disk/ || give_up "cannot copy to the disk"
$bb rm -rf /.vm/root /.vm/modules
$bb mkdir -m 700 /disk/.vm
$bb cp -a /.vm/command /.vm/nonce /disk/.vm/
$bb chown 1000:1000 /disk/home/user
$bb mount -o move /dev /disk/dev || $bb umount /dev
exec $bb switch_root /disk /usr/lib/systemd/systemd
