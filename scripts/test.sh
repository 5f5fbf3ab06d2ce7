#!/usr/bin/env bash
# Everything that CI runs, in order; what `make test` is. A failing check does not hide the later ones; only where nothing later could work
# (set-up, build) are the rest counted as skipped. The last line is `N passed, N failed, N skipped`: one for each check and for each test.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cd "$ROOT"
# shellcheck source=env.sh
. "$ROOT/scripts/env.sh"
export CARGO_TERM_COLOR=never
LOGS=$ROOT/target/test-logs
# A test that cannot run on this machine appends "NAME: REASON" here and returns; libtest itself would count it as passed in silence.
export HEARTH_SKIP_LOG=$LOGS/skipped
# What no machine of ours took: a stuck test must end the run and name itself in the log, rather than hang a CI for hours.
STEP_LIMIT_S=${HEARTH_STEP_LIMIT_S:-2400}
# shellcheck source=checks.sh
. "$ROOT/scripts/checks.sh"
# shellcheck source=firecracker-find.sh
. "$ROOT/scripts/firecracker-find.sh"

# The names of all checks, so that those that were never reached can be counted.
PLAN=(space setup fmt clippy tidy wasm deny guest console scripts build unit sim e2e firecracker api fuzz)
# Of these, that not one test ran is a failure: a suite that nobody finds passes for ever.
WITH_TESTS='guest console scripts unit sim e2e firecracker'

