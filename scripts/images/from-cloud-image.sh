#!/usr/bin/env bash
# Makes build/images/NAME/rootfs.ext4 out of a distribution's cloud image: `from-cloud-image.sh FILE NAME`. FILE is a disk (qcow2, raw, vdi, …) with
# a partition table, or a bare ext4 file system. hearth boots a kernel of its own from a disk without partitions: of FILE only the root file
# system is taken, and its /etc/fstab freed of the partitions that stay behind. No mount, no loop device, no root; FILE is only read.
# shellcheck source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
# shellcheck source=fstab.sh
. "$ROOT/scripts/images/fstab.sh"

[ $# = 2 ] || fail 'usage: from-cloud-image.sh FILE NAME'
FILE=$1 NAME=$2
OUT=$IMAGES/$NAME

# The types of partitions that hold no root file system: EFI, BIOS boot, XBOOTLDR, PReP, swap; by their GUIDs, or their numbers in an MBR.
# Source: https://uapi-group.org/specifications/specs/discoverable_partitions_specification, sfdisk --list-types.
NO_ROOT=' C12A7328-F81F-11D2-BA4B-00A0C93EC93B 21686148-6449-6E6F-744E-656564454649 BC13C2FF-59E6-4262-A352-B275FD6F7172
 9E1A2D38-C612-4316-AA26-8B49521E5A8B 0657FD6D-A4AB-43C4-84E5-0933C84B4F4F EF 82 41 5 F '
X86_ROOT=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709
X86_USR=8484680C-9521-48C6-9C11-B0720656F69E
# Programs of an image, first those that hearth's agent starts (guest/src/boot/init.rs).
PROGRAMS='/sbin/init /init /bin/init /usr/lib/systemd/systemd /bin/sh'
# As the kernel: a link to itself ends.
MOST_LINKS=40

# content_of OFFSET SIZE: what is there, in blkid's words; nothing where it knows nothing.
content_of() { blkid --probe --offset "$1" --size "$2" --output value --match-tag TYPE "$SCRATCH/disk" 2>/dev/null || true; }

# is_system OFFSET: whether the ext4 file system there is one to boot, and not /boot or somebody's data.
is_system() { debugfs -R 'stat /etc/passwd' "$SCRATCH/disk?offset=$1" 2>/dev/null | grep -q '^Inode:'; }

# link_of PATH: where the symbolic link PATH in $SCRATCH/rootfs.ext4 leads; nothing when it is none.
link_of() {
  local short
  short=$(debugfs -R "stat $1" "$SCRATCH/rootfs.ext4" 2>/dev/null | sed -n 's/^Fast link dest: "\(.*\)"$/\1/p')
  # Longer than 59 bytes it is in a block of its own, which no system does to these.
  printf '%s\n' "$short"
}

# machine_of PATH: for which machine the program PATH in $SCRATCH/rootfs.ext4 is, as ELF's e_machine in hexadecimal; nothing when it is no ELF file.
# Source: https://gabi.xinuos.com/elf/a-emachine.html
machine_of() {
  local path=$1 to bytes i
  for ((i = 0; i < MOST_LINKS; i++)); do
    to=$(link_of "$path")
    case $to in
      '') break ;;
      /*) path=$to ;;
      *) path=$(dirname "$path")/$to ;;
    esac
    # A path goes into debugfs's words.
    [[ $path =~ ^[A-Za-z0-9/._+-]+$ ]] || return 0
  done
  bytes=$({ debugfs -R "cat $path" "$SCRATCH/rootfs.ext4" 2>/dev/null || true; } | head -c 20 | od -An -v -tx1 | tr -d ' \n' || true)
  case $bytes in
    # The second byte after the magic says which end comes first.
    7f454c46??01*) printf '%s%s\n' "${bytes:38:2}" "${bytes:36:2}" ;;
    7f454c46??02*) printf '%s\n' "${bytes:36:4}" ;;
  esac
}

# for_this_machine: refuses programs of another one than x86_64, on which nothing of the image would start.
for_this_machine() {
  local program machine
  for program in $PROGRAMS; do
    machine=$(machine_of "$program")
    case $machine in
      '') continue ;;
      003e) return 0 ;;
      00b7) machine=aarch64 ;;
      0003) machine=i386 ;;
      0028) machine=arm ;;
      00f3) machine=riscv ;;
      0015) machine=ppc64 ;;
      0016) machine=s390x ;;
      *) machine="ELF machine 0x$machine" ;;
    esac
    fail "from-cloud-image: $FILE is for $machine ($program), and hearth's guests are x86_64: take the image for amd64 (x86_64)"
  done
  say "no program in it says which machine it is for (looked at: $PROGRAMS)"
}

# used_mib: what of FILE is no hole once it is unpacked.
used_mib() {
  qemu-img map -f "$1" --output=json "$FILE" |
    awk '/"data": true/ && match($0, /"length": [0-9]+/) {sum += substr($0, RSTART + 10, RLENGTH - 10)} END {printf "%d\n", sum / 1048576 + 1}'
}

# field NAME LINE: of a line of `sfdisk --dump`, less the partition's name in it, which is free text of who made the disk.
field() { sed -n "s/, name=.*//; s/.*[ ,]$1= *\\([0-9A-Za-z-]*\\).*/\\1/p" <<<"$2"; }

# number FIELD LINE: as a shell can count with it; bash would evaluate anything else.
number() {
  local found
  found=$(field "$1" "$2")
  [[ $found =~ ^[0-9]{1,15}$ ]] || fail "from-cloud-image: the partition table of $FILE has a $1 that is no number"
  printf '%s\n' "$found"
}

# What else FILE may be, so that the refusal says what to do.
unpacked() {
  case $(od -An -tx1 -N6 "$FILE" | tr -d ' ') in
    1f8b*) fail "from-cloud-image: $FILE is packed: gunzip it first" ;;
    fd377a585a00) fail "from-cloud-image: $FILE is packed: unxz it first" ;;
    28b52ffd*) fail "from-cloud-image: $FILE is packed: unzstd it first" ;;
    425a68*) fail "from-cloud-image: $FILE is packed: bunzip2 it first" ;;
    504b0304*) fail "from-cloud-image: $FILE is packed: unzip it first" ;;
  esac
}

