#!/usr/bin/env bash
# Simulates nodes from SEEDS seeds (10,000), fresh ones or from FROM on. A failing one prints the line that runs it again.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cd "$ROOT"
export CARGO_TARGET_DIR=$ROOT/target
step "sim: ${SEEDS:-10000} seeds" 'cargo run --manifest-path tests/sim/Cargo.toml -- replay SEED shows what happened in one'
cargo build --locked --manifest-path tests/sim/Cargo.toml
exec target/debug/hearth-sim run --seeds "${SEEDS:-10000}" ${FROM:+--from "$FROM"}
