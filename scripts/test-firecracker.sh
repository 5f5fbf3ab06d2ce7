#!/usr/bin/env bash
# The VMM suite on a real Firecracker, counted as `make test` counts; what `make test-firecracker` is. Without a Firecracker it says SKIPPED, and why.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cd "$ROOT"
export CARGO_TERM_COLOR=never
# Not those of `make test`: either may run while the other's are read.
LOGS=$ROOT/target/firecracker-logs
export HEARTH_SKIP_LOG=$LOGS/skipped
PLAN=(firecracker)
WITH_TESTS=firecracker
# shellcheck source=checks.sh
. "$ROOT/scripts/checks.sh"
# shellcheck source=firecracker-find.sh
. "$ROOT/scripts/firecracker-find.sh"
STEP_LIMIT_S=$FIRECRACKER_LIMIT_S

# The agent is all that the suite takes of the build: hearth itself it builds as it builds its tests.
build_and_run() {
  scripts/packages.sh && scripts/rust-targets.sh && scripts/build.sh agent && scripts/firecracker-suite.sh "$@"
}
export -f build_and_run

if find_firecracker; then
  check firecracker "the VMM suite on $FIRECRACKER" bash -c 'build_and_run "$@"' -- "$@" || true
else
  skip firecracker "$WHY_NOT"
fi
if [ "$(id -u)" != 0 ] && [ -d target ]; then as_root chown -R "$(id -u):$(id -g)" target; fi
trap - ERR
summary
