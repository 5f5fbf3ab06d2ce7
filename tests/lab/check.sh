#!/usr/bin/env bash
# What the lab promises, tried: exit code, output as it comes, the share, the deadline, and that nothing is left however it ends. Says it in
# libtest's words, so that it is counted with the tests. Needs what the lab needs; half a minute.
# shellcheck source=../../scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"

cd "$ROOT"
# Boot included, on a busy machine.
SOON_S=60
passed=0 failed=0
scratch
export TMPDIR=$SCRATCH/tmp
mkdir "$TMPDIR" "$SCRATCH/share"

# until_true COMMAND...: whether it succeeds within SOON_S.
until_true() {
  local until=$((SECONDS + SOON_S))
  until "$@"; do
    [ "$SECONDS" -lt "$until" ] || return 1
    sleep 0.1
  done
}

# try NAME: runs the function of that name; each line that it prints is something that is not as promised.
try() {
  local problems
  problems=$("$1" 2>&1)
  if [ -z "$problems" ]; then
    printf 'test lab::%s ... ok\n' "$1"
    passed=$((passed + 1))
  else
    printf 'test lab::%s ... FAILED\n%s\n' "$1" "$problems"
    failed=$((failed + 1))
  fi
}

same() { [ "$2" = "$3" ] || printf '%s: %s, not %s\n' "$1" "$2" "$3"; }

# Everything of a lab has its folder's path in its arguments.
processes() { pgrep -f "$TMPDIR/hearth-lab" || true; }
no_processes() { [ -z "$(processes)" ]; }
nothing_is_left() {
  until_true no_processes || printf 'processes are left: %s\n' "$(processes)"
  [ -z "$(ls -A "$TMPDIR")" ] || printf 'files are left: %s\n' "$(ls -A "$TMPDIR")"
}

the_code_the_output_and_the_share_come_out() {
  local code=0 output
  export HEARTH_LAB_CHECK='two  words'
  # shellcheck disable=SC2016
  output=$(tests/lab/lab --deadline "$SOON_S" --share "$SCRATCH/share" bash -c \
    'test -c /dev/kvm && echo "$HEARTH_LAB_CHECK" && pwd; echo stderr >&2; echo kept >"$1/kept"; echo lost >lost-in-the-lab; exit 7' bash "$SCRATCH/share" \
    2>"$SCRATCH/words") || code=$?
  same 'exit code' "$code" 7
  same output "$output" "$(printf 'two  words\n%s\nstderr' "$ROOT")"
  same 'the shared file' "$(cat "$SCRATCH/share/kept")" kept
  [ ! -e lost-in-the-lab ] || printf 'what was written outside of the share came out\n'
  nothing_is_left
}

a_machine_that_ends_by_itself_is_told() {
  local code=0
  tests/lab/lab --deadline "$SOON_S" bash -c 'echo b >/proc/sysrq-trigger; sleep 60' >"$SCRATCH/output" 2>&1 || code=$?
  same 'exit code' "$code" 125
  grep -q 'ended by itself' "$SCRATCH/output" || cat "$SCRATCH/output"
  nothing_is_left
}

a_deadline_is_kept() {
  local code=0
  tests/lab/lab --deadline 5 sleep 600 >"$SCRATCH/output" 2>&1 || code=$?
  same 'exit code' "$code" 124
  nothing_is_left
}

# ended_by SIGNAL: starts a lab, sees that its output comes while it runs, and sends it the signal. Sets CODE.
ended_by() {
  CODE=0
  tests/lab/lab --deadline 600 bash -c 'echo first; sleep 600' >"$SCRATCH/output" 2>/dev/null &
  local lab=$!
  until_true grep -q first "$SCRATCH/output" || printf 'no output while it runs\n'
  kill "-$1" "$lab"
  # bash tells of a killed job in a line of its own.
  wait "$lab" 2>/dev/null || CODE=$?
}

output_comes_at_once_and_a_signal_ends_it() {
  ended_by TERM
  same 'exit code' "$CODE" 143
  nothing_is_left
}

killed_hard_it_leaves_no_process() {
  ended_by KILL
  until_true no_processes || printf 'processes are left: %s\n' "$(processes)"
  rm -rf -- "$TMPDIR"/hearth-lab.*
}

# What failed to end must not outlive the check of it.
end_what_is_left() {
  local pid
  for pid in $(processes); do kill -KILL "$pid" 2>/dev/null || true; done
}

# Made here once, so that no try takes the time.
tests/lab/image.sh >"$SCRATCH/image"
for name in the_code_the_output_and_the_share_come_out a_machine_that_ends_by_itself_is_told a_deadline_is_kept \
  output_comes_at_once_and_a_signal_ends_it killed_hard_it_leaves_no_process; do
  try "$name"
done
end_what_is_left
verdict=ok
[ "$failed" = 0 ] || verdict=FAILED
printf 'test result: %s. %s passed; %s failed; 0 ignored\n' "$verdict" "$passed" "$failed"
[ "$failed" = 0 ]
