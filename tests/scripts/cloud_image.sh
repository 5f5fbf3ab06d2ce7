# scripts/images/from-cloud-image.sh: what it takes for the root file system, what it refuses, and what it leaves when it fails. The refusals of other
# kinds of disks, and a guest that boots, are in tests/tests/cloud_disk.rs.
# shellcheck shell=bash disable=SC2153

X86_ROOT=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709
X86_USR=8484680C-9521-48C6-9C11-B0720656F69E
LINUX=0FC63DAF-8483-4772-8E79-3D69D8477DE4
ROOT_MIB=16

missing_tools() {
  local tool
  for tool in qemu-img sfdisk debugfs mkfs.ext4; do
    command -v "$tool" >/dev/null || { printf 'SKIPPED: %s is not installed\n' "$tool"; return 0; }
  done
  return 1
}

# elf MACHINE [ORDER]: the first bytes of a program; MACHINE as two bytes, in the order of the file.
elf() { printf '%b' "\\0177ELF\\0002\\000${2:-1}\\0001\\0000\\0000\\0000\\0000\\0000\\0000\\0000\\0000\\0000\\0003\\0000$1\\0001\\0000\\0000\\0000"; }

# root_file FILE MACHINE [FSTAB]: a root file system whose /sbin/init is a link by two links to a program for MACHINE, as Debian's is to systemd.
root_file() {
  local tree
  tree=$(mktemp -d)
  mkdir -p "$tree"/{etc,usr/sbin,usr/lib/systemd}
  ln -s usr/sbin "$tree/sbin"
  ln -s usr/lib "$tree/lib"
  ln -s ../lib/systemd/systemd "$tree/usr/sbin/init"
  elf "$2" "${4:-1}" >"$tree/usr/lib/systemd/systemd"
  printf 'root:x:0:0::/root:/bin/sh\n' >"$tree/etc/passwd"
  printf '%s' "${3:-}" >"$tree/etc/fstab"
  truncate -s "${ROOT_MIB}M" "$1"
  mkfs.ext4 -q -F -d "$tree" "$1"
  rm -r "$tree"
}

