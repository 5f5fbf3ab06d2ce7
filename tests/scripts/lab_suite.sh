# How tests come to a verdict though the lab loses its machine (tests/lab/suite, turn); the lab here is a stand-in that ends when a test says so.
# shellcheck shell=bash

# in_suite LIMIT_S DEADLINE_S TEST...: the tests of a program that does what their names say.
in_suite() {
  mkdir -p "$WORK/list"
  cat >"$WORK/lab" <<'END'
#!/usr/bin/env bash
echo "$*" >>"$WORK/labs"
shift 4
"$@" &
echo $! >"$WORK/turn"
trap 'kill -9 "$(cat "$WORK/turn")"; exit 143' TERM
wait $! 2>/dev/null
code=$?
! rm "$WORK/lost" 2>/dev/null || exit 125
exit "$code"
END
  cat >"$WORK/program" <<'END'
#!/usr/bin/env bash
echo "$*" >>"$WORK/ran"
lose() { : >"$WORK/lost"; kill -9 "$(cat "$WORK/turn")"; exit 9; }
case $2 in
  wrong) printf 'test %s ... FAILED\ntest result: FAILED. 0 passed; 1 failed; 0 ignored\n' "$2"; exit 101 ;;
  gone) exit 3 ;;
  endless) exec tail -f /dev/null ;;
  deadly) lose ;;
  deadly_once) [ -e "$WORK/once" ] || { : >"$WORK/once"; lose; } ;;
  silent) kill -STOP "$(cat "$WORK/turn")" ;;
  taken_away) mv "$WORK/list" "$WORK/elsewhere"; lose ;;
esac
printf 'test %s ... ok\ntest result: ok. 1 passed; 0 failed; 0 ignored\n' "$2"
END
  chmod +x "$WORK/lab" "$WORK/program"
  printf "$WORK/program\t%s\n" "${@:3}" >"$WORK/list/tests"
  export WORK
  HEARTH_LAB_PROGRAM=$WORK/lab ran tests/lab/suite "$WORK/list" "$1" "$2" --nocapture
}

test_all_tests_run_in_one_machine() {
  in_suite 60 60 first second
  same 'the exit' "$CODE" 0
  same 'what ran' "$(cat "$WORK/ran")" "$(printf -- '--exact %s --nocapture\n' first second)"
  same 'the labs' "$(wc -l <"$WORK/labs")" 1
  says 'what was told' "$SAID" 'test second ... ok'
}

test_a_failure_hides_no_other_and_is_not_run_again() {
  in_suite 1 60 wrong gone endless last
  same 'the exit' "$CODE" 1
  same 'the verdicts' "$(cut -f 1,3 "$WORK/list/verdicts")" "$(printf 'failed\t%s\n' wrong gone endless; printf 'ok\tlast')"
  says 'one that ends otherwise' "$SAID" 'exit code 3'
  says 'one without an end' "$SAID" 'no end after 1 s'
  says_not 'the end' "$SAID" REMEDY
  same 'each is counted' "$(grep -c '^test result:' <<<"$SAID")" 4
}

test_what_a_lost_machine_left_goes_on_in_another() {
  in_suite 60 60 first deadly_once last
  same 'the exit' "$CODE" 0
  same 'what ran' "$(cut -d ' ' -f 2 "$WORK/ran" | paste -sd ' ')" 'first deadly_once last deadly_once'
  same 'the labs' "$(wc -l <"$WORK/labs")" 2
  says 'what was told' "$SAID" 'the lab lost its machine under deadly_once, which is no verdict on it (time 1 of 3)'
  same 'each is counted once' "$(grep -c '^test result: ok' <<<"$SAID")" 3
}

test_a_test_that_ends_each_machine_has_failed() {
  in_suite 60 60 deadly last
  same 'the exit' "$CODE" 1
  same 'the verdicts' "$(cut -f 1,3 "$WORK/list/verdicts")" "$(printf 'ok\tlast\nfailed\tdeadly')"
  says 'what was told' "$SAID" 'no verdict: 3 machines of the lab ended under it'
  says 'the count' "$SAID" 'test result: FAILED. 0 passed; 1 failed; 0 ignored'
}

test_a_machine_in_which_nothing_happens_is_ended() {
  HEARTH_LAB_SPARE_S=1 in_suite 1 60 silent
  same 'the exit' "$CODE" 1
  says 'what was told' "$SAID" '(time 1 of 3)'
}

test_what_did_not_run_in_time_has_failed() {
  in_suite 60 0 first
  same 'the exit' "$CODE" 1
  says 'what was told' "$SAID" 'not run, or not to its end: 0 s were over'
}

test_a_list_that_is_taken_away_is_no_success() {
  in_suite 60 60 first taken_away
  same 'the exit' "$CODE" 1
}

test_no_tests_are_no_success() {
  in_suite 60 60
  : >"$WORK/list/tests"
  HEARTH_LAB_PROGRAM=$WORK/lab ran tests/lab/suite "$WORK/list" 60 60
  same 'the exit' "$CODE" 1
  says 'what was told' "$SAID" 'there are no tests'
}
