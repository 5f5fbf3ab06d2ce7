#!/usr/bin/env bash
# Writes build/images/images.json: what `hearth up --demo` registers. It lists only what is there; our own kernel, once made, is the default.
# shellcheck source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

entries=()
# entry NAME KIND FILE INITRD DEFAULT DESCRIPTION: INITRD is empty where there is none.
entry() {
  local name=$1 kind=$2 file=$3 initrd=$4 default=$5 description=$6 initrd_field=''
  [ -s "$IMAGES/$file" ] || return 0
  [ -z "$initrd" ] || initrd_field=$(printf '"initrd":"%s",' "$initrd")
  entries+=("$(printf '  {"name":"%s","kind":"%s","path":"%s",%s"default":%s,"description":"%s"}' \
    "$name" "$kind" "$file" "$initrd_field" "$default" "$description")")
}

step 'images: write the list of what is there' "write access to ${IMAGES}"
debian_default=true
[ ! -s "$IMAGES/hearth-kernel/vmlinux" ] || debian_default=false
entry hearth-kernel kernel hearth-kernel/vmlinux '' true "Linux 6.1 built for microVMs: no modules, boots fastest"
entry debian-kernel kernel debian-kernel/vmlinux debian-kernel/modules.cpio "$debian_default" "Debian's own cloud kernel with the modules that a microVM needs"
entry busybox rootfs busybox/rootfs.ext4 '' true "busybox on 64 MiB: a shell and the usual small tools"
entry debian rootfs debian/rootfs.ext4 '' false "Debian 12, minimal, with systemd and apt"
entry debian-cloud rootfs debian-cloud/rootfs.ext4 '' false "Debian 12 as its cloud image has it: configured by cloud-init"
for file in "$IMAGES"/*/from-cloud-image; do
  [ -e "$file" ] || continue
  name=$(basename "$(dirname "$file")")
  entry "$name" rootfs "$name/rootfs.ext4" '' false "The root file system of $(cat "$file")"
done
mkdir -p "$IMAGES"
{
  printf '[\n'
  for i in "${!entries[@]}"; do
    [ "$i" = 0 ] || printf ',\n'
    printf '%s' "${entries[$i]}"
  done
  printf '\n]\n'
} >"$IMAGES/images.json.part"
mv "$IMAGES/images.json.part" "$IMAGES/images.json"
say "${#entries[@]} in $IMAGES/images.json"
