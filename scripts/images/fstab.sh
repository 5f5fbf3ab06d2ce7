# The /etc/fstab of a root file system that was taken out of a partitioned disk. Source it after lib.sh, with $SCRATCH made. systemd waits 90 s
# for each device in there, and ends in its emergency mode without: what named a partition of the old disk must not stay.
# shellcheck shell=bash

# What hearth's root disk is called in its guests.
ROOT_DEVICE=/dev/vda

# mended_fstab OWN...: reads an fstab, writes it as it can stand. OWN are the names by which the root file system itself is still known (UUID=…,
# LABEL=…). The root of any other name becomes the disk; other mounts of disks become comments, unless they may fail (nofail, noauto) anyway.
mended_fstab() {
  awk -v own=" $* " -v device="$ROOT_DEVICE" '
    /^[[:space:]]*(#|$)/ { print; next }
    {
      bare = $1; gsub(/"/, "", bare)
      partition = bare ~ /^(UUID|LABEL|PARTUUID|PARTLABEL|ID)=/ || bare ~ /^\/dev\//
      known = index(own, " " bare " ") || bare == device
      optional = $4 ~ /(^|,)(nofail|noauto)(,|$)/
      if ($2 == "/" && !known) { at = index($0, $1); print substr($0, 1, at - 1) device substr($0, at + length($1)); next }
      if ($2 != "/" && partition && !optional) { print "# not on this disk: " $0; next }
      print
    }'
}

# in_scratch CMD...: there. debugfs takes its words apart at blanks, so the files that it reads and writes are named without their folder.
in_scratch() { (cd "$SCRATCH" && "$@"); }

# apart_in_fstab: reads an fstab, writes the first of the folders without which a system does not come up that it has on a disk of their own.
apart_in_fstab() {
  awk '$2 ~ /^\/(usr|var|etc)\/?$/ && $1 ~ /^"?((UUID|LABEL|PARTUUID|PARTLABEL|ID)=|\/dev\/)/ && $4 !~ /(^|,)(bind|rbind)(,|$)/ && !found { print $2; found = 1 }'
}

# mend_fstab FILE: in the ext4 file system FILE, saying each line that it changes. One without an fstab, or whose fstab can stand, is left alone.
# FILE is an absolute path.
mend_fstab() {
  local file=$1 kind uuid label apart own=()
  kind=$(debugfs -R 'stat /etc/fstab' "$file" 2>/dev/null | sed -n 's/^Inode:.* Type: \([a-z]*\).*/\1/p')
  case $kind in
    regular) ;;
    '') say 'it has no /etc/fstab'; return 0 ;;
    *) fail "from-cloud-image: its /etc/fstab is no file ($kind)" ;;
  esac
  uuid=$(blkid --probe --output value --match-tag UUID "$file" || true)
  label=$(blkid --probe --output value --match-tag LABEL "$file" || true)
  [ -z "$uuid" ] || own+=("UUID=$uuid")
  # One with a blank in it stands in an fstab otherwise than here, and becomes the disk.
  case $label in '' | *[[:space:]]*) ;; *) own+=("LABEL=$label") ;; esac
  in_scratch debugfs -R 'dump /etc/fstab fstab' "$file" 2>/dev/null
  apart=$(apart_in_fstab <"$SCRATCH/fstab")
  [ -z "$apart" ] || fail "from-cloud-image: its $apart is on a partition of its own, and hearth's guests have one disk: take an image that has all on one"
  mended_fstab "${own[@]}" <"$SCRATCH/fstab" >"$SCRATCH/fstab.new"
  if cmp -s "$SCRATCH/fstab" "$SCRATCH/fstab.new"; then
    say 'it can stay as it is'
    return 0
  fi
  { diff "$SCRATCH/fstab" "$SCRATCH/fstab.new" || true; } | sed -n 's/^< /   was: /p; s/^> /   now: /p' | cat -v
  printf '%s\n' 'rm /etc/fstab' 'write fstab.new /etc/fstab' 'sif /etc/fstab mode 0100644' 'sif /etc/fstab uid 0' 'sif /etc/fstab gid 0' |
    in_scratch debugfs -w -f - "$file" >"$SCRATCH/debugfs" 2>&1
  # debugfs ends with 0 whatever went wrong.
  rm -f "$SCRATCH/fstab"
  in_scratch debugfs -R 'dump /etc/fstab fstab' "$file" 2>/dev/null
  cmp -s "$SCRATCH/fstab" "$SCRATCH/fstab.new" || fail "from-cloud-image: debugfs could not write /etc/fstab: $(cat "$SCRATCH/debugfs")"
}
