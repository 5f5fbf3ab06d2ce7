#!/usr/bin/env bash
# Makes build/images/debian-kernel/{vmlinux,modules.cpio} out of the distribution's own kernel package, which is unpacked and not installed.
# The ELF vmlinux is what both QEMU (by its PVH note) and Firecracker boot; the modules are those that a microVM needs before it has a root.
# shellcheck source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

OUT=$IMAGES/debian-kernel
# In the order in which they are asked for; what each needs comes before it by modprobe's own table. Some are built in on some kernels.
MODULES='virtio_mmio virtio_blk virtio_net virtio_console virtio-rng virtio_balloon pvpanic-mmio button evdev rtc-cmos ext4 overlay
  vmw_vsock_virtio_transport'
# The sources of this script are part of the key: another list of modules makes another image.
RECIPE=$(sha256sum <"${BASH_SOURCE[0]}" | cut -c1-16)

# The package that the meta package stands for today. Ubuntu has no cloud flavour by this name, its `virtual` one is the like.
kernel_package() {
  local meta
  for meta in linux-image-cloud-amd64 linux-image-virtual; do
    apt-cache depends --no-recommends --no-suggests "$meta" 2>/dev/null |
      sed -n 's/^ *|\{0,1\}Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1 | grep . && return 0
  done
  return 0
}

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

# plain_module FILE OUT: the guest's loader takes plain .ko files; newer distributions pack them.
plain_module() {
  case $1 in
    *.ko) cp "$1" "$2" ;;
    *.ko.xz) xz -dcf "$1" >"$2" ;;
    *.ko.zst) zstd -dcqf "$1" >"$2" ;;
    *.ko.gz) gzip -dcf "$1" >"$2" ;;
    *) fail "debian-kernel: a module of an unknown kind: $1" ;;
  esac
}

# modules_cpio TREE RELEASE OUT: /modules/order (one file name a line, in the order to load) and /modules/*.ko, as an uncompressed newc archive.
modules_cpio() {
  local tree=$1 release=$2 out=$3 stage=$SCRATCH/stage module kind path _rest name
  mkdir -p "$stage/modules"
  : >"$stage/modules/order"
  depmod -b "$tree" "$release"
  for module in $MODULES; do
    # A name that this kernel does not have at all (renamed, or not built) is left out, aloud.
    if ! modprobe -d "$tree" -S "$release" --show-depends "$module" >"$SCRATCH/depends" 2>/dev/null; then
      say "this kernel has no module $module"
      continue
    fi
    while read -r kind path _rest; do
      [ "$kind" = insmod ] || continue
      name=$(basename "$path")
      name=${name%%.ko*}.ko
      [ -e "$stage/modules/$name" ] && continue
      plain_module "$path" "$stage/modules/$name"
      printf '%s\n' "$name" >>"$stage/modules/order"
    done <"$SCRATCH/depends"
  done
  find "$stage" -exec touch -h -d @0 {} +
  chmod -R u=rwX,go=rX "$stage"
  (cd "$stage" && find . -mindepth 1 | sort | cpio --quiet --reproducible -o -H newc -R 0:0) >"$out"
}

step 'debian-kernel: packages to unpack it' 'apt-get install lz4 zstd xz-utils kmod cpio'
install_packages lz4 zstd xz-utils kmod cpio

step 'debian-kernel: look for the kernel package' 'apt-get update, and see that the main archive is in /etc/apt/sources.list'
# With an image made already, the package index is not asked: the second run needs no network.
if [ -s "$OUT/vmlinux" ] && [ -s "$OUT/modules.cpio" ] && [ "$(cut -d' ' -f1 "$OUT/made-of" 2>/dev/null)" = "$RECIPE" ]; then
  say "made already of $(cut -d' ' -f2- "$OUT/made-of")"
  exit 0
fi
package=$(kernel_package)
if [ -z "$package" ]; then
  apt_update_once
  package=$(kernel_package)
fi
[ -n "$package" ] || fail 'debian-kernel: neither linux-image-cloud-amd64 nor linux-image-virtual is in the package index'

scratch
step "debian-kernel: download $package" 'check the network, then apt-get update'
# The index may name a version that the archive has replaced since.
if ! deb=$(download_package "$package" "$SCRATCH/debs") || [ -z "$deb" ]; then
  rm -f "$ROOT/build/.apt-updated"
  apt_update_once
  package=$(kernel_package)
  deb=$(download_package "$package" "$SCRATCH/debs")
fi
dpkg -x "$deb" "$SCRATCH/tree"
release=${package#linux-image-}
release=${release#unsigned-}
# Debian keeps the modules in the same package, Ubuntu in one of their own.
if [ ! -d "$SCRATCH/tree/lib/modules/$release" ] && [ ! -d "$SCRATCH/tree/usr/lib/modules/$release" ]; then
  step "debian-kernel: download linux-modules-$release" 'check the network, then apt-get update'
  deb=$(download_package "linux-modules-$release" "$SCRATCH/debs")
  dpkg -x "$deb" "$SCRATCH/tree"
fi
# depmod and modprobe look under lib/modules only.
if [ ! -e "$SCRATCH/tree/lib" ]; then ln -s usr/lib "$SCRATCH/tree/lib"; fi

step "debian-kernel: take the ELF kernel and $(wc -w <<<"$MODULES") modules out of it" 'see the message above'
mkdir -p "$OUT"
elf_of "$SCRATCH/tree/boot/vmlinuz-$release" "$SCRATCH/vmlinux"
modules_cpio "$SCRATCH/tree" "$release" "$SCRATCH/modules.cpio"
for file in vmlinux modules.cpio; do
  mv "$SCRATCH/$file" "$OUT/$file.part"
  mv "$OUT/$file.part" "$OUT/$file"
done
printf '%s %s\n' "$RECIPE" "$(basename "$deb")" >"$OUT/made-of"
say "$(stat -c '%n %s bytes' "$OUT/vmlinux" "$OUT/modules.cpio" | sed "s|$ROOT/||" | paste -sd' ')"
