# A disk without room: said in one sentence before anything begins, told as such when it happens midway, and nothing half is left.
# shellcheck shell=bash disable=SC2153,SC2317

# On a disk of 8 MiB: what scripts source, with all their folders there.
on_small_disk() {
  export TMPDIR=$DISK/tmp HEARTH_CACHE=$DISK/cache HEARTH_IMAGES=$DISK/images
  mkdir -p "$TMPDIR" "$HEARTH_IMAGES"
  # shellcheck source=../../scripts/lib.sh
  . "$ROOT/scripts/lib.sh"
  trap - ERR
  set +eE
}
export -f on_small_disk

test_too_little_room_is_told_before_it_begins() {
  need() { (step 'a step' ''; need_space "$1" "$WORK/not/yet" HEARTH_IMAGES); }
  ran need 1
  same 'exit code with room' "$CODE" 0
  ran need 99999999
  same 'exit code without' "$CODE" 1
  says 'the refusal' "$SAID" "FAILED: a step: this needs 99999999 MiB in $WORK/not/yet, and "
  says 'the refusal' "$SAID" "MiB are free there (df -h $WORK): make room, or let HEARTH_IMAGES name a folder on another disk"
}

full_midway() {
  on_small_disk
  head -c 6M /dev/zero >"$WORK/tree.file"
  printf 'old' >"$HEARTH_IMAGES/image"
  head -c 16M /dev/urandom >"$WORK/image"
  ran install_whole "$WORK/image" "$HEARTH_IMAGES/image"
  same 'exit code' "$CODE" 1
  says 'the failure' "$SAID" 'image could not be written: the disk of '
  says 'the failure' "$SAID" ' is full, '
  says 'the failure' "$SAID" '(df -h '
  same 'lines' "$(wc -l <<<"$SAID")" 1
  same 'what was there' "$(cat "$HEARTH_IMAGES/image")" old
  same 'what is left' "$(ls "$HEARTH_IMAGES")" image
}
test_a_copy_is_there_whole_or_not_at_all() {
  export -f full_midway
  with_small_disk 8 full_midway
}

unpacked_on_a_full_disk() {
  on_small_disk
  mkdir "$WORK/tree"
  for ((i = 0; i < 300; i++)); do head -c 64K /dev/urandom >"$WORK/tree/$i"; done
  tar -cf "$WORK/tree.tar" -C "$WORK" tree
  STEP='unpack it'
  ran quietly tar -xf "$WORK/tree.tar" -C "$TMPDIR"
  same 'exit code' "$CODE" 1
  same 'lines' "$(wc -l <<<"$SAID")" 1
  says 'the failure' "$SAID" 'FAILED: unpack it: the disk of '
  rm -r "${TMPDIR:?}/tree"
  # With room again it is the command's own words, at their end.
  ran quietly bash -c 'seq 300; exit 3'
  same 'exit code of a failure' "$CODE" 3
  same 'words of a failure' "$SAID" "$(seq 296 300)"
  ran quietly bash -c 'seq 300'
  same 'words of a success' "$CODE $SAID" '0 '
}
test_a_full_disk_is_told_once_and_not_by_each_file() {
  export -f unpacked_on_a_full_disk
  with_small_disk 8 unpacked_on_a_full_disk
}

failed_on_a_full_disk() {
  on_small_disk
  # shellcheck disable=SC2016
  printf '. "%s/scripts/lib.sh"\nstep one "do this"\nhead -c 64M /dev/zero >"$TMPDIR/large"\n' "$ROOT" >"$WORK/script.sh"
  ran bash "$WORK/script.sh"
  same 'exit code' "$CODE" 1
  says 'the step' "$SAID" 'REMEDY: the disk of '
  says_not 'the step' "$SAID" 'do this'
}
test_a_step_that_fails_on_a_full_disk_says_so() {
  export -f failed_on_a_full_disk
  with_small_disk 8 failed_on_a_full_disk
}

# A df of which all disks have $FREE_KIB.
stub_df() {
  export FREE_KIB=$1
  stub df <<'DF'
printf 'Avail\n%s\n' "$FREE_KIB"
DF
}

test_set_up_and_tests_say_what_they_need_before_they_begin() {
  stub_df $((300 * 1024))
  local what
  for what in '' test; do
    # shellcheck disable=SC2086
    ran scripts/setup.sh $what
    same "exit code of set-up $what" "$CODE" 1
    says "set-up $what" "$SAID" ' MiB more are needed on the disk of '
    says "set-up $what" "$SAID" 'and 300 MiB are free there (df -h '
    says_not "set-up $what" "$SAID" 'packages'
  done
  stub_df $((99 * 1024 * 1024))
  ran scripts/space.sh test
  same 'exit code with room' "$CODE" 0
  stub_df 0
  HEARTH_SPACE=unchecked ran scripts/space.sh test
  same 'exit code unchecked' "$CODE" 0
}

test_what_is_there_already_counts() {
  local folder=$WORK/clone
  mkdir -p "$folder/target"
  head -c 50M /dev/zero >"$folder/target/file"
  stub_df $((200 * 1024))
  still() { ROOT=$folder; . scripts/space.sh; still_needed "$1" "$2" "$folder/target"; }
  # With the folder itself, where that takes a block.
  case $(still 100 10) in 49 | 50) ;; *) printf 'of a hundred: %s\n' "$(still 100 10)" ;; esac
  same 'of forty' "$(still 40 10)" 10
}

test_a_whole_run_ends_at_once_and_counts_what_it_left_out() {
  clone_of_scripts "$WORK/clone"
  stub_df $((300 * 1024))
  ran "$WORK/clone/.ci/run"
  [ "$CODE" != 0 ] || printf 'it has passed\n'
  says 'the run' "$SAID" 'and 300 MiB are free there (df -h '
  case ${SAID##*$'\n'} in '0 passed, 1 failed, '[1-9]*' skipped') ;; *) printf 'the last line is: %s\n' "${SAID##*$'\n'}" ;; esac
}

run_on_a_full_disk() {
  clone_of_scripts "$DISK/clone"
  head -c 64M /dev/zero >"$DISK/others" 2>/dev/null
  ran "$DISK/clone/.ci/run"
  [ "$CODE" != 0 ] || printf 'it has passed\n'
  says 'the run' "$SAID" 'MiB are free there (df -h '
  case ${SAID##*$'\n'} in '0 passed, 1 failed, '[0-9]*' skipped') ;; *) printf 'the last line is: %s\n' "${SAID##*$'\n'}" ;; esac
}
test_a_run_on_a_full_disk_has_its_last_line() {
  export -f run_on_a_full_disk
  with_small_disk 8 run_on_a_full_disk
}
