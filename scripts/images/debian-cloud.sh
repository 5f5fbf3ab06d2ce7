#!/usr/bin/env bash
# Makes build/images/debian-cloud/rootfs.ext4: the root file system of Debian's own cloud image (genericcloud), made of the same packages out of the
# Debian archive, without the kernel and the boot loader that a microVM has no use for. Nothing of hearth is in it: cloud-init configures it.
# shellcheck source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
# shellcheck source=debian-rootfs.sh
. "$ROOT/scripts/images/debian-rootfs.sh"

# As large as Debian's; sparse on the host.
SIZE=3G
# 402 MiB is what the image has, 2026-11-29.
USED_MIB=640
# Source: https://salsa.debian.org/cloud-team/debian-cloud-images, config_space/bookworm/package_config/{SYSTEM_BOOT,CLOUD,EXTRAS}, less what only
# somebody at a keyboard would miss (editors, man pages, reportbug).
PACKAGES=init,udev,kmod,dbus,libpam-systemd,sudo,polkitd,cloud-init,cloud-guest-utils,netplan.io,systemd-resolved,libnss-myhostname,systemd-timesyncd
PACKAGES+=,openssh-server,openssh-sftp-server,ssh-import-id,unattended-upgrades,apparmor,iptables
PACKAGES+=,apt-utils,ca-certificates,curl,ethtool,iproute2,iputils-ping,less,netbase,procps,socat,uuid-runtime,whiptail,xz-utils,zstd
HOOK=$ROOT/scripts/images/debian-cloud-hook.sh
RECIPE=$(cat "${BASH_SOURCE[0]}" "$ROOT/scripts/images/debian-rootfs.sh" "$HOOK" | sha256sum | cut -c1-16)

one_at_a_time images
step 'image-debian-cloud: what is there' ''
if debian_is_made debian-cloud "$RECIPE"; then
  say 'made already'
  debian_listed debian-cloud
else
  debian_rootfs debian-cloud "$RECIPE" "$SIZE" "$HOOK" "$PACKAGES"
fi