# Nothing later can work: the rest is skipped, and said to be.
give_up() {
  local left=$((${#PLAN[@]} - reached))
  skipped=$((skipped + left))
  printf '\n%s checks were not reached: %s\n' "$left" "${PLAN[*]:$reached}"
  summary || true
  exit 1
}

# The tools of the wasm32 target may be others than those in PATH (scripts/rust-targets.sh).
with_wasm_path() { PATH=${WASM_TOOLCHAIN_PATH:+$WASM_TOOLCHAIN_PATH:}$PATH "$@"; }

in_each_workspace() {
  local dir code=0
  for dir in . guest web-yew fuzz tests/sim; do
    [ -f "$dir/Cargo.toml" ] || continue
    printf -- '-- %s\n' "$dir"
    (cd "$dir" && "$@") || code=1
  done
  return "$code"
}

# Names the files; `cargo fmt` mends them. `cargo fmt --all` would wander into path dependencies of the other workspaces.
fmt_check() { in_each_workspace cargo fmt --check -- -l; }

# The tests of a workspace compiled, or more than them: `compile DIR ARGS...`. The compiler is clippy's, so that the lints ride on what is needed
# anyway: a `cargo clippy` of its own would go through every dependency once more. A lint is told, and fails this check; the tests still run.
compile() {
  local dir=$1 log code=0
  shift
  log=$(mktemp)
  printf -- '-- %s\n' "$dir"
  (cd "$dir" && cargo test --locked --no-run "$@") 2>&1 | tee "$log"
  code=${PIPESTATUS[0]}
  if grep -q '^warning' "$log"; then code=1; fi
  rm -f -- "$log"
  return "$code"
}
# Where it is missing, the tests run all the same.
if clippy-driver --version >/dev/null 2>&1; then export RUSTC_WORKSPACE_WRAPPER=clippy-driver; fi
export CLIPPY_ARGS='--cap-lints__CLIPPY_HACKERY__warn__CLIPPY_HACKERY__'
# What is built once gains nothing from being cut small for the next time.
[ -z "${CI:-}" ] || export CARGO_INCREMENTAL=0
# jemalloc is in no library, and takes minutes to build: the release has it, which the tests from end to end run.
WORKSPACE='--workspace --no-default-features'
export WORKSPACE
# What users get; in CI, where nobody runs it afterwards, the server without the last of its speed, which takes a quarter of its build.
as_released() {
  local build=${HEARTH_BUILD:-}
  [ -z "${CI:-}" ] || build=${build:-light}
  env -u RUSTC_WORKSPACE_WRAPPER -u CLIPPY_ARGS -u CARGO_INCREMENTAL HEARTH_BUILD="$build" "$@"
}

lint() {
  local code=0
  [ -n "${RUSTC_WORKSPACE_WRAPPER:-}" ] || { printf 'no clippy here: rustup component add clippy (Debian: apt-get install rust-clippy)\n' && code=1; }
  # shellcheck disable=SC2086
  compile . $WORKSPACE --all-targets || code=1
  compile guest --all-targets || code=1
  compile tests/sim --all-targets || code=1
  compile web-yew --workspace --exclude hearth-console || code=1
  (cd web-yew && with_wasm_path as_released cargo clippy --locked --workspace --target wasm32-unknown-unknown -- -D warnings) || code=1
  return "$code"
}

wasm_check() {
  with_wasm_path as_released cargo check --locked -p hearth-domain -p hearth-api --features hearth-api/client --target wasm32-unknown-unknown
}

# The advisories need their database from GitHub, which a CI machine without a network to it cannot reach.
deny_check() {
  say 'advisories: SKIPPED, their database is not part of this run (cargo deny check advisories does it where it can be fetched)'
  cargo deny --offline check bans licenses sources
}

# Both phases select the whole workspace, and then targets of it: another selection of packages would unify other features and compile every
# dependency a second time. Compiled outside, where crates can be fetched; run inside, where nothing can be reached but the loopback.
# --no-fail-fast: all failures at once.
test_targets() {
  local file name
  for file in "$@"; do
    [ -e "$file" ] || continue
    name=$(basename "$file" .rs)
    # A suite of several files is a folder with a main.rs, and cargo calls it by the folder's name.
    [ "$name" != main ] || name=$(basename "$(dirname "$file")")
    printf -- '--test=%s\n' "$name"
  done
}

unit_tests() {
  local targets file files=()
  for file in */tests/*.rs */tests/*/main.rs tests/fake-firecracker/tests/*/main.rs; do
    case $file in tests/tests/* | guest/* | web-yew/* | host/tests/firecracker/main.rs) ;; *) files+=("$file") ;; esac
  done
  mapfile -t targets < <(test_targets "${files[@]}")
  # shellcheck disable=SC2086
  cargo test --locked $WORKSPACE --no-run &&
    scripts/in-netns.sh cargo test --offline --locked $WORKSPACE --lib --bins "${targets[@]}" --no-fail-fast
}

e2e_tests() {
  local targets file files=()
  # Another name would have it run here again, unseen.
  { [ -f "$CLOUD_SUITE" ] && grep -q "fn $CLOUD_TEST(" tests/tests/cloud_disk.rs; } || fail "$CLOUD_SUITE or the test $CLOUD_TEST has another name now"
  say "left to make test-cloud-image: $CLOUD_SUITE, $CLOUD_TEST"
  for file in tests/tests/*.rs; do
    [ "$file" = "$CLOUD_SUITE" ] || files+=("$file")
  done
  # Those on a real Firecracker are the check `firecracker`'s.
  mapfile -t targets < <(test_targets "${files[@]}" | grep -vx -- --test=firecracker)
  [ ${#targets[@]} != 0 ] || fail 'there is no suite in tests/tests/*.rs'
  # One at a time: they measure times, and a machine of CI has two cores for hearth, QEMU and a browser.
  # shellcheck disable=SC2086
  scripts/in-netns.sh cargo test --offline --locked $WORKSPACE "${targets[@]}" --no-fail-fast -- --test-threads="${HEARTH_E2E_THREADS:-1}" --skip "$CLOUD_TEST"
}
# Guests that cloud-init configures take ten minutes where they are emulated, and an image that set-up does not make.
export CLOUD_SUITE=tests/tests/cloud_image.rs CLOUD_TEST=a_partitioned_cloud_image_boots

export -f in_each_workspace fmt_check lint compile as_released with_wasm_path wasm_check deny_check test_targets unit_tests e2e_tests say fail

# A function runs under timeout(1) only through a shell of its own.
run() { local name=$1 title=$2; shift 2; check "$name" "$title" bash -c "set -eu; $*"; }

begun=$SECONDS
# Half an hour later it would be a hundred failures of other names.
check space 'room on the disks for all that follows' scripts/space.sh test || give_up
check setup 'set-up, with what the tests need' scripts/setup.sh test || give_up
# shellcheck disable=SC1091
. "$HEARTH_TOOLS/targets.env"
export WASM_TOOLCHAIN_PATH
run fmt 'formatting (cargo fmt)' fmt_check || true
run clippy 'the tests compiled, by clippy (warnings denied)' lint || true
check tidy 'tidy (docs, words, edges, links)' cargo xtask tidy || true
run wasm 'domain and api compile to WebAssembly' wasm_check || true
if command -v cargo-deny >/dev/null; then
  run deny 'licences, bans and sources (cargo deny)' deny_check || true
else
  skip deny 'cargo-deny is not installed (cargo install --locked cargo-deny takes minutes; then this check runs)'
fi
check guest 'tests of the guest agent' bash -c 'cd guest && cargo test --locked --no-fail-fast' || true
# What the console decides lives in crates without a browser; hearth-console itself compiles for wasm32 only and is built below.
check console 'tests of the web console (native)' bash -c 'cd web-yew && cargo test --locked --workspace --exclude hearth-console --no-fail-fast' || true
check scripts 'what the scripts decide' tests/scripts/check.sh || true
run build 'build of everything (release)' as_released scripts/build.sh || give_up
run unit 'unit, property, actor and crash tests' unit_tests || true
# Fixed and fresh seeds, and the mistakes that must be found: under three minutes on two cores.
check sim 'whole nodes, simulated from seeds' bash -c 'cd tests/sim && cargo test --locked --no-fail-fast' || true
run e2e 'end to end: the built binary in a network of its own' e2e_tests || true
if find_firecracker; then
  STEP_LIMIT_S=$FIRECRACKER_LIMIT_S check firecracker "the VMM suite on $FIRECRACKER" scripts/firecracker-suite.sh || true
else
  skip firecracker "$WHY_NOT"
fi
check api 'the REST API held to its OpenAPI document (schemathesis)' scripts/in-netns.sh scripts/api-fuzz.sh || true
check fuzz 'every parser of foreign bytes fuzzed, 60 s each' scripts/fuzz.sh || true

# With sudo some of what was built in the namespace belongs to root now.
if [ "$(id -u)" != 0 ]; then as_root chown -R "$(id -u):$(id -g)" target; fi
printf '\n%s minutes in all\n' "$(((SECONDS - begun + 59) / 60))"
# The trap would add lines after the last one.
trap - ERR
summary
