#!/usr/bin/env bash
# All of set-up, in order: packages, Rust targets, tools, first images. `setup.sh [test]`: with what the tests need besides.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cd "$ROOT"
"$ROOT/scripts/space.sh" "$@" || exit 1
for part in packages.sh rust-targets.sh tools.sh images/debian-kernel.sh images/busybox.sh; do
  STEP="set-up ($part)"
  # Each names its own failing step; a second report of the same would only hide it.
  "$ROOT/scripts/$part" "$@" || exit 1
done
# Our own kernel takes minutes to build, so set-up does not; but one that an earlier `make kernel` left in the cache is free.
"$ROOT/scripts/images/hearth-kernel.sh" --cached || exit 1
"$ROOT/scripts/images/manifest.sh" || exit 1
