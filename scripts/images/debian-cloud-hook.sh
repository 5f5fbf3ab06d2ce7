#!/usr/bin/env bash
# Called by mmdebstrap with the folder of the new system, before it is packed: what the builders of Debian's cloud image do to it at the end, and
# nothing else. Source: https://salsa.debian.org/cloud-team/debian-cloud-images, config_space/bookworm/{files,scripts}.
set -euo pipefail
ROOT=$1

# Theirs is found by its PARTUUID; this one has no partition table.
printf 'LABEL=root / ext4 rw,discard,errors=remount-ro,x-systemd.growfs 0 1\n' >"$ROOT/etc/fstab"
chroot "$ROOT" systemctl --quiet enable systemd-networkd.service systemd-resolved.service
ln -sf /run/systemd/resolve/resolv.conf "$ROOT/etc/resolv.conf"
# Else cloud-init wants en_US.UTF-8, which is not generated.
printf 'LANG=C.UTF-8\n' >"$ROOT/etc/default/locale"
# Identities are each guest's own.
rm -f "$ROOT"/etc/ssh/ssh_host_* "$ROOT/var/lib/dbus/machine-id" "$ROOT/etc/mailname"
: >"$ROOT/etc/hostname"
: >"$ROOT/etc/machine-id"
rm -rf "$ROOT"/var/cache/apt/* "$ROOT"/var/lib/apt/lists/*
