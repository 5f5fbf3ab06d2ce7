#!/usr/bin/env bash
# kill -9 of hearth at random moments of random load, ROUNDS times (100), on real guests and simulated VMs, with a full disk, a read-only
# disk and 64 file descriptors; after each an independent checker looks at the machine. SEED repeats a run's wishes. Needs root.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cd "$ROOT"
bin=${HEARTH_BIN:-}
# shellcheck source=env.sh
. "$ROOT/scripts/env.sh"
[ -z "$bin" ] || HEARTH_BIN=$bin
export HEARTH_CHAOS_ROUNDS=${ROUNDS:-100}
[ -z "${SEED:-}" ] || export HEARTH_CHAOS_SEED=$SEED
step "chaos: $HEARTH_CHAOS_ROUNDS rounds" 'a failing round prints its seed and what the checker found; make chaos SEED=... repeats its wishes'
# The same selection of packages as `make test`, so that nothing is compiled twice.
cargo test --locked --workspace --test=chaos --no-run
scripts/in-netns.sh cargo test --offline --locked --workspace --test=chaos -- --test-threads=1 --nocapture
