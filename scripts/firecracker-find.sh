# Where Firecracker and its jailer are: HEARTH_FIRECRACKER and HEARTH_JAILER, else PATH. Source it after lib.sh.
# Also what a check with its suite may last: a build, and in the lab one test after the other.
# What is set here is used by the scripts that source this.
# shellcheck shell=bash disable=SC2034

FIRECRACKER_LIMIT_S=${HEARTH_STEP_LIMIT_S:-7200}

# find_firecracker: sets FIRECRACKER and JAILER (resolved paths), or WHY_NOT and returns 1. Firecracker comes from no package registry, so that
# it is missing is no fault of the machine. The jailer's usual place is beside it, as in a release's archive.
find_firecracker() {
  FIRECRACKER=${HEARTH_FIRECRACKER:-$(command -v firecracker || true)}
  JAILER='' WHY_NOT=''
  if [ -z "$FIRECRACKER" ]; then
    WHY_NOT='there is no firecracker in PATH, and HEARTH_FIRECRACKER names none (docs/FIRECRACKER.md)'
    return 1
  fi
  if [ ! -x "$FIRECRACKER" ] || [ -d "$FIRECRACKER" ]; then
    WHY_NOT="HEARTH_FIRECRACKER names no program: $FIRECRACKER"
    return 1
  fi
  FIRECRACKER=$(readlink -f "$FIRECRACKER")
  if [ -n "${HEARTH_JAILER:-}" ]; then
    JAILER=$HEARTH_JAILER
  elif [ -x "$(dirname "$FIRECRACKER")/jailer" ]; then
    JAILER=$(dirname "$FIRECRACKER")/jailer
  else
    JAILER=$(command -v jailer || true)
  fi
  if [ -z "$JAILER" ] || [ ! -x "$JAILER" ] || [ -d "$JAILER" ]; then
    WHY_NOT="there is no jailer (HEARTH_JAILER, beside $FIRECRACKER, or in PATH)${JAILER:+: $JAILER}"
    return 1
  fi
  JAILER=$(readlink -f "$JAILER")
}
