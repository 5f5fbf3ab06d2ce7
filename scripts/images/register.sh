#!/usr/bin/env bash
# Gives an image that was just made to the hearth that is running, if one is: `register.sh NAME KIND PATH [FLAG...]`. Without one, the next
# `make run` takes it from build/images/images.json.
# shellcheck source=../lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

NAME=$1 KIND=$2 FILE=$3
shift 3
HEARTH=${HEARTH_BIN:-$ROOT/target/release/hearth}
URL=${HEARTH_URL:-http://127.0.0.1:18080}
# A live server answers in milliseconds.
PROBE_LIMIT_S=3

# `host ls` asks the server over the same address and with the same token as the registration will. The CLI reads DIR/admin.token itself;
# the token of the `make run` of this clone is in ./data.
if [ -z "${HEARTH_TOKEN:-}" ] && [ -r "$ROOT/data/admin.token" ]; then
  HEARTH_TOKEN=$(cat "$ROOT/data/admin.token")
  export HEARTH_TOKEN
fi
if [ ! -x "$HEARTH" ]; then
  say "there is no $HEARTH to ask a server with: the next 'make run' picks $NAME up"
  exit 0
fi
code=0
answer=$(HEARTH_URL=$URL timeout "$PROBE_LIMIT_S" "$HEARTH" host ls 2>&1 >/dev/null) || code=$?
case $code,$answer in
  0,*) ;;
  124,*)
    say "nobody at $URL has answered within $PROBE_LIMIT_S s${HEARTH_URL:+ (HEARTH_URL)}: the next 'make run' picks $NAME up"
    exit 0
    ;;
  *'cannot reach hearth'*)
    say "nobody is at $URL${HEARTH_URL:+ (HEARTH_URL)}: the next 'make run' picks $NAME up"
    exit 0
    ;;
  *)
    # It is there, and did not take it: a wrong token, for one.
    printf '%s\n' "$answer" | sed 's/^/   /'
    say "so $NAME is not registered with the hearth at $URL: hearth image create $NAME --kind $KIND --path $FILE $*"
    exit 0
    ;;
esac
step "images: register $NAME with the hearth at $URL" "hearth image ls; an image of that name that VMs use is not replaced"
if HEARTH_URL=$URL "$HEARTH" image get "$NAME" >/dev/null 2>&1; then
  say "an image named $NAME is registered already: remove it first to replace it (hearth image rm $NAME)"
  exit 0
fi
HEARTH_URL=$URL "$HEARTH" image create "$NAME" --kind "$KIND" --path "$FILE" "$@"
