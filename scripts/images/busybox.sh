#!/usr/bin/env bash
# Makes build/images/busybox/rootfs.ext4: the smallest root file system that is of use, out of Debian's busybox-static and the files written
# here. 64 MiB, of which 3 are used. No mount and no loop device: mkfs.ext4 -d fills it.
# shellcheck source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

OUT=$IMAGES/busybox
SIZE=64M
# What of it is no hole, with the tree that it is made of.
MADE_MIB=16
RECIPE=$(sha256sum <"${BASH_SOURCE[0]}" | cut -c1-16)

# write PATH: the standard input becomes a file of the tree.
write() { cat >"$TREE/$1"; }

fill_tree() {
  mkdir -p "$TREE"/{bin,sbin,etc/init.d,dev,proc,sys,run,root,home,mnt,usr/bin,usr/sbin,var/log}
  mkdir -m 1777 "$TREE/tmp"
  ln -s ../run "$TREE/var/run"
  cp "$(command -v busybox)" "$TREE/bin/busybox"
  chmod 0755 "$TREE/bin/busybox"
  local path
  # busybox knows where each of its programs is expected: bin/sh, sbin/init, usr/bin/env and so on.
  "$TREE/bin/busybox" --list-full | while read -r path; do
    [ "$path" = bin/busybox ] && continue
    mkdir -p "$TREE/$(dirname "$path")"
    ln -sf /bin/busybox "$TREE/$path"
  done
  printf 'busybox\n' | write etc/hostname
  printf '127.0.0.1\tlocalhost busybox\n::1\tlocalhost\n' | write etc/hosts
  # Only the fallback: the agent writes the network's own resolver here when the VM has one.
  printf 'nameserver 1.1.1.1\n' | write etc/resolv.conf
  printf 'root::0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' | write etc/passwd
  printf 'root:x:0:\ntty:x:5:\nnogroup:x:65534:\n' | write etc/group
  printf '/bin/sh\n/bin/ash\n' | write etc/shells
  write etc/profile <<'PROFILE'
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
export PS1='\h:\w\$ '
if [ -t 0 ] && [ -z "$MOTD_SHOWN" ]; then cat /etc/motd; fi
export MOTD_SHOWN=1
PROFILE
  write etc/motd <<'MOTD'

This is a microVM of hearth: busybox on a root file system of its own.
Nothing is shared with the host. `poweroff` ends it.

MOTD
  write etc/inittab <<'INITTAB'
::sysinit:/etc/init.d/rcS
ttyS0::askfirst:-/bin/sh
::restart:/sbin/init
::ctrlaltdel:/sbin/reboot
::shutdown:/bin/umount -a -r
INITTAB
  write etc/init.d/rcS <<'RCS'
#!/bin/sh
# The agent may have mounted some of these before: each is mounted only where nothing is.
there() { grep -qs " $1 " /proc/mounts || { mkdir -p "$1"; shift; mount "$@"; }; }
there /proc -t proc -o nosuid,nodev,noexec proc /proc
there /sys -t sysfs -o nosuid,nodev,noexec sysfs /sys
there /dev -t devtmpfs -o nosuid devtmpfs /dev
there /dev/pts -t devpts -o nosuid,noexec,gid=5,mode=620,ptmxmode=666 devpts /dev/pts
there /dev/shm -t tmpfs -o nosuid,nodev tmpfs /dev/shm
there /run -t tmpfs -o nosuid,nodev,mode=755 tmpfs /run
there /tmp -t tmpfs -o nosuid,nodev,mode=1777 tmpfs /tmp
# The agent sets the name of the VM; without it the image's own.
[ "$(hostname)" != '(none)' ] || hostname -F /etc/hostname
ip link set lo up
RCS
  chmod 0755 "$TREE/etc/init.d/rcS"
  chmod 0700 "$TREE/root"
}

make_image() {
  # A fixed UUID and hash seed, times at the epoch. What still differs from run to run is the change time of each inode, which mke2fs copies.
  find "$TREE" -exec touch -h -d @0 {} +
  truncate -s "$SIZE" "$SCRATCH/rootfs.ext4"
  E2FSPROGS_FAKE_TIME=1 SOURCE_DATE_EPOCH=1 mkfs.ext4 -q -F -L root -m 0 -U 68656172-7468-4000-8000-627573790000 \
    -E "lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0,hash_seed=68656172-7468-4000-8000-627573790001" \
    -d "$TREE" "$SCRATCH/rootfs.ext4"
  e2fsck -fn "$SCRATCH/rootfs.ext4" >"$SCRATCH/fsck.log" 2>&1 || { cat "$SCRATCH/fsck.log"; fail 'busybox: the image made is not clean'; }
}

step 'busybox: packages to make it of' 'apt-get install busybox-static e2fsprogs'
install_packages busybox-static e2fsprogs
made_of="$RECIPE busybox-static $(dpkg-query -W -f='${Version}' busybox-static)"
if [ -s "$OUT/rootfs.ext4" ] && [ "$(cat "$OUT/made-of" 2>/dev/null)" = "$made_of" ]; then
  say "made already of ${made_of#* }"
  exit 0
fi
step 'busybox: room for it' 'make room'
need_space "$MADE_MIB" "${TMPDIR:-/tmp}" TMPDIR
need_space "$MADE_MIB" "$OUT" HEARTH_IMAGES
scratch
TREE=$SCRATCH/tree
mkdir "$TREE"
chmod 0755 "$TREE"
step "busybox: fill an ext4 image of $SIZE" 'free space in the clone'
fill_tree
# The owner of each file comes from the tree: without root a user namespace of our own makes us one.
if [ "$(id -u)" = 0 ]; then
  make_image
else
  as_root chown -R 0:0 "$TREE"
  make_image
  as_root chown -R "$(id -u):$(id -g)" "$TREE"
fi
rm -f -- "$OUT/made-of"
install_whole "$SCRATCH/rootfs.ext4" "$OUT/rootfs.ext4"
printf '%s\n' "$made_of" >"$OUT/made-of"
