#!/usr/bin/env bash
# Makes build/images/debian-kernel/{vmlinux,modules.cpio} out of the distribution's own kernel package, which is unpacked and not installed.
# The ELF vmlinux is what both QEMU (by its PVH note) and Firecracker boot; the modules are those that a microVM needs before it has a root.
# shellcheck source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
# shellcheck source=kernel-package.sh
. "$ROOT/scripts/images/kernel-package.sh"

OUT=$IMAGES/debian-kernel
# Debian 12's: 131 MiB package and tree, 53 what is made of it; Ubuntu's are larger.
UNPACKED_MIB=300
MADE_MIB=100
# In the order in which they are asked for; what each needs comes before it by modprobe's own table. Some are built in on some kernels.
# isofs: cloud-init in an image without this kernel's modules finds its seed all the same.
MODULES='virtio_mmio virtio_blk virtio_net virtio_console virtio-rng virtio_balloon virtio_mem pvpanic-mmio button evdev rtc-cmos ext4 overlay
  vmw_vsock_virtio_transport isofs'
# The sources of this script are part of the key: another list of modules makes another image.
RECIPE=$(cat "${BASH_SOURCE[0]}" "$ROOT/scripts/images/kernel-package.sh" | sha256sum | cut -c1-16)

# elf_of BZIMAGE OUT: a bzImage carries the ELF file packed; the boot protocol's header says where (Documentation/x86/boot.rst: setup_sects
# at 0x1f1, payload_offset at 0x248, payload_length at 0x24c). The last four bytes of the payload are its unpacked size.
elf_of() {
  local image=$1 out=$2 sects offset length start magic
  sects=$(od -An -tu1 -j $((0x1f1)) -N1 "$image" | tr -d ' ')
  offset=$(od -An -tu4 -j $((0x248)) -N4 "$image" | tr -d ' ')
  length=$(od -An -tu4 -j $((0x24c)) -N4 "$image" | tr -d ' ')
  # Zero means four, for loaders of 1995.
  [ "$sects" != 0 ] || sects=4
  start=$(((sects + 1) * 512 + offset))
  dd if="$image" of="$SCRATCH/payload" bs=1M iflag=skip_bytes,count_bytes skip="$start" count=$((length - 4)) status=none
  magic=$(od -An -tx1 -N4 "$SCRATCH/payload" | tr -d ' ')
  case $magic in
    02214c18) lz4 -dcf "$SCRATCH/payload" >"$out" ;;
    28b52ffd) zstd -dcf "$SCRATCH/payload" >"$out" ;;
    fd377a58) xz -dcf "$SCRATCH/payload" >"$out" ;;
    1f8b08*) gzip -dcf "$SCRATCH/payload" >"$out" ;;
    *) fail "debian-kernel: the payload of the kernel is packed in a way unknown here (magic $magic)" ;;
  esac
  [ "$(od -An -tx1 -N4 "$out" | tr -d ' ')" = 7f454c46 ] || fail 'debian-kernel: what came out of the kernel image is no ELF file'
}

# modules_cpio OUT: /modules/order and /modules/*.ko, as an uncompressed newc archive.
modules_cpio() {
  local stage=$SCRATCH/stage
  # shellcheck disable=SC2086
  stage_modules "$stage" $MODULES
  find "$stage" -exec touch -h -d @0 {} +
  chmod -R u=rwX,go=rX "$stage"
  (cd "$stage" && find . -mindepth 1 | sort | cpio --quiet --reproducible -o -H newc -R 0:0) >"$1"
}

step 'debian-kernel: packages to unpack it' 'apt-get install lz4 zstd xz-utils kmod cpio'
install_packages lz4 zstd xz-utils kmod cpio

step 'debian-kernel: look for the kernel package' 'apt-get update, and see that the main archive is in /etc/apt/sources.list'
# With an image made already, the package index is not asked: the second run needs no network.
if [ -s "$OUT/vmlinux" ] && [ -s "$OUT/modules.cpio" ] && [ "$(cut -d' ' -f1 "$OUT/made-of" 2>/dev/null)" = "$RECIPE" ]; then
  say "made already of $(cut -d' ' -f2- "$OUT/made-of")"
  exit 0
fi
step 'debian-kernel: room for it' 'make room'
need_space "$UNPACKED_MIB" "${TMPDIR:-/tmp}" TMPDIR
need_space "$MADE_MIB" "$OUT" HEARTH_IMAGES
scratch
unpack_kernel debian-kernel
step "debian-kernel: take the ELF kernel and $(wc -w <<<"$MODULES") modules out of it" 'see the message above'
elf_of "$SCRATCH/tree/boot/vmlinuz-$KERNEL_RELEASE" "$SCRATCH/vmlinux"
modules_cpio "$SCRATCH/modules.cpio"
# What is half exchanged is made of nothing that the next run knows, and is made anew.
rm -f -- "$OUT/made-of"
for file in vmlinux modules.cpio; do install_whole "$SCRATCH/$file" "$OUT/$file"; done
printf '%s %s\n' "$RECIPE" "$KERNEL_DEB" >"$OUT/made-of"
say "$(stat -c '%n %s bytes' "$OUT/vmlinux" "$OUT/modules.cpio" | sed "s|$ROOT/||" | paste -sd' ')"
