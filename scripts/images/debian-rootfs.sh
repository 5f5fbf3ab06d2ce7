# Debian 12 as an ext4 root file system, by mmdebstrap and mkfs.ext4 -d: no mount, no loop device. Source it after lib.sh; what is installed and
# how the system is finished is said by the script that sources it.
# shellcheck shell=bash

SUITE=bookworm
# Reinstalling once a quarter of a year keeps the security fixes coming without making every run slow.
KEEP_DAYS=90

# debian_is_made NAME RECIPE: whether build/images/NAME/rootfs.ext4 is there, of this recipe and not too old.
debian_is_made() {
  local out=$IMAGES/$1
  [ -s "$out/rootfs.ext4" ] && [ "$(cat "$out/made-of" 2>/dev/null)" = "$2" ] && [ -n "$(find "$out/rootfs.ext4" -mtime "-$KEEP_DAYS")" ]
}

# debian_mirror: sets MIRROR, the words for mmdebstrap that name the archive. Needs $SCRATCH.
debian_mirror() {
  MIRROR=()
  if [ -n "${HEARTH_DEBIAN_MIRROR:-}" ]; then
    MIRROR=("$HEARTH_DEBIAN_MIRROR")
  elif grep -qx "VERSION_CODENAME=$SUITE" /etc/os-release; then
    # The archive that this machine itself is installed from is the one that can be reached. The suite is a word of its own: others' archives
    # have it in the names of theirs.
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
      grep -E "^deb .*[[:space:]]$SUITE(-updates|-security)?[[:space:]]" | grep -v backports >"$SCRATCH/sources.list" || true
    cat /etc/apt/sources.list.d/debian.sources >>"$SCRATCH/sources.sources" 2>/dev/null || true
    if [ -s "$SCRATCH/sources.list" ]; then MIRROR=("$SCRATCH/sources.list"); elif [ -s "$SCRATCH/sources.sources" ]; then MIRROR=("$SCRATCH/sources.sources"); fi
  fi
}

# debian_rootfs NAME RECIPE SIZE HOOK PACKAGES [FLAG...]: makes build/images/NAME/rootfs.ext4 and notes what it is made of. HOOK is a program that
# gets the folder of the new system once it is installed; FLAGs are mmdebstrap's. USED_MIB, set by the caller, is what it takes
# with the packages that are downloaded for it. Lists and registers it.
debian_rootfs() {
  local name=$1 recipe=$2 size=$3 hook=$4 packages=$5 out=$IMAGES/$1
  shift 5
  step "image-$name: packages to make it with" 'apt-get install mmdebstrap e2fsprogs'
  install_packages mmdebstrap e2fsprogs debian-archive-keyring
  step "image-$name: room for it" 'make room'
  # Tree and image side by side, then the image and its copy.
  need_space $((2 * USED_MIB)) "${TMPDIR:-/tmp}" TMPDIR
  need_space "$USED_MIB" "$out" HEARTH_IMAGES
  scratch
  step "image-$name: install Debian $SUITE into a folder (one to five minutes)" 'check the network; HEARTH_DEBIAN_MIRROR names another mirror'
  debian_mirror
  as_root mmdebstrap --quiet --variant=minbase --include="$packages" "$@" --customize-hook="$hook" "$SUITE" "$SCRATCH/tree" "${MIRROR[@]}"

  step "image-$name: fill an ext4 image of $size" "free space in ${TMPDIR:-/tmp} and in the clone"
  truncate -s "$size" "$SCRATCH/rootfs.ext4"
  as_root mkfs.ext4 -q -F -L root -m 0 -E lazy_itable_init=1,lazy_journal_init=1 -d "$SCRATCH/tree" "$SCRATCH/rootfs.ext4"
  # The tree belongs to root: it must go by the same hand.
  as_root rm -rf -- "$SCRATCH/tree"
  as_root chown "$(id -u):$(id -g)" "$SCRATCH/rootfs.ext4"
  rm -f -- "$out/made-of"
  install_whole "$SCRATCH/rootfs.ext4" "$out/rootfs.ext4"
  printf '%s\n' "$recipe" >"$out/made-of"
  debian_listed "$name"
}

debian_listed() {
  "$ROOT/scripts/images/manifest.sh"
  "$ROOT/scripts/images/register.sh" "$1" rootfs "$IMAGES/$1/rootfs.ext4"
}
