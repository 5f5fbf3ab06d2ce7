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
if [ ! -x "$HEARTH" ] || ! HEARTH_URL=$URL timeout "$PROBE_LIMIT_S" "$HEARTH" host ls >/dev/null 2>&1; then
  say "no hearth answers at $URL: the next 'make run' picks $NAME up"
  exit 0
fi
step "images: register $NAME with the hearth at $URL" "hearth image ls; an image of that name that VMs use is not replaced"
if HEARTH_URL=$URL "$HEARTH" image get "$NAME" >/dev/null 2>&1; then
  say "an image named $NAME is registered already: remove it first to replace it (hearth image rm $NAME)"
  exit 0
fi
HEARTH_URL=$URL "$HEARTH" image create "$NAME" --kind "$KIND" --path "$FILE" "$@"
