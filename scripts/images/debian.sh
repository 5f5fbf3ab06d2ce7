#!/usr/bin/env bash
# Makes build/images/debian/rootfs.ext4: Debian 12, minbase plus systemd as its init (docs/adr/0021). Needs the Debian archive.
# shellcheck source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
# shellcheck source=debian-rootfs.sh
. "$ROOT/scripts/images/debian-rootfs.sh"

# 180 MB are used; the rest is room to install into, and sparse on the host.
SIZE=2G
USED_MIB=320
# What a person expects of a Debian VM beyond minbase: an init, networking tools, a resolver that works, an editor-free minimum.
PACKAGES=systemd-sysv,dbus,iproute2,iputils-ping,netbase,ca-certificates,procps,less
HOOK=$ROOT/scripts/images/debian-hook.sh
RECIPE=$(cat "${BASH_SOURCE[0]}" "$ROOT/scripts/images/debian-rootfs.sh" "$HOOK" | sha256sum | cut -c1-16)

one_at_a_time images
step 'image-debian: what is there' ''
if debian_is_made debian "$RECIPE"; then
  say 'made already'
  debian_listed debian
else
  debian_rootfs debian "$RECIPE" "$SIZE" "$HOOK" "$PACKAGES" --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/man/*'
fi
