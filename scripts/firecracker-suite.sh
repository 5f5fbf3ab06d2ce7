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
# The lab's own exit code for it.
MACHINE_DIED=125
LAB_LIMIT_S=${HEARTH_LAB_LIMIT_S:-1800}
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
SUITES=(tests/jail.rs tests/limits.rs tests/firecracker/main.rs tests/firecracker.rs)
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
# A script rather than an argument: it is the same here and in the lab, and a failure of one does not hide the next. The client's tests on the
# stand-in need no Firecracker and run elsewhere; what is asked for is asked of the driver's tests and of the built hearth's.
client=$(program tests/client/main.rs)
printf 'code=0\n%q real:: || code=1\n' "$client" >target/firecracker-suite.sh
for source in "${SUITES[@]}"; do
  path=$(program "$source")
  # shellcheck disable=SC2016
  case $source in tests/firecracker*) arguments='"$@"' ;; *) arguments='' ;; esac
  printf '%q %s || code=1\n' "$path" "$arguments" >>target/firecracker-suite.sh
done
# shellcheck disable=SC2016
printf 'exit "$code"\n' >>target/firecracker-suite.sh
suite=(bash target/firecracker-suite.sh "$@")

step 'firecracker: where the tests can run' 'HEARTH_LAB=always runs them in the lab'
VERDICT=
case ${HEARTH_LAB:-} in
  always) where=lab VERDICT='HEARTH_LAB=always' ;;
  never) where=here VERDICT='HEARTH_LAB=never' ;;
  *) if guest_boots; then where=here; else where=lab; fi ;;
esac
# libtest runs as many at a time as there are processors; the suite bounds its guests itself.
if [ "$where" = here ]; then
  say "on this machine: $VERDICT"
  exec scripts/in-netns.sh "${suite[@]}"
fi
say "in the lab: $VERDICT"
lab=(tests/lab/lab --deadline "$LAB_LIMIT_S")
# The log of skipped tests is written by the tests, and read out here.
[ -z "${HEARTH_SKIP_LOG:-}" ] || lab+=(--share "$(dirname "$HEARTH_SKIP_LOG")")
root=()
[ "$(id -u)" = 0 ] || root=(sudo -E env "PATH=$PATH")
code=0
step 'firecracker: the lab itself' 'tests/lab/check.sh'
"${root[@]}" tests/lab/check.sh || code=1
step 'firecracker: the suite, in the lab' 'HEARTH_LAB_LIMIT_S says how long it may take, HEARTH_LAB_MEM_MIB what memory it has'
ended=0
"${root[@]}" "${lab[@]}" "${suite[@]}" || ended=$?
# Emulated SVM was seen to lose its machine, once in some runs; no test's verdict is asked for twice.
if [ "$ended" = "$MACHINE_DIED" ]; then
  say 'the lab lost its machine, which is no verdict on Firecracker: once more'
  ended=0
  "${root[@]}" "${lab[@]}" "${suite[@]}" || ended=$?
fi
[ "$ended" = 0 ] || code=$ended
exit "$code"
