#!/bin/bash
# First process of one machine: bash machine-init.sh NAME STATE CHECKOUT [lifeline]
# These arguments are the record of which checkout runs which cluster (machines.py reads them from /proc).
# Gives the machine its own /proc, /sys, /run, /var/lib and /var/log, says "ready" and then reaps orphans for ever.
# With "lifeline", it ends as soon as whoever holds the other end of its standard input is gone.
set -e
name=$1 folder=$2/machines/$1 lifeline=$4
mkdir -p "$folder"/{lib,log,cgroup}

mount --make-rprivate /
# A fresh sysfs shows the links of this network namespace; the cgroup tree is carried over into it.
mount --rbind /sys/fs/cgroup "$folder/cgroup"
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount --rbind "$folder/cgroup" /sys/fs/cgroup
umount --recursive --lazy "$folder/cgroup"
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/netns
mount --bind "$folder/lib" /var/lib
mount --bind "$folder/log" /var/log
# The kubelet wants its root shared; it is, but only inside this machine.
mount --make-rshared /
hostname "$name"
ip link set lo up

echo ready
exec >/dev/null 2>&1
if [ "$lifeline" = lifeline ]; then
  while read -r _; do :; done
  exit 0
fi
while :; do sleep 1000000 & wait $!; done