# to_raw: $SCRATCH/disk, sparse.
to_raw() {
  local info format used
  info=$(qemu-img info --output=json "$FILE") || fail "from-cloud-image: qemu-img cannot read $FILE: it is no image of a disk"
  # A disk from elsewhere must not say which files of this machine become part of it.
  if grep -Eq '"(full-)?backing-filename"|"data-file"' <<<"$info"; then
    fail "from-cloud-image: $FILE is only a part of an image, the rest is in a file that it names: make one of them (qemu-img convert) where you trust that name"
  fi
  # The outermost `format`, which stands at four blanks; the file below has one of its own.
  format=$(sed -n 's/^    "format": "\([a-z0-9]*\)".*/\1/p' <<<"$info" | tail -n 1)
  case $format in
    # Not vmdk, which may be a mere list of other files.
    raw | qcow2 | vdi | vpc | vhdx) ;;
    *) fail "from-cloud-image: $FILE is of the format ${format:-unknown}; a raw, qcow2, vdi or vhd image is needed (qemu-img convert makes one)" ;;
  esac
  # The disk and the file system out of it side by side; then that and its copy.
  used=$(used_mib "$format") || fail "from-cloud-image: qemu-img cannot read $FILE: it is damaged"
  need_space $((2 * used + 1)) "${TMPDIR:-/tmp}" TMPDIR
  need_space "$used" "$OUT" HEARTH_IMAGES
  qemu-img convert -f "$format" -O raw "$FILE" "$SCRATCH/disk"
}

