# Shared by every script here (source it, do not run it): how a step is announced, how a failing one names itself, where caches are, how a
# package is asked for. Owns no policy: what is installed or built is said by the script that sources it.
# What is set here is used by the scripts that source this.
# shellcheck shell=bash disable=SC2034

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Debian's root shells of old and cron leave sbin out; mkfs, depmod, ip and nft are there.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
export LC_ALL=C.UTF-8

# What is slow to make and the same for every clone on this machine.
: "${HOME:=/root}"
HEARTH_CACHE=${HEARTH_CACHE:-$HOME/.cache/hearth}
HEARTH_TOOLS=${HEARTH_TOOLS:-$HEARTH_CACHE/tools}
# What `hearth up --demo` and the tests boot.
IMAGES=${HEARTH_IMAGES:-$ROOT/build/images}
# What set-up and `make image-…` make themselves; no other image takes one of these names.
OWN_IMAGES='hearth-kernel debian-kernel busybox debian debian-cloud'
# Another package manager may hold the lock for minutes (unattended-upgrades at first boot): wait, but not for ever.
APT_LOCK_WAIT_S=600
JOBS=${HEARTH_JOBS:-$(nproc)}

STEP=start
REMEDY='read the lines above'

say() { printf '   %s\n' "$*"; }

# step NAME REMEDY: says what begins now, and what to do should it fail.
step() {
  STEP=$1
  REMEDY=${2:-read the lines above}
  printf '==> %s\n' "$STEP"
}

# A disk with less than this free took something not whole. Four of the blocks that cp and tar write at once, and what file systems keep for themselves.
FULL_MIB=4

# existing PATH: it, or the nearest folder above that is there.
existing() {
  local path=$1
  until [ -e "$path" ]; do path=$(dirname "$path"); done
  printf '%s\n' "$path"
}

# free_mib PATH: what the caller may still write on its disk; nothing where df does not know.
free_mib() { df -k --output=avail "$(existing "$1")" 2>/dev/null | awk 'NR == 2 && $1 ~ /^[0-9]+$/ {print int($1 / 1024)}'; }

# df_of PATH: the command that shows it.
df_of() { printf 'df -h %q' "$(existing "$1")"; }

# need_space MIB FOLDER WHAT: says so before it begins when that much is not free there. WHAT: the variable that would name another folder, or "".
need_space() {
  local mib=$1 folder=$2 other=${3:-} free
  free=$(free_mib "$folder")
  if [ -z "$free" ] || [ "$free" -ge "$mib" ]; then return 0; fi
  fail "$STEP: this needs $mib MiB in $folder, and $free MiB are free there ($(df_of "$folder")): make room${other:+, or let $other name a folder on another disk}"
}

# full_disk: of the folders that scripts write to, the first whose disk is full, in words; nothing when none is.
full_disk() {
  local folder free
  for folder in "$ROOT" "${TMPDIR:-/tmp}" "$HEARTH_CACHE" "$HEARTH_TOOLS" "$IMAGES" "${CARGO_HOME:-$HOME/.cargo}" /var/cache/apt; do
    free=$(free_mib "$folder")
    if [ -z "$free" ] || [ "$free" -ge "$FULL_MIB" ]; then continue; fi
    printf 'the disk of %s is full, %s MiB are free (%s): make room there and try again\n' "$folder" "$free" "$(df_of "$folder")"
    return 0
  done
}

fail() {
  local full
  # Some export this function alone to a shell of their own.
  full=$(full_disk 2>/dev/null || true)
  printf 'FAILED: %s\n' "$*" >&2
  [ -z "$full" ] || case $* in *'df -h '*) ;; *) printf 'REMEDY: %s\n' "$full" >&2 ;; esac
  trap - ERR
  exit 1
}

on_error() {
  local code=$? full
  trap - ERR
  # What a step says to do is no use on a disk without room.
  full=$(full_disk)
  printf 'FAILED at step: %s (exit code %s, %s line %s)\nREMEDY: %s\n' "$STEP" "$code" "${BASH_SOURCE[1]##*/}" "${BASH_LINENO[0]}" "${full:-$REMEDY}" >&2
  exit "$code"
}
trap on_error ERR
set -E

# as_root CMD...: as is when we are root, through sudo otherwise.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    fail "needs root for: $* (run as root, or install sudo)"
  fi
}

