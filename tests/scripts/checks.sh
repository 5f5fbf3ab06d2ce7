# What `make test` does with a check that fails, has no end, or leaves something behind (scripts/checks.sh).
# shellcheck shell=bash

# in_checks LINES: in a run of its own of four checks.
in_checks() {
  ran bash -c '
    set -euo pipefail
    ROOT='"$WORK"' LOGS='"$WORK"'/logs HEARTH_SKIP_LOG='"$WORK"'/skip STEP_LIMIT_S=${STEP_LIMIT_S:-60} PLAN=(a b c d) WITH_TESTS=suite
    . scripts/checks.sh
    '"$1"'
    summary'
}

test_each_check_is_counted_and_its_output_kept() {
  in_checks 'check a "one" seq 20000; check suite "two" echo "test result: ok. 3 passed; 0 failed; 0 ignored"; check c "three" bash -c "exit 3" || true
    check suite "four" true || true'
  same 'the exit' "$CODE" 1
  says 'the end' "$SAID" '5 passed, 2 failed, 0 skipped'
  says 'a suite without tests' "$SAID" 'not one test ran'
  same 'the lines kept' "$(wc -l <"$WORK/logs/a.log")" 20000
}

test_a_check_without_an_end_is_ended_and_named() {
  STEP_LIMIT_S=1 in_checks 'check a "one" sleep 100 || true; check b "two" true'
  same 'the exit' "$CODE" 1
  says 'the end' "$SAID" '1 passed, 1 failed, 0 skipped'
  says 'the check' "$SAID" 'no end after 1 s'
  SECONDS=0
  HEARTH_TEST_LIMIT_S=2 in_checks 'check a "one" sleep 100 || true; check b "two" sleep 100 || true'
  says 'all together' "$SAID" '0 passed, 2 failed, 0 skipped'
  [ "$SECONDS" -lt 50 ] || printf 'all together took %s s\n' "$SECONDS"
}

test_who_is_left_behind_holds_up_nothing() {
  SECONDS=0
  in_checks 'check a "one" bash -c "setsid sleep 300 & echo \$! >'"$WORK"'/left; echo said"; check b "two" true'
  kill "$(cat "$WORK/left")"
  says 'the end' "$SAID" '2 passed, 0 failed, 0 skipped'
  says 'what it said' "$SAID" said
  says 'the check' "$SAID" 'a program that it started is still there'
  [ "$SECONDS" -lt 100 ] || printf 'it took %s s\n' "$SECONDS"
}
