#!/usr/bin/env bash
# Runs CMD in a network namespace of its own, with the loopback up and nothing else: `in-netns.sh CMD...`. hearth makes the bridge hearth0
# and nftables tables; here they touch nobody's machine, and all of it ends with CMD.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if [ "${1:-}" = --inside ]; then
  shift
  ip link set lo up
  # /sys goes on showing the old namespace's devices until it is mounted anew, which would hide what is mounted in it: keep cgroups.
  kept=$(mktemp -d)
  if mountpoint -q /sys/fs/cgroup; then mount --rbind /sys/fs/cgroup "$kept"; fi
  if mount -t sysfs sysfs /sys; then
    if mountpoint -q "$kept"; then mount --move "$kept" /sys/fs/cgroup; fi
  else
    say '/sys could not be mounted anew: it shows the devices of the outer namespace'
  fi
  rmdir "$kept" 2>/dev/null || true
  # Not exec: this shell is process 1 here and takes in the guests whose hearth has died; cargo would leave them as zombies.
  trap - ERR
  code=0
  "$@" || code=$?
  exit "$code"
fi

[ $# -gt 0 ] || fail 'usage: in-netns.sh CMD...'
STEP='network namespace'
REMEDY='needs root and a kernel with network namespaces (unshare -n true)'
as_root unshare --net --mount --pid --fork true || fail "in-netns: this machine lets nobody make namespaces (in a container: give it CAP_SYS_ADMIN): $REMEDY"
self=$(readlink -f "${BASH_SOURCE[0]}")
# A process namespace too: whatever guest a failed test leaves behind ends with it. --propagation private: the new /sys stays in here.
spaces=(--net --mount --propagation private --pid --fork --kill-child --mount-proc)
if [ "$(id -u)" = 0 ]; then exec unshare "${spaces[@]}" "$self" --inside "$@"; fi
exec sudo -E env "PATH=$PATH" unshare "${spaces[@]}" "$self" --inside "$@"
