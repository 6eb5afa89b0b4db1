# PID 1 of a ringfence virtual machine, run by busybox's shell.
#
# The kernel's messages go to ttyS0, what the command prints to ttyS1, the verdict to ttyS2: none
# of them can be taken for, or cut into, another.

PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
HOME=/root TERM=dumb LANG=C.UTF-8 SHELL=/bin/sh USER=root LOGNAME=root
export PATH HOME TERM LANG SHELL USER LOGNAME
bb=/bin/busybox

# The kernel unpacks an initramfs into its first mount, which nothing can be mounted over in the
# usual way: pivot_root(2) fails there. A bind mount of it on top of itself is an ordinary root,
# and costs neither time nor memory.
if [ "$1" != rooted ]; then
    $bb mkdir /.root && $bb mount -o bind / /.root && cd /.root && $bb mount -o move . / &&
        exec $bb chroot . $bb sh /init rooted
    exit 1 # The death of PID 1 is a kernel panic, which the host sees.
fi
cd /
$bb rmdir /.root

# Powers off without a verdict, which the host takes for the failure that it is.
give_up() {
    echo "vm-init: $*" >/dev/kmsg
    $bb poweroff -f
}
mounted() {
    $bb mkdir -p "$2"
    $bb mount -t "$1" -o "${3:-rw}" "$1" "$2" || give_up "cannot mount $1 on $2"
}
mounted devtmpfs /dev mode=0755,nosuid
exec </dev/null >/dev/ttyS1 2>&1
# Raw: bytes reach the host as they are.
$bb stty -F /dev/ttyS1 115200 raw -echo
$bb stty -F /dev/ttyS2 115200 raw -echo

mounted proc /proc nosuid,nodev,noexec
mounted sysfs /sys nosuid,nodev,noexec
mounted devpts /dev/pts mode=620,ptmxmode=666
mounted tmpfs /dev/shm mode=1777,nosuid,nodev
mounted tmpfs /tmp mode=1777
mounted tmpfs /run mode=0755
mounted cgroup2 /sys/fs/cgroup
mounted bpf /sys/fs/bpf mode=0700
mounted securityfs /sys/kernel/security
mounted tracefs /sys/kernel/tracing
for name in fd stdin stdout stderr; do
    case $name in
    fd) target=/proc/self/fd ;;
    stdin) target=/proc/self/fd/0 ;;
    stdout) target=/proc/self/fd/1 ;;
    stderr) target=/proc/self/fd/2 ;;
    esac
    [ -e /dev/$name ] || $bb ln -s "$target" /dev/$name
done
for controller in $($bb cat /sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
done
$bb hostname ringfence-vm
$bb ifconfig lo 127.0.0.1 up || give_up "cannot bring lo up"
$bb mkdir -p /var/tmp /srv /mnt /home/user
$bb chmod 1777 /var/tmp
$bb chmod 700 /root
$bb chown 1000:1000 /home/user

for module in /.vm/modules/*.ko; do
    [ -e "$module" ] || continue
    $bb insmod "$module" || give_up "cannot load $module"
done

# Neither is left for the command to find. The command is a `set -- WORD…`.
nonce=$($bb cat /.vm/nonce)
eval "$($bb cat /.vm/command)"
$bb rm -rf /.vm /init

# Looked up here: by its bare name, busybox would take a program of its own for it.
case $1 in
*/*) ;;
*)
    for directory in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin; do
        if [ -x "$directory/$1" ]; then
            program=$directory/$1
            shift
            set -- "$program" "$@"
            break
        fi
    done
    ;;
esac
$bb setsid "$@"
code=$?

$bb kill -9 -1
# Setting a terminal waits until what was written to it has left.
$bb stty -F /dev/ttyS1 raw -echo
echo "ringfence-vm $nonce exit $code" >/dev/ttyS2
$bb stty -F /dev/ttyS2 raw -echo
$bb poweroff -f
