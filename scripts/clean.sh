#!/usr/bin/env bash
# Removes what was built in this clone. Leaves ./data (VMs may live in it) and the caches of the machine.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

step 'clean: target, build, guest/target, web-yew/target' 'a file there may belong to root: run it as root'
[ -f "$ROOT/Makefile" ] || fail "clean: $ROOT is no clone of hearth"
for dir in target build guest/target web-yew/target; do
  rm -rf -- "${ROOT:?}/$dir"
done
say "left alone: ./data and $HEARTH_CACHE"
