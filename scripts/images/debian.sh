#!/usr/bin/env bash
# Makes build/images/debian/rootfs.ext4: Debian 12, minbase plus systemd as its init (docs/adr/0021). By mmdebstrap and mkfs.ext4 -d:
# no mount, no loop device. Needs the Debian archive.
# shellcheck source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

OUT=$IMAGES/debian
SUITE=bookworm
# 180 MB are used; the rest is room to install into, and sparse on the host.
SIZE=2G
# What a person expects of a Debian VM beyond minbase: an init, networking tools, a resolver that works, an editor-free minimum.
PACKAGES=systemd-sysv,dbus,iproute2,iputils-ping,netbase,ca-certificates,procps,less
RECIPE=$(cat "${BASH_SOURCE[0]}" "$ROOT/scripts/images/debian-hook.sh" | sha256sum | cut -c1-16)
# Reinstalling once a quarter of a year keeps the security fixes coming without making every `make image-debian` slow.
KEEP_DAYS=90

step 'image-debian: what is there' ''
if [ -s "$OUT/rootfs.ext4" ] && [ "$(cat "$OUT/made-of" 2>/dev/null)" = "$RECIPE" ] && [ -n "$(find "$OUT/rootfs.ext4" -mtime "-$KEEP_DAYS")" ]; then
  say 'made already'
  "$ROOT/scripts/images/manifest.sh"
  exec "$ROOT/scripts/images/register.sh" debian rootfs "$OUT/rootfs.ext4"
fi
step 'image-debian: packages to make it with' 'apt-get install mmdebstrap e2fsprogs'
install_packages mmdebstrap e2fsprogs debian-archive-keyring
scratch

step "image-debian: install Debian $SUITE into a folder (one to three minutes)" 'check the network; HEARTH_DEBIAN_MIRROR names another mirror'
mirror=()
if [ -n "${HEARTH_DEBIAN_MIRROR:-}" ]; then
  mirror=("$HEARTH_DEBIAN_MIRROR")
elif grep -qx "VERSION_CODENAME=$SUITE" /etc/os-release; then
  # The archive that this machine itself is installed from is the one that can be reached.
  cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | grep -E "^deb .*\b$SUITE(-updates|-security)?\b" | grep -v backports >"$SCRATCH/sources.list" || true
  cat /etc/apt/sources.list.d/debian.sources >>"$SCRATCH/sources.sources" 2>/dev/null || true
  if [ -s "$SCRATCH/sources.list" ]; then mirror=("$SCRATCH/sources.list"); elif [ -s "$SCRATCH/sources.sources" ]; then mirror=("$SCRATCH/sources.sources"); fi
fi
mkdir -p "$OUT"
as_root mmdebstrap --quiet --variant=minbase --include="$PACKAGES" \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/man/*' \
  --customize-hook="$ROOT/scripts/images/debian-hook.sh" \
  "$SUITE" "$SCRATCH/tree" "${mirror[@]}"

step "image-debian: fill an ext4 image of $SIZE" "free space: 700 MB in ${TMPDIR:-/tmp} and in the clone"
truncate -s "$SIZE" "$SCRATCH/rootfs.ext4"
as_root mkfs.ext4 -q -F -L root -m 0 -E lazy_itable_init=1,lazy_journal_init=1 -d "$SCRATCH/tree" "$SCRATCH/rootfs.ext4"
# The tree belongs to root: it must go by the same hand.
as_root rm -rf -- "$SCRATCH/tree"
as_root chown "$(id -u):$(id -g)" "$SCRATCH/rootfs.ext4"
cp --sparse=always "$SCRATCH/rootfs.ext4" "$OUT/rootfs.ext4.part"
mv "$OUT/rootfs.ext4.part" "$OUT/rootfs.ext4"
printf '%s\n' "$RECIPE" >"$OUT/made-of"
"$ROOT/scripts/images/manifest.sh"
"$ROOT/scripts/images/register.sh" debian rootfs "$OUT/rootfs.ext4"
