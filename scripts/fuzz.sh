#!/usr/bin/env bash
# Runs the fuzz targets for a while each: `fuzz.sh [TARGET...]`, all of them when none is named. FUZZ_SECONDS (60) is how long each runs,
# FUZZ_JOBS (the number of cores) how many at a time, FUZZ_SANITIZER=address watches memory too (slower).
# Drives libFuzzer without cargo-fuzz (docs/adr/0014-how-bad-input-is-found.md): one build with the compiler's coverage, then the programs.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cd "$ROOT"
SECONDS_EACH=${FUZZ_SECONDS:-60}
AT_A_TIME=${FUZZ_JOBS:-$(nproc)}
SANITIZER=${FUZZ_SANITIZER:-none}
HOST=$(rustc -vV | awk '/^host:/ {print $2}')
MADE=$ROOT/target/fuzz
LOGS=$MADE/logs
FOUND=$ROOT/fuzz/artifacts
# What a run takes beyond its time: start, and the last input.
SLACK_S=60
# The memory of a whole program, its corpus included; what an input may take is bounded in fuzz/src/memory.rs.
RSS_MB=2048
# An input that takes so long is a finding: requests and frames are to take microseconds.
INPUT_S=10

# Not every compiler has the pass, and libFuzzer is C++. Says why not and ends well: the corpus is replayed by `cargo test` everywhere.
can_build() {
  local scratch
  command -v c++ >/dev/null || { printf 'no C++ compiler (apt-get install build-essential)'; return 1; }
  scratch=$(mktemp -d)
  if ! printf 'fn main() {}' | rustc -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=1 -o "$scratch/x.o" --emit=obj - 2>"$scratch/why"; then
    printf 'this rustc has no coverage for fuzzing: %s' "$(head -n 1 "$scratch/why")"
    rm -rf -- "$scratch"
    return 1
  fi
  rm -rf -- "$scratch"
}

# The same flags as cargo-fuzz's. Without a sanitizer cargo does not see them: whoever changes one, here or in fuzz-rustc.sh, removes target/debug.
flags() {
  local all='--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Coverflow-checks'
  case $SANITIZER in
    none) ;;
    address) all="$all -Zsanitizer=address -Clink-dead-code" ;;
    *) fail "fuzz: FUZZ_SANITIZER is none or address, not $SANITIZER" ;;
  esac
  printf '%s' "$all"
}

targets() {
  if [ $# != 0 ]; then printf '%s\n' "$@"; else basename -s .rs -a fuzz/fuzz_targets/*.rs; fi
}

# One target to its end; the log is all that it leaves, and its findings in $FOUND.
run_one() {
  local name=$1
  # A finding is no failing step.
  trap - ERR
  mkdir -p "$FOUND/$name" "$MADE/corpus/$name"
  local options=(-max_total_time="$SECONDS_EACH" -timeout="$INPUT_S" -rss_limit_mb="$RSS_MB" -print_final_stats=1 -reload=0 -verbosity=1
    -artifact_prefix="$FOUND/$name/")
  if [ -f "fuzz/dict/$name.dict" ]; then options+=(-dict="fuzz/dict/$name.dict"); fi
  # New inputs go into the first folder, which is no part of the repository.
  timeout --kill-after=10 $((SECONDS_EACH + SLACK_S)) "$BINS/$name" "${options[@]}" "$MADE/corpus/$name" "fuzz/corpus/$name" \
    >"$LOGS/$name.log" 2>&1
}

# The line of a target: executions, a second, edges covered, findings.
report() {
  local name=$1 code=$2 log=$LOGS/$1.log runs rate cover found
  runs=$(awk '/^stat::number_of_executed_units:/ {print $2}' "$log")
  rate=$(awk '/^stat::average_exec_per_sec:/ {print $2}' "$log")
  cover=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 | cut -d' ' -f2)
  found=$(grep -c 'Test unit written to' "$log" || true)
  printf '   %-10s %12s runs %8s/s %7s edges %3s found\n' "$name" "${runs:-?}" "${rate:-?}" "${cover:-?}" "$found"
  [ "$code" = 0 ] && [ "$found" = 0 ] && return 0
  grep -m 1 -A 2 'panicked at' "$log" | sed 's/^/      /' || true
  grep -m 1 -E '^==[0-9]+== ?ERROR' "$log" | sed 's/^/      /' || true
  sed -n 's/.*Test unit written to \(.*\)/      again: FUZZ_INPUT=\1 scripts\/fuzz.sh '"$name"'/p' "$log"
  [ "$found" != 0 ] || printf '      it ended with %s: %s\n' "$code" "$(tail -n 1 "$log")"
  return 1
}

