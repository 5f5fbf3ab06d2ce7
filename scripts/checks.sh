# Runs checks and counts them and their tests; the last line is `N passed, N failed, N skipped`. Source it after lib.sh, with LOGS (a folder),
# HEARTH_SKIP_LOG, STEP_LIMIT_S, PLAN (the names of all checks) and WITH_TESTS set; which checks there are is said by the script that sources it.
# shellcheck shell=bash

reached=0
mkdir -p "$LOGS"
rm -f -- "$LOGS"/*.log "$LOGS/summary"
: >"$HEARTH_SKIP_LOG"
: >"$LOGS/skipped-checks"

passed=0 failed=0 skipped=0
failures=()

summary() {
  local silent
  silent=$(wc -l <"$HEARTH_SKIP_LOG")
  # Those returned early and were counted as passed by libtest.
  passed=$((passed - silent)) skipped=$((skipped + silent))
  if [ -s "$HEARTH_SKIP_LOG" ] || [ -s "$LOGS/skipped-checks" ]; then
    printf '\nskipped on this machine:\n'
    sed 's/^/   /' "$LOGS/skipped-checks" "$HEARTH_SKIP_LOG"
  fi
  if [ ${#failures[@]} != 0 ]; then
    printf '\nfailed:\n'
    printf '   %s\n' "${failures[@]}"
  fi
  printf '\n%s passed, %s failed, %s skipped\n' "$passed" "$failed" "$skipped" | tee "$LOGS/summary"
  [ "$failed" = 0 ]
}

# What a check may last: as long as any, and no longer than all together (HEARTH_TEST_LIMIT_S, where something ends the run in silence after it).
limit_s() {
  local left=$STEP_LIMIT_S
  if [ -n "${HEARTH_TEST_LIMIT_S:-}" ]; then left=$((HEARTH_TEST_LIMIT_S - SECONDS)); fi
  # Not 0, which is none.
  if [ "$left" -lt 1 ]; then left=1; fi
  printf '%s\n' $((left < STEP_LIMIT_S ? left : STEP_LIMIT_S))
}

# check NAME TITLE CMD...: runs it with its output shown and kept; counts its tests if it has any, and itself.
check() {
  local name=$1 title=$2 log=$LOGS/$1.log begun=$SECONDS code=0 limit
  limit=$(limit_s)
  shift 2
  reached=$((reached + 1))
  printf '\n==> [%s/%s] %s\n' "$reached" "${#PLAN[@]}" "$title"
  # With its own session timeout(1) ends grandchildren too. What a check left behind may hold its output open for ever: whoever reads it is
  # not waited for longer than it takes to read what is there.
  local out reader left=50
  exec {out}> >(exec tee "$log")
  reader=$!
  set +e
  timeout --kill-after=10 "$limit" "$@" </dev/null >&"$out" 2>&1
  code=$?
  set -e
  exec {out}>&-
  while kill -0 "$reader" 2>/dev/null; do
    left=$((left - 1))
    if [ "$left" = 0 ]; then
      kill "$reader" 2>/dev/null || true
      printf 'a program that it started is still there, and holds its output\n'
      break
    fi
    sleep 0.1
  done
  count_tests "$log"
  case " $WITH_TESTS " in
    *" $name "*)
      if [ "$code" = 0 ] && ! grep -q '^test result: .* [1-9][0-9]* passed' "$log"; then
        printf 'not one test ran\n' | tee -a "$log"
        code=1
      fi
      ;;
  esac
  if [ "$code" = 0 ]; then
    passed=$((passed + 1))
    printf '    ok: %s (%s s)\n' "$name" "$((SECONDS - begun))"
    return 0
  fi
  [ "$code" != 124 ] || printf 'no end after %s s\n' "$limit" | tee -a "$log"
  failed=$((failed + 1))
  failures+=("$name: $title (log: ${LOGS#"$ROOT"/}/$name.log)")
  printf '    FAILED: %s (%s s)\n' "$name" "$((SECONDS - begun))"
  return 1
}

# libtest's own lines: "test result: ok. 12 passed; 0 failed; 1 ignored; ..."
count_tests() {
  local p f i
  read -r p f i < <(awk '/^test result:/ {for (n = 1; n < NF; n++) {if ($(n+1) ~ /^passed/) p += $n; if ($(n+1) ~ /^failed/) f += $n; if ($(n+1) ~ /^ignored/) i += $n}}
    END {print p + 0, f + 0, i + 0}' "$1")
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + i))
  if [ "$f" != 0 ]; then
    local name
    while read -r name; do failures+=("   test $name"); done < <(awk '/^test .* \.\.\. FAILED$/ {print $2}' "$1")
  fi
}

skip() {
  reached=$((reached + 1))
  printf '\n==> [%s/%s] %s: SKIPPED: %s\n' "$reached" "${#PLAN[@]}" "$1" "$2"
  printf 'check %s: %s\n' "$1" "$2" >>"$LOGS/skipped-checks"
  skipped=$((skipped + 1))
}