# disk_file FILE TYPE=CONTENT...: a GPT disk with these partitions.
disk_file() {
  local file=$1 at=1 table='label: gpt' part
  shift
  truncate -s $((($# * ROOT_MIB) + 2))M "$file"
  for part in "$@"; do
    table+=$'\n'"start=$((at * 2048)), size=$((ROOT_MIB * 2048)), type=${part%%=*}"
    at=$((at + ROOT_MIB))
  done
  sfdisk --quiet "$file" <<<"$table"
  at=1
  for part in "$@"; do
    dd if="${part#*=}" of="$file" bs=1M seek="$at" conv=notrunc,sparse status=none
    at=$((at + ROOT_MIB))
  done
}

take() { ran scripts/images/from-cloud-image.sh "$@"; }
AMD64='\0076\0000' ARM64='\0267\0000' S390='\0000\0026'

test_an_image_for_another_machine_is_refused() {
  if missing_tools; then return; fi
  root_file "$WORK/amd64" "$AMD64"
  take "$WORK/amd64" mine
  same 'exit code for amd64' "$CODE" 0
  root_file "$WORK/arm64" "$ARM64"
  take "$WORK/arm64" theirs
  same 'exit code for arm64' "$CODE" 1
  says arm64 "$SAID" "arm64 is for aarch64 (/sbin/init), and hearth's guests are x86_64: take the image for amd64"
  root_file "$WORK/s390x" "$S390" '' 2
  take "$WORK/s390x" theirs
  says s390x "$SAID" 's390x is for s390x'
  [ ! -e "$HEARTH_IMAGES/theirs" ] || printf 'a refused image left its folder\n'
}

test_of_several_systems_only_the_one_said_to_be_the_root_is_taken() {
  if missing_tools; then return; fi
  root_file "$WORK/root" "$AMD64"
  disk_file "$WORK/two" "$LINUX=$WORK/root" "$LINUX=$WORK/root"
  take "$WORK/two" several
  same 'exit code for two' "$CODE" 1
  says two "$SAID" '2 partitions of '
  says two "$SAID" 'which of them is the root is not said'
  disk_file "$WORK/pair" "$X86_ROOT=$WORK/root" "$X86_ROOT=$WORK/root"
  take "$WORK/pair" several
  says 'two roots' "$SAID" '2 partitions of '
  disk_file "$WORK/said" "$LINUX=$WORK/root" "$X86_ROOT=$WORK/root"
  take "$WORK/said" several
  same 'exit code of the one that is said' "$CODE" 0
  says 'the one that is said' "$SAID" "at byte $(((ROOT_MIB + 1) << 20)),"
}

test_a_usr_of_its_own_is_refused() {
  if missing_tools; then return; fi
  root_file "$WORK/root" "$AMD64"
  disk_file "$WORK/usr" "$X86_ROOT=$WORK/root" "$X86_USR=$WORK/root"
  take "$WORK/usr" apart
  same 'exit code' "$CODE" 1
  says 'its type' "$SAID" 'has its /usr on a partition of its own'
  root_file "$WORK/fstab" "$AMD64" $'/dev/sda1 / ext4 rw 0 1\nUUID=99999999-8888-4777-8666-555555555555 /usr ext4 nofail 0 2\n'
  take "$WORK/fstab" apart
  same 'exit code' "$CODE" 1
  says 'its fstab' "$SAID" 'its /usr is on a partition of its own'
  same 'lines that begin with FAILED' "$(grep -c ^FAILED <<<"$SAID")" 1
}

test_numbers_of_a_table_that_are_none_are_refused() {
  if missing_tools; then return; fi
  root_file "$WORK/root" "$AMD64"
  disk_file "$WORK/disk" "$LINUX=$WORK/root"
  stub sfdisk <<'SFDISK'
printf 'label: gpt\nunit: sectors\nsector-size: 512\n\ndisk1 : start=a, size=32768, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4\n'
SFDISK
  take "$WORK/disk" number
  same 'exit code' "$CODE" 1
  says 'the refusal' "$SAID" 'has a start that is no number'
  says_not 'the refusal' "$SAID" 'no partition of'
}

test_names_of_hearths_own_images_are_refused_before_they_are_there() {
  if missing_tools; then return; fi
  root_file "$WORK/root" "$AMD64"
  local name
  for name in busybox debian debian-cloud debian-kernel hearth-kernel; do
    take "$WORK/root" "$name"
    same "exit code for $name" "$CODE" 1
    says "$name" "$SAID" "$name is an image that hearth makes itself: choose another name"
  done
  # The list is of what manifest.sh gives a place of its own.
  same 'the list' "$(sed -n 's/^entry \([a-z-]*\) .*/\1/p' scripts/images/manifest.sh | paste -sd' ')" "$OWN_IMAGES"
}

on_a_full_disk() {
  export HEARTH_IMAGES=$DISK/images
  mkdir "$HEARTH_IMAGES"
  head -c 7M /dev/zero >"$DISK/others"
  # As if there were room, so that it begins.
  stub df <<'DF'
printf 'Avail\n99999\n'
DF
  take "$WORK/root" mine
  same 'exit code on a full disk' "$CODE" 1
  says 'the failure' "$SAID" 'could not be written'
  same 'what is left' "$(cd "$HEARTH_IMAGES" && find . -size +0 -type f)" ''
  rm "$DISK/others" "$WORK/bin/df"
  take "$WORK/root" mine
  same 'exit code with room' "$CODE" 0
  says 'the list' "$(cat "$HEARTH_IMAGES/images.json")" 'The root file system of root'
}
test_a_full_disk_does_not_block_the_name() {
  if missing_tools; then return; fi
  root_file "$WORK/root" "$AMD64"
  # Something that no hole is, in a file that the image has.
  head -c 4M /dev/urandom >"$WORK/large"
  debugfs -w -R "write $WORK/large large" "$WORK/root" >/dev/null 2>&1
  export -f on_a_full_disk take
  with_small_disk 8 on_a_full_disk
}

test_too_little_room_is_told_before_it_is_unpacked() {
  if missing_tools; then return; fi
  root_file "$WORK/root" "$AMD64"
  export FREE_KIB=0
  stub df <<'DF'
printf 'Avail\n%s\n' "$FREE_KIB"
DF
  take "$WORK/root" mine
  same 'exit code' "$CODE" 1
  says 'the refusal' "$SAID" "MiB in $TMPDIR, and 0 MiB are free there"
}

test_a_temporary_folder_may_have_blanks() {
  if missing_tools; then return; fi
  root_file "$WORK/root" "$AMD64" $'UUID=99999999-8888-4777-8666-555555555555 / ext4 rw 0 1\n'
  mkdir "$WORK/a folder with 'quotes'"
  TMPDIR="$WORK/a folder with 'quotes'" take "$WORK/root" blanks
  same 'exit code' "$CODE" 0
  says 'what it says' "$SAID" 'now: /dev/vda / ext4 rw 0 1'
  same 'the fstab' "$(debugfs -R 'cat /etc/fstab' "$HEARTH_IMAGES/blanks/rootfs.ext4" 2>/dev/null)" '/dev/vda / ext4 rw 0 1'
  same 'what is left' "$(ls "$WORK/a folder with 'quotes'")" ''
}
