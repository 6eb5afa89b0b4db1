#!/bin/busybox sh
# Runs the command of this virtual machine, tells its exit code, and powers off.

HOME=/root TERM=dumb LANG=C.UTF-8 SHELL=/bin/sh USER=root LOGNAME=root
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH HOME TERM LANG SHELL USER LOGNAME
bb=/bin/busybox
# Raw: bytes reach the host as they are.
exec </dev/null >/dev/ttyS1 2>&1
$bb stty -F /dev/ttyS1 115200 raw -echo
$bb stty -F /dev/ttyS2 115200 raw -echo

# Neither is left for the command to find. The command is a `set -- WORD…`.
nonce=$($bb cat /.vm/nonce)
eval "$($bb cat /.vm/command)"
$bb rm -rf /.vm

cd /
"$@"
code=$?

# Setting a terminal waits until what was written to it has left.
$bb stty -F /dev/ttyS1 raw -echo
echo "ringfence-vm $nonce exit $code" >/dev/ttyS2
$bb stty -F /dev/ttyS2 raw -echo
$bb poweroff -f
