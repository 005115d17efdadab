#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
#
# Process 1 of tools/vm's virtual machine: makes it a machine, runs the commands of /vm/commands, tells their exit status on the
# second serial line, where their output goes too, and ends the machine.

export PATH=/usr/sbin:/usr/bin

# The initramfs itself is a root that nobody may pivot from, as containers do; a bind mount of it is one like any other.
if [ "$1" != again ]; then
    mount -o bind / /new
    cd /new || exit 1
    mount --move . /
    exec chroot . /init again
fi

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
ip link set lo up
ulimit -n 1048576
while read -r module; do insmod "/vm/modules/$module"; done </vm/modules/order
stty -F /dev/ttyS1 raw -echo
exec </dev/null >/dev/ttyS1 2>&1
# shellcheck source=/dev/null
. /vm/environment
cd /vm/tree || exit 1
printf '# Linux %s\n' "$(uname -r)"
status=0
while read -r command; do
    # shellcheck disable=SC2086 # a program and its arguments
    set -- $command
    began=$(date +%s)
    "$@" </dev/null
    ended=$?
    printf '# %s: exit status %d, %d s\n' "$1" "$ended" $(($(date +%s) - began))
    [ "$status" != 0 ] || status=$ended
done </vm/commands
printf 'vm: status %d\n' "$status"
reboot -f
