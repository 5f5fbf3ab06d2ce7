#!/usr/bin/env bash
# Says before anything begins whether the disks have room for set-up and build, or (`space.sh test`, `space.sh cloud-image`) for all that `make test` or
# `make test-cloud-image` does. What is there already counts; folders on one disk are taken together. HEARTH_SPACE=unchecked goes on without.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# still_needed MIB LEAST FOLDER...: what is still to come of the MIB that the folders hold in the end; never less than LEAST, for what is replaced is
# there twice for a while.
still_needed() {
  local mib=$1 least=$2 there
  shift 2
  there=$({ du -smc -- "$@" 2>/dev/null || true; } | awk 'END {print $1 + 0}')
  printf '%s\n' "$((mib - there > least ? mib - there : least))"
}

# add MIB FOLDER: to what the disk of FOLDER must have.
declare -A NEEDED=() FOLDER_ON=() PARTS=()
add() {
  local disk
  disk=$(stat -c %d "$(existing "$2")")
  NEEDED[$disk]=$((${NEEDED[$disk]:-0} + $1))
  FOLDER_ON[$disk]=${FOLDER_ON[$disk]:-$2}
  PARTS[$disk]+="${PARTS[$disk]:+, }$1 in $2"
}

look() {
  local disk free
  case ${1:-} in
    test)
      # Some 12 GB in all. Measured on Debian 12, 2026-11-29: 4.5 GB for the debug build of the workspace, 1.1 for the registry, 0.2 for the tools; the
      # rest of the clone's, what the linter, the other workspaces, the release and the fuzz targets build, is an estimate.
      add "$(still_needed 9500 1000 "$ROOT/target" "$ROOT/build")" "$ROOT"
      add "$(still_needed 300 0 "$HEARTH_TOOLS")" "$HEARTH_TOOLS"
      # Disks of guests.
      add 1000 "${TMPDIR:-/tmp}"
      ;;
    cloud-image)
      # Of the above what is built for two suites, the image, and the disk that is made of it.
      add "$(still_needed 7500 1000 "$ROOT/target" "$ROOT/build")" "$ROOT"
      add 2500 "${TMPDIR:-/tmp}"
      ;;
    *)
      # Once all is made, `make run` needs next to nothing.
      add "$(still_needed 2500 64 "$ROOT/target" "$ROOT/build")" "$ROOT"
      # The tools' own build, a gigabyte, goes away again.
      [ -x "$HEARTH_TOOLS/bin/trunk" ] || add 1200 "$HEARTH_TOOLS"
      [ -s "$IMAGES/debian-kernel/made-of" ] || add 300 "${TMPDIR:-/tmp}"
      ;;
  esac
  add "$(still_needed 1200 0 "${CARGO_HOME:-$HOME/.cargo}/registry")" "${CARGO_HOME:-$HOME/.cargo}"
  for disk in "${!NEEDED[@]}"; do
    free=$(free_mib "${FOLDER_ON[$disk]}")
    if [ -z "$free" ] || [ "$free" -ge "${NEEDED[$disk]}" ]; then continue; fi
    fail "$STEP: some ${NEEDED[$disk]} MiB more are needed on the disk of ${FOLDER_ON[$disk]} (${PARTS[$disk]}), and $free MiB are free there ($(df_of "${FOLDER_ON[$disk]}")): make room; HEARTH_SPACE=unchecked goes on without"
  done
}

if [ "${BASH_SOURCE[0]}" = "$0" ] && [ "${HEARTH_SPACE:-}" != unchecked ]; then
  step 'room on the disks' 'make room'
  look "$@"
  say 'enough'
fi
