#!/usr/bin/env bash
# Makes build/images/hearth-kernel/vmlinux: Debian's kernel source 6.1 with a configuration for microVMs only (no modules, no initial RAM
# disk of modules; boots in a third of the time of Debian's own kernel). Takes 10 to 30 minutes of CPU once; the result is kept in the cache
# under a key of configuration and package version, and shared by every clone on this machine. `--cached`: only take what is kept already.
# shellcheck source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

CONFIG=$ROOT/scripts/images/guest-kernel-6.1.config
SOURCE=linux-source-6.1
OUT=$IMAGES/hearth-kernel
# The package, 1.5 GB of source, and what is built of it.
BUILD_MIB=2048
MADE_MIB=64
# What must be in the result, whatever the defaults of the source do: without one of these a VM does not boot or cannot be served.
REQUIRED='ACPI PCI PVH VIRTIO_MMIO VIRTIO_MMIO_CMDLINE_DEVICES VIRTIO_BLK VIRTIO_NET VIRTIO_CONSOLE VIRTIO_VSOCKETS HW_RANDOM_VIRTIO VIRTIO_BALLOON
  VMGENID PVPANIC_MMIO EXT4_FS
  TMPFS DEVTMPFS DEVTMPFS_MOUNT OVERLAY_FS ISO9660_FS SERIAL_8250_CONSOLE RTC_INTF_DEV INPUT_EVDEV BLK_DEV_INITRD UNIX INET NF_TABLES'

step 'kernel: look for the source package' "'$SOURCE' comes with Debian 12; elsewhere build it there and copy build/images/hearth-kernel"
version=$(candidate_version "$SOURCE")
if [ -z "$version" ] && [ "${1:-}" = --cached ]; then exit 0; fi
if [ -z "$version" ]; then
  apt_update_once
  version=$(candidate_version "$SOURCE")
fi
[ -n "$version" ] || fail "no package $SOURCE here: it comes with Debian 12 (a container of it will do); copy its build/images/hearth-kernel"
key=$(printf '%s\n' "$version" | cat - "$CONFIG" | sha256sum | cut -c1-16)
cached=$HEARTH_CACHE/kernel/$key

if [ "${1:-}" = --cached ] && [ ! -s "$cached/vmlinux" ]; then
  say "not built yet; 'make kernel' does (VMs then boot in a third of the time)"
  exit 0
fi
one_at_a_time kernel
if [ ! -s "$cached/vmlinux" ]; then
  step 'kernel: packages to build it' 'apt-get install build-essential flex bison libelf-dev bc libssl-dev'
  install_packages build-essential flex bison libelf-dev bc libssl-dev xz-utils
  step 'kernel: room to build it' 'make room'
  need_space "$BUILD_MIB" "${TMPDIR:-/tmp}" TMPDIR
  need_space "$MADE_MIB" "$cached" HEARTH_CACHE
  scratch
  step "kernel: download $SOURCE $version (138 MB)" 'check the network and /etc/apt/sources.list'
  deb=$(download_package "$SOURCE" "$SCRATCH")
  step 'kernel: unpack (1.5 GB for the time of the build)' "free space in ${TMPDIR:-/tmp}, or set TMPDIR"
  dpkg --fsys-tarfile "$deb" | tar -xOf - "./usr/src/$SOURCE.tar.xz" | tar -xJf - -C "$SCRATCH"
  tree=$SCRATCH/$SOURCE
  step 'kernel: configure' 'compare scripts/images/guest-kernel-6.1.config with the source'
  make -C "$tree" ARCH=x86_64 KCONFIG_ALLCONFIG="$CONFIG" allnoconfig >"$SCRATCH/configure.log"
  for option in $REQUIRED; do
    grep -q "^CONFIG_$option=y" "$tree/.config" || fail "kernel: CONFIG_$option did not make it into the configuration"
  done
  step "kernel: build with $JOBS jobs (10 to 30 minutes)" 'the last lines above name the object that failed'
  # A fixed user, host and date: the same source and configuration give the same bytes.
  make -C "$tree" ARCH=x86_64 -j"$JOBS" KBUILD_BUILD_USER=hearth KBUILD_BUILD_HOST=hearth KBUILD_BUILD_TIMESTAMP='2026-01-01' vmlinux \
    >"$SCRATCH/build.log" 2>&1 || { tail -n 40 "$SCRATCH/build.log"; fail 'kernel: the build broke, see above'; }
  strip -o "$SCRATCH/vmlinux" "$tree/vmlinux"
  mkdir -p "$cached"
  cp "$tree/.config" "$cached/config"
  # Last, for it is what the next run looks for.
  install_whole "$SCRATCH/vmlinux" "$cached/vmlinux"
fi

step "kernel: $(stat -c %s "$cached/vmlinux") bytes at ${OUT#"$ROOT"/}/vmlinux" 'free space in the clone'
mkdir -p "$OUT"
cmp -s "$cached/vmlinux" "$OUT/vmlinux" || install_whole "$cached/vmlinux" "$OUT/vmlinux"
cp "$cached/config" "$OUT/config"
if [ "${1:-}" = --cached ]; then exit 0; fi
"$ROOT/scripts/images/manifest.sh"
"$ROOT/scripts/images/register.sh" hearth-kernel kernel "$OUT/vmlinux" --default
