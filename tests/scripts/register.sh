# scripts/images/register.sh: who is asked, and what is said when the image could not be given to a server.
# shellcheck shell=bash disable=SC2153

register() {
  : >"$WORK/file"
  ran env HEARTH_BIN="$WORK/bin/hearth" HEARTH_TOKEN=x HEARTH_URL="${1:-}" scripts/images/register.sh mine rootfs "$WORK/file"
}

test_who_does_not_answer_is_told_from_who_refuses() {
  register http://127.0.0.1:9
  same 'exit code without a program' "$CODE" 0
  says 'without a program' "$SAID" "there is no $WORK/bin/hearth to ask a server with: the next 'make run' picks mine up"
  stub hearth <<'HEARTH'
printf 'error: cannot reach hearth at %s: connection refused\nhint: start it\n' "$HEARTH_URL" >&2
exit 1
HEARTH
  register http://127.0.0.1:9
  same 'exit code with nobody there' "$CODE" 0
  same 'with nobody there' "$SAID" "   nobody is at http://127.0.0.1:9 (HEARTH_URL): the next 'make run' picks mine up"
  register
  same 'with nobody at the usual place' "$SAID" "   nobody is at http://127.0.0.1:18080: the next 'make run' picks mine up"
  stub hearth <<'HEARTH'
printf 'error: the token is not known\n' >&2
exit 1
HEARTH
  register http://127.0.0.1:18080
  same 'exit code with one that refuses' "$CODE" 0
  says 'one that refuses' "$SAID" 'error: the token is not known'
  says 'one that refuses' "$SAID" "so mine is not registered with the hearth at http://127.0.0.1:18080: hearth image create mine --kind rootfs --path $WORK/file"
}
