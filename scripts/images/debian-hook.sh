#!/usr/bin/env bash
# Called by mmdebstrap with the folder of the new system, before it is packed: the few files that make Debian a microVM of ours.
set -euo pipefail
ROOT=$1

printf 'debian\n' >"$ROOT/etc/hostname"
printf '127.0.0.1\tlocalhost debian\n::1\tlocalhost\n' >"$ROOT/etc/hosts"
# Only the fallback: the agent writes the network's own resolver when the VM has one.
printf 'nameserver 1.1.1.1\n' >"$ROOT/etc/resolv.conf"
printf '\nThis is a microVM of hearth: Debian on a root file system of its own.\n\n' >"$ROOT/etc/motd"
printf '/dev/vda / ext4 defaults,noatime 0 0\n' >"$ROOT/etc/fstab"
# Empty: each VM gets an identity of its own at its first boot.
: >"$ROOT/etc/machine-id"
ln -sf /lib/systemd/system/multi-user.target "$ROOT/etc/systemd/system/default.target"

# Timers that wake an idle VM, and units that wait for devices or modules which a microVM does not have.
for unit in systemd-timesyncd.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer e2scrub_reap.service \
  systemd-pstore.service proc-sys-fs-binfmt_misc.automount serial-getty@ttyS0.service; do
  ln -sf /dev/null "$ROOT/etc/systemd/system/$unit"
done

# A login on the console that waits for no device (there is no udev), as root: whoever has the console has the VM.
mkdir -p "$ROOT/etc/systemd/system/console-getty.service.d"
printf '[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin root --noclear --keep-baud 115200 console linux\n' \
  >"$ROOT/etc/systemd/system/console-getty.service.d/autologin.conf"
chroot "$ROOT" systemctl --quiet enable console-getty.service
chroot "$ROOT" passwd --quiet --delete root
