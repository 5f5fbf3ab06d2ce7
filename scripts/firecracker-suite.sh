#!/usr/bin/env bash
# The VMM suite on a real Firecracker (the driver, the client of the API, and the built hearth end to end): builds its tests, sees whether a guest boots on this machine's KVM, runs them here if so, else in the lab
# (tests/lab). HEARTH_LAB=always or never decides it instead. The arguments go to the tests. Firecracker must be there: make test-firecracker.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=firecracker-find.sh
. "$ROOT/scripts/firecracker-find.sh"

cd "$ROOT"
bin=${HEARTH_BIN:-}
# shellcheck source=env.sh
. "$ROOT/scripts/env.sh"
# A kernel on working KVM has looked for its root after 0.3 s; on the slowest that works, the lab's own, after four. One that hangs never does.
BOOT_LIMIT_S=10
# The longest are the built hearth's, which ends itself after 900 s, and the twenty guests, which boot one by one where there is one processor.
TEST_LIMIT_S=1200
# Seen: 48 minutes beside other work, and eight in which a machine stood still.
LAB_LIMIT_S=${HEARTH_LAB_LIMIT_S:-4500}
# Twenty machines at once, of which each uses some 50 MiB; with 4 GiB the lab's kernel was lost once.
export HEARTH_LAB_MEM_MIB=${HEARTH_LAB_MEM_MIB:-6144}

# guest_boots: whether a kernel without a root gets so far as to miss it. Sets VERDICT.
guest_boots() {
  local folder output
  if ! [ -r /dev/kvm ] || ! [ -w /dev/kvm ]; then
    VERDICT='/dev/kvm is not there, or not ours'
    return 1
  fi
  folder=$(mktemp -d "${TMPDIR:-/tmp}/hearth-kvm.XXXXXX")
  printf '{"boot-source": {"kernel_image_path": "%s", "boot_args": "console=ttyS0 quiet reboot=k panic=-1"}, "drives": [],
    "machine-config": {"vcpu_count": 1, "mem_size_mib": 128}}' "$IMAGES/debian-kernel/vmlinux" >"$folder/config.json"
  # A guest that hangs is ended, and one whose kernel panics ends by itself; neither exit code matters.
  output=$(timeout --signal=KILL "$BOOT_LIMIT_S" "$FIRECRACKER" --no-api --config-file "$folder/config.json" </dev/null 2>&1 || true)
  rm -rf -- "$folder"
  case $output in
    *'Unable to mount root fs'*)
      VERDICT='a guest boots on this KVM'
      return 0
      ;;
  esac
  VERDICT="/dev/kvm is there, but a guest did not boot on it within $BOOT_LIMIT_S s (${#output} bytes printed)"
  return 1
}

find_firecracker || fail "firecracker: $WHY_NOT"
export HEARTH_FIRECRACKER=$FIRECRACKER HEARTH_JAILER=$JAILER
say "$("$FIRECRACKER" --version | head -n 1), $("$JAILER" --version | head -n 1)"

step 'firecracker: images and agent' 'make setup build'
[ -s "$IMAGES/debian-kernel/vmlinux" ] || scripts/images/debian-kernel.sh
[ -s "$IMAGES/busybox/rootfs.ext4" ] || scripts/images/busybox.sh
[ -s "$IMAGES/images.json" ] || scripts/images/manifest.sh
[ -x "$HEARTH_AGENT" ] || fail 'firecracker: the guest agent is not built'

step 'firecracker: build the tests' 'the compiler says what is wrong'
# Of the crate host; the driver's come last, and then those of the built hearth, which have the same name. Jails and limits want what the lab has and a CI
# machine may not: root, and cgroup v2.
SOURCES=(tests/client/main.rs tests/jail.rs tests/limits.rs tests/firecracker/main.rs tests/firecracker.rs)
ASKED=("$@")
# The same selection of packages as `make test`, so that nothing is compiled twice. The tests are started without cargo: in the lab it would
# take minutes to see that nothing has changed.
cargo test --locked --workspace --no-default-features --test=client --test=jail --test=limits --test=firecracker --no-run 2>&1 | tee target/firecracker-build.log
# `make test` hands over the release; by itself, the hearth of these sources is built as its tests are.
if [ -z "$bin" ]; then
  cargo build --locked --workspace --bin hearth
  bin=$ROOT/target/debug/hearth