# find_root: sets START and SIZE, in bytes, or refuses and says what it saw.
find_root() {
  local table line type start size sector content seen=() roots=0 systems=0 whole
  whole=$(stat -c %s "$SCRATCH/disk")
  content=$(content_of 0 "$whole")
  case $content in
    ext[234])
      START=0 SIZE=$whole
      is_system 0 || fail "from-cloud-image: $FILE is a file system without /etc/passwd: there is no system in it"
      return
      ;;
  esac
  table=$(sfdisk --dump "$SCRATCH/disk" 2>/dev/null) || fail "from-cloud-image: $FILE has no partition table${content:+, but $content}: it is no image of a disk"
  sector=$(sed -n 's/^sector-size: *//p' <<<"$table")
  while read -r line; do
    type=$(field type "$line" | tr '[:lower:]' '[:upper:]')
    # Apart: of two assignments on one line the first's failure would be lost.
    start=$(number start "$line")
    size=$(number size "$line")
    start=$((start * ${sector:-512})) size=$((size * ${sector:-512}))
    case $NO_ROOT in *[[:space:]]"$type"[[:space:]]*) continue ;; esac
    content=$(content_of "$start" "$size")
    [ "$type" != "$X86_USR" ] || fail "from-cloud-image: $FILE has its /usr on a partition of its own, and hearth's guests have one disk: take an image that has all on one"
    seen+=("${content:-nothing known}")
    case $content in
      ext[234]) is_system "$start" || continue ;;
      *) continue ;;
    esac
    # One that is said to be the root wins over those that only look like it.
    systems=$((systems + 1))
    if [ "$type" = "$X86_ROOT" ]; then roots=$((roots + 1)); fi
    if [ "$systems" = 1 ] || { [ "$type" = "$X86_ROOT" ] && [ "$roots" = 1 ]; }; then START=$start SIZE=$size; fi
  done < <(grep ' : start=' <<<"$table")
  if [ "$roots" = 1 ] || { [ "$roots" = 0 ] && [ "$systems" = 1 ]; }; then return 0; fi
  if [ "$systems" -gt 1 ]; then
    fail "from-cloud-image: $systems partitions of $FILE hold a system, and which of them is the root is not said (by the one partition of the type $X86_ROOT): take an image with one, or give the file system itself (dd it out of the disk)"
  fi
  case " ${seen[*]-} " in
    *' xfs '* | *' btrfs '* | *' f2fs '*) fail "from-cloud-image: the root file system of $FILE is no ext4 (there is: ${seen[*]}), and hearth boots ext4 only: take an image of another distribution, such as Debian or Ubuntu" ;;
    *' LVM2_member '*) fail "from-cloud-image: the root file system of $FILE is on LVM, which is not looked into: take the image without LVM" ;;
    *' crypto_LUKS '*) fail "from-cloud-image: the root file system of $FILE is encrypted" ;;
    *) fail "from-cloud-image: no partition of $FILE has a root file system (there is: ${seen[*]-nothing})" ;;
  esac
}

# checked WORDS...: e2fsck's 1 means mended.
checked() {
  local code=0
  e2fsck "$@" "$SCRATCH/rootfs.ext4" >"$SCRATCH/e2fsck" 2>&1 || code=$?
  if [ "$code" -gt 1 ]; then
    cat "$SCRATCH/e2fsck" >&2
    fail "from-cloud-image: e2fsck does not find the file system whole (or is older than it: its version is $(e2fsck -V 2>&1 | awk 'NR == 1 {print $2}'))"
  fi
}

one_at_a_time images
step "from-cloud-image: look at $FILE" 'see the message above'
[[ $NAME =~ ^[a-z][a-z0-9-]{0,62}$ ]] || fail "from-cloud-image: an image's name has lower-case letters, digits and dashes, and begins with a letter: $NAME has not"
[ -f "$FILE" ] || fail "from-cloud-image: there is no file $FILE"
# An absolute path is neither an option nor one of qemu-img's protocols.
FILE=$(realpath -- "$FILE")
case " $OWN_IMAGES " in *" $NAME "*) fail "from-cloud-image: $NAME is an image that hearth makes itself: choose another name" ;; esac
# A folder without an image is what an earlier try has left, and stands in nobody's way.
if [ -e "$OUT/rootfs.ext4" ] && [ ! -e "$OUT/from-cloud-image" ]; then fail "from-cloud-image: $OUT holds an image that was not made of a cloud image: choose another name"; fi
unpacked
command -v qemu-img >/dev/null || install_packages qemu-utils
command -v sfdisk >/dev/null || install_packages fdisk
command -v debugfs >/dev/null || install_packages e2fsprogs
scratch
step 'from-cloud-image: unpack it' "free space in ${TMPDIR:-/tmp}, twice as much as is used of the disk in it"
to_raw

step 'from-cloud-image: find its root file system' 'see the message above'
find_root
say "at byte $START, $((SIZE >> 20)) MiB"
dd if="$SCRATCH/disk" of="$SCRATCH/rootfs.ext4" bs=1M iflag=skip_bytes,count_bytes skip="$START" count="$SIZE" conv=sparse status=none
truncate -s "$SIZE" "$SCRATCH/rootfs.ext4"
rm "$SCRATCH/disk"
checked -f -p
for_this_machine

step 'from-cloud-image: free its /etc/fstab of other partitions' 'see the message above'
mend_fstab "$SCRATCH/rootfs.ext4"
checked -f -n

step "from-cloud-image: put it into $OUT" "free space in $OUT"
mkdir -p "$OUT"
# First, so that the folder is known as ours whatever fails then; an image that was there keeps its words until it is replaced.
[ -e "$OUT/from-cloud-image" ] || : >"$OUT/from-cloud-image"
install_whole "$SCRATCH/rootfs.ext4" "$OUT/rootfs.ext4"
basename "$FILE" | tr -dc 'A-Za-z0-9._+-' >"$OUT/from-cloud-image"
"$ROOT/scripts/images/manifest.sh"
"$ROOT/scripts/images/register.sh" "$NAME" rootfs "$OUT/rootfs.ext4"