apt_get() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout="$APT_LOCK_WAIT_S" "$@"
}

has_package() {
  [ "$(dpkg-query -W -f='${Status}' "$1" 2>/dev/null || true)" = 'install ok installed' ]
}

# The index is asked for once a run and only when something is missing: an offline machine that has all stays offline.
apt_update_once() {
  local stamp="$ROOT/build/.apt-updated"
  mkdir -p "$ROOT/build"
  # An hour: one `make run` calls several scripts, and each of them may miss something.
  if [ -n "$(find "$stamp" -mmin -60 2>/dev/null)" ]; then return 0; fi
  say 'refreshing the package index (apt-get update)'
  apt_get update
  : >"$stamp"
}

# install_packages NAME...: only what is missing, in one transaction.
install_packages() {
  local missing=() extra=() name
  for name in "$@"; do
    has_package "$name" || missing+=("$name")
  done
  if [ ${#missing[@]} = 0 ]; then
    say "all there: $*"
    return 0
  fi
  apt_update_once
  case " ${missing[*]} " in
    *' qemu-system-x86 '*) mapfile -t extra < <(matching_qemu_utils) ;;
  esac
  say "installing: ${missing[*]} ${extra[*]:-}"
  apt_get install -y --no-install-recommends --allow-downgrades "${missing[@]}" "${extra[@]}"
}

# A qemu-utils newer than the candidate of qemu-system-x86 (from backports) conflicts with it: bring it to the same version in the same
# transaction. Prints nothing where there is no such conflict.
matching_qemu_utils() {
  local want have
  has_package qemu-utils || return 0
  want=$(candidate_version qemu-system-x86)
  have=$(dpkg-query -W -f='${Version}' qemu-utils)
  if [ -n "$want" ] && dpkg --compare-versions "$have" gt "$want"; then
    printf 'qemu-utils=%s\n' "$want"
  fi
}

candidate_version() {
  apt-cache policy "$1" | awk '/Candidate:/ && $2 != "(none)" {print $2}'
}

# download_package NAME DIR: the .deb of NAME's candidate into DIR, not installed. Prints its path.
download_package() {
  local name=$1 dir=$2
  mkdir -p "$dir"
  (
    cd "$dir"
    # -o APT::Sandbox::User: the folder may be closed to the user _apt, who would otherwise fetch.
    apt-get -q -o APT::Sandbox::User="$(id -un)" download "$name" >&2
  )
  find "$dir" -maxdepth 1 -name "${name}_*.deb" | sort | tail -n 1
}

# one_at_a_time NAME: two clones on a machine share the caches; the second waits until the first is through.
one_at_a_time() {
  mkdir -p "$HEARTH_CACHE"
  exec 9>"$HEARTH_CACHE/$1.lock"
  if ! flock -n 9; then
    say "another run is making $1: waiting for it"
    # Two hours: a kernel on one slow core takes most of one.
    flock -w 7200 9
  fi
}

# scratch: a folder that goes away with the script.
scratch() {
  SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/hearth-setup.XXXXXX")
  trap remove_scratch EXIT
}

# What sudo made in there belongs to root. One file system only: a root's tree may have had something mounted into it.
remove_scratch() {
  rm -rf --one-file-system -- "$SCRATCH" 2>/dev/null || as_root rm -rf --one-file-system -- "$SCRATCH"
}

# What a command that failed has to say stands in its last lines.
LAST_LINES=5

# quietly CMD...: shows what it says only when it fails, and of that the last lines: tar has one for each file that a full disk did not take, in which
# case the disk is told instead.
quietly() {
  local said full code=0
  said=$("$@" 2>&1) || code=$?
  [ "$code" != 0 ] || return 0
  full=$(full_disk)
  [ -z "$full" ] || fail "$STEP: $full"
  printf '%s\n' "$said" | tail -n "$LAST_LINES" >&2
  return "$code"
}

# install_whole FILE DEST: a copy, sparse as FILE, that is there whole or not at all: what was there before stays until then.
install_whole() {
  local full
  mkdir -p "$(dirname "$2")"
  if ! cp --sparse=always -- "$1" "$2.part" 2>/dev/null || ! mv -- "$2.part" "$2"; then
    full=$(full_disk)
    rm -f -- "$2.part"
    fail "$STEP: $2 could not be written: ${full:-$(df -h "$(existing "$2")" | tail -n 1)}"
  fi
}
