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

fail() {
  printf 'FAILED: %s\n' "$*" >&2
  trap - ERR
  exit 1
}

on_error() {
  local code=$?
  trap - ERR
  printf 'FAILED at step: %s (exit code %s, %s line %s)\nREMEDY: %s\n' "$STEP" "$code" "${BASH_SOURCE[1]##*/}" "${BASH_LINENO[0]}" "$REMEDY" >&2
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
  local dir
  dir=$(mktemp -d "${TMPDIR:-/tmp}/hearth-setup.XXXXXX")
  # shellcheck disable=SC2064
  trap "rm -rf -- '$dir'" EXIT
  SCRATCH=$dir
}
