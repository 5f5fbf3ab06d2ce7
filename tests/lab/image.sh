#!/usr/bin/env bash
# Makes what the lab's machine boots, once for every clone: kernel, initramfs (busybox and what it needs to reach its root) and the kernel's
# modules, out of the distribution's own kernel package. Prints the folder, and all else to stderr. What the machine does is not in it: tests/lab/init.
# shellcheck source=../../scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
# shellcheck source=../../scripts/images/kernel-package.sh
. "$ROOT/scripts/images/kernel-package.sh"

# For the way to the root file system; all else is loaded from the modules' folder when it is wanted.
MODULES='virtio_pci virtio_blk virtio_console virtiofs overlay ext4'
RECIPE=$(cat "${BASH_SOURCE[0]}" "$ROOT/scripts/images/kernel-package.sh" | sha256sum | cut -c1-16)
OUT=$HEARTH_CACHE/lab/$RECIPE
# An older clone may still use the older recipe's.
OLD_DAYS=30
# Debian 12's package unpacked, and what is kept of it; Ubuntu's is larger.
UNPACKED_MIB=400
MADE_MIB=200

exec 3>&1 >&2
step 'lab: the packages to make its machine' 'apt-get install busybox-static cpio lz4 zstd xz-utils kmod'
install_packages busybox-static cpio lz4 zstd xz-utils kmod
one_at_a_time lab
step 'lab: kernel and initramfs' 'see the message above'
if [ -s "$OUT/made-of" ]; then
  say "made already of $(cat "$OUT/made-of")"
  touch "$OUT"
  printf '%s\n' "$OUT" >&3
  exit 0
fi
need_space "$UNPACKED_MIB" "${TMPDIR:-/tmp}" TMPDIR
need_space "$MADE_MIB" "$OUT" HEARTH_CACHE
scratch
unpack_kernel lab
step 'lab: take kernel, initramfs and modules out of it' 'see the message above'
stage=$SCRATCH/stage
mkdir -p "$stage"/{bin,dev,host,new,proc,scratch,sys}
cp "$(command -v busybox)" "$stage/bin/busybox"
# shellcheck disable=SC2086
stage_modules "$stage" $MODULES
new=$SCRATCH/new
mkdir -p "$new/lib/modules"
(cd "$stage" && find . -mindepth 1 | sort | cpio --quiet -o -H newc -R 0:0) >"$new/initrd"
cp "$SCRATCH/tree/boot/vmlinuz-$KERNEL_RELEASE" "$new/vmlinuz"
mv "$(readlink -f "$SCRATCH/tree/lib")/modules/$KERNEL_RELEASE" "$new/lib/modules/"
printf '%s\n' "$KERNEL_DEB" >"$new/made-of"
mkdir -p "$HEARTH_CACHE/lab"
find "$HEARTH_CACHE/lab" -mindepth 1 -maxdepth 1 -mtime "+$OLD_DAYS" -exec rm -rf -- {} +
rm -rf -- "$OUT" "$OUT.part"
cp -R "$new" "$OUT.part"
mv "$OUT.part" "$OUT"
say "$(du -sk "$OUT" | cut -f1) KiB of $KERNEL_DEB"
printf '%s\n' "$OUT" >&3