fi
HEARTH_BIN=$bin
# program SOURCE: the path that cargo tells, of the tests whose source in their crate this is.
program() {
  local path
  path=$(sed -n "s|^ *Executable $1 (\(.*\))\$|\1|p" target/firecracker-build.log | tail -n 1)
  [ -x "$path" ] || fail "firecracker: cargo does not say where the tests $1 are"
  printf '%s\n' "$path"
}
# programs: each with its arguments, quoted, a line each. The client's tests on the stand-in need no Firecracker and run elsewhere; what is asked for is
# asked of the driver's tests and of the built hearth's.
programs() {
  local source arguments
  for source in "${SOURCES[@]}"; do
    case $source in
      tests/client/*) arguments=(real::) ;;
      tests/firecracker*) arguments=("${ASKED[@]}") ;;
      *) arguments=() ;;
    esac
    printf '%q ' "$(program "$source")" "${arguments[@]}"
    printf '\n'
  done
}

step 'firecracker: where the tests can run' 'HEARTH_LAB=always runs them in the lab'
VERDICT=
case ${HEARTH_LAB:-} in
  always) where=lab VERDICT='HEARTH_LAB=always' ;;
  never) where=here VERDICT='HEARTH_LAB=never' ;;
  *) if guest_boots; then where=here; else where=lab; fi ;;
esac
if [ "$where" = here ]; then
  say "on this machine: $VERDICT"
  # libtest runs as many at a time as there are processors; the suite bounds its guests itself. A failure of one does not hide the next.
  # shellcheck disable=SC2016
  { printf 'code=0\n'; programs | sed 's/$/|| code=1/'; printf 'exit "$code"\n'; } >target/firecracker-suite.sh
  exec scripts/in-netns.sh bash target/firecracker-suite.sh
fi
say "in the lab: $VERDICT"
root=()
[ "$(id -u)" = 0 ] || root=(sudo -E env "PATH=$PATH")
code=0
step 'firecracker: the lab itself' 'tests/lab/check.sh'
"${root[@]}" tests/lab/check.sh || code=1
# tests: all that were asked for, each with its program before it, a line each.
tests() {
  local line words
  while read -r line; do
    eval "words=($line)"
    "${words[@]}" --list --format terse | sed -n "s|^\(.*\): test\$|${words[0]}\t\1|p"
  done < <(programs)
}
# in_lab CPUS: the tests that it is told, in machines with so many processors. The log of skipped tests is written by the tests, so their list is made where that is.
in_lab() {
  local cpus=${HEARTH_LAB_CPUS:-$1} folder=$ROOT/target list word options=() code=0
  [ -z "${HEARTH_SKIP_LOG:-}" ] || folder=$(dirname "$HEARTH_SKIP_LOG")
  # Two suites may run at once.
  list=$(mktemp -d "$folder/firecracker-tests.XXXXXX")
  cat >"$list/tests"
  # Of libtest's options, those for a test that was chosen already.
  for word in "${ASKED[@]}"; do case $word in --nocapture | --show-output) options+=("$word") ;; esac; done
  say "$(wc -l <"$list/tests") tests, one after the other; processors of the lab: $cpus"
  "${root[@]}" env HEARTH_LAB_CPUS="$cpus" tests/lab/suite "$list" "$TEST_LIMIT_S" "$LAB_LIMIT_S" "${options[@]}" || code=1
  rm -rf -- "$list"
  return "$code"
}
step 'firecracker: the suite, in the lab' 'HEARTH_LAB_LIMIT_S says how long each half may take, HEARTH_LAB_MEM_MIB what memory it has'
# Where SVM is emulated for several processors, guests are lost and the machine itself, too; with one neither was seen. But there a limit of processor time binds nothing,
# and the network without a limit is hardly faster than with the lowest.
TWO_PROCESSORS=$'/limits-[0-9a-f]+\t|\trates::'
all=$(tests)
in_lab 2 < <(grep -E "$TWO_PROCESSORS" <<<"$all") || code=1
in_lab 1 < <(grep -vE "$TWO_PROCESSORS" <<<"$all") || code=1
exit "$code"