step 'fuzz: what this machine can build' 'read the line above'
if ! why=$(can_build); then
  printf 'fuzz: SKIPPED: %s\n' "$why"
  if [ -n "${HEARTH_SKIP_LOG:-}" ]; then printf 'fuzz: %s\n' "$why" >>"$HEARTH_SKIP_LOG"; fi
  exit 0
fi

step "fuzz: build (sanitizer: $SANITIZER)" 'the compiler says what is wrong; the first build takes minutes'
mapfile -t NAMES < <(targets "$@")
build=(cargo build --locked --manifest-path fuzz/Cargo.toml)
for name in "${NAMES[@]}"; do build+=(--bin "$name"); done
# The lints of this workspace ride on its build, and cost nothing: a check of its own would go through every dependency once more, for our crates
# need the flags above. Only the workspace's own crates are compiled by it; all else is where it is linted with the others.
if command -v clippy-driver >/dev/null; then export RUSTC_WORKSPACE_WRAPPER=clippy-driver; fi
if [ "$SANITIZER" = none ]; then
  # What others wrote is taken as the tests have it (fuzz/Cargo.toml has the same profile for it): compiling all of it once more, with flags of its
  # own, took a third of the whole of CI.
  export CARGO_TARGET_DIR=$ROOT/target
  BINS=$CARGO_TARGET_DIR/debug
  FUZZ_FLAGS=$(flags) RUSTC_WRAPPER=$ROOT/scripts/fuzz-rustc.sh "${build[@]}"
else
  # A sanitizer wants all that there is. With --target the flags are for the programs only, not for build scripts.
  # RUSTC_BOOTSTRAP: the sanitizer's flag is an unstable one of an otherwise stable compiler.
  export CARGO_TARGET_DIR=$MADE
  BINS=$CARGO_TARGET_DIR/$HOST/debug
  RUSTC_BOOTSTRAP=1 RUSTFLAGS=$(flags) "${build[@]}" --target "$HOST"
fi

# One input, to see a finding again.
if [ -n "${FUZZ_INPUT:-}" ]; then
  [ $# = 1 ] || fail 'fuzz: name the one target that FUZZ_INPUT is for'
  exec "$BINS/$1" -timeout="$INPUT_S" -rss_limit_mb="$RSS_MB" "$FUZZ_INPUT"
fi

step "fuzz: ${#NAMES[@]} targets, $SECONDS_EACH s each, $AT_A_TIME at a time" 'run the line that begins with "again:"; its input stays in fuzz/artifacts'
mkdir -p "$LOGS"
begun=$SECONDS failed=0
declare -A running=()
# Waits for one of those that run, and reports it.
reap() {
  local pid code=0
  wait -n -p pid "${!running[@]}" || code=$?
  report "${running[$pid]}" "$code" || failed=$((failed + 1))
  unset "running[$pid]"
}
for name in "${NAMES[@]}"; do
  while [ ${#running[@]} -ge "$AT_A_TIME" ]; do reap; done
  run_one "$name" &
  running[$!]=$name
done
while [ ${#running[@]} != 0 ]; do reap; done
trap - ERR
printf 'fuzz: %s targets, %s with findings, %s s\n' "${#NAMES[@]}" "$failed" "$((SECONDS - begun))"
[ "$failed" = 0 ]
