#!/usr/bin/env bash
# Asks a server everything that its OpenAPI document allows, and much that it does not (schemathesis), and holds each answer to the document:
# no 500, no status, content type, header or body that is not in it. `api-fuzz.sh [HEARTH]`: the binary, target/release/hearth by itself.
# API_FUZZ_SEED repeats a run, API_FUZZ_EXAMPLES (25) is how many requests are drawn for each operation besides the systematic ones.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cd "$ROOT"
HEARTH=${1:-$ROOT/target/release/hearth}
SEED=${API_FUZZ_SEED:-$RANDOM$RANDOM}
EXAMPLES=${API_FUZZ_EXAMPLES:-25}
SCHEMATHESIS=$HEARTH_TOOLS/schemathesis/bin/schemathesis
# Recovery of an empty directory takes less than a second.
READY_S=30

if [ ! -x "$SCHEMATHESIS" ]; then
  printf "api-fuzz: SKIPPED: schemathesis is not installed: run 'make setup-test'\n"
  if [ -n "${HEARTH_SKIP_LOG:-}" ]; then printf 'api-fuzz: schemathesis is not installed\n' >>"$HEARTH_SKIP_LOG"; fi
  exit 0
fi
[ -x "$HEARTH" ] || fail "api-fuzz: $HEARTH is not there: run 'make build'"

scratch
step 'api-fuzz: a server without guests' "read the server's log above"
export HEARTH_STOCK=$SCRATCH/stock
mkdir -p "$HEARTH_STOCK"
# What the store takes for a kernel and for a root file system of eight blocks; nothing boots here.
printf '\177ELF and more' >"$HEARTH_STOCK/vmlinux"
truncate -s 8192 "$HEARTH_STOCK/rootfs.ext4"
printf '\010' | dd of="$HEARTH_STOCK/rootfs.ext4" bs=1 seek=1028 conv=notrunc status=none
printf '\123\357' | dd of="$HEARTH_STOCK/rootfs.ext4" bs=1 seek=1080 conv=notrunc status=none
PORT=${API_FUZZ_PORT:-18089}
export HEARTH_URL=http://127.0.0.1:$PORT
"$HEARTH" up --vmm simulated --no-network --data-dir "$SCRATCH/data" --listen "127.0.0.1:$PORT" >"$SCRATCH/log" 2>&1 &
SERVER=$!
# The folder goes with the server, whatever happened.
trap 'kill "$SERVER" 2>/dev/null; wait "$SERVER" 2>/dev/null; rm -rf -- "$SCRATCH"' EXIT
until grep -q "$HEARTH_URL" "$SCRATCH/log" 2>/dev/null; do
  kill -0 "$SERVER" 2>/dev/null || { cat "$SCRATCH/log"; fail 'api-fuzz: the server ended'; }
  [ "$SECONDS" -lt "$READY_S" ] || { cat "$SCRATCH/log"; fail "api-fuzz: the server was not ready within $READY_S s"; }
  sleep 0.1
done
HEARTH_TOKEN=$(cat "$SCRATCH/data/admin.token")
export HEARTH_TOKEN

step "api-fuzz: every operation (seed $SEED)" "API_FUZZ_SEED=$SEED scripts/api-fuzz.sh; schemathesis prints a curl command for each finding"
# The document from the server itself. Down is left out: it would be obeyed.
code=0
# From the scratch folder: it leaves notes of its own where it runs.
cd "$SCRATCH"
SCHEMATHESIS_HOOKS=$ROOT/tests/api/hooks.py PYTHONDONTWRITEBYTECODE=1 "$SCHEMATHESIS" \
  --config-file "$ROOT/tests/api/schemathesis.toml" --no-color run "$HEARTH_URL/openapi.json" \
  --header "Authorization: Bearer $HEARTH_TOKEN" --exclude-path /v1/node/down \
  --phases coverage,fuzzing,stateful --max-examples "$EXAMPLES" --seed "$SEED" --generation-database none --warnings off || code=$?

# A run that reached nothing would find nothing: each operation must have succeeded, or been refused by what it asks of what is there.
curl -s -H "Authorization: Bearer $HEARTH_TOKEN" "$HEARTH_URL/metrics" | awk -v "$(printf 'least=%s' "${API_FUZZ_LEAST:-20}")" '
  /^hearth_http_request_duration_seconds_count/ {
    match($0, /method="[^"]*"/); method = substr($0, RSTART + 8, RLENGTH - 9)
    match($0, /route="[^"]*"/); route = substr($0, RSTART + 7, RLENGTH - 8)
    match($0, /status="[^"]*"/); status = substr($0, RSTART + 8, RLENGTH - 9)
    if (route ~ /^\/v1\// && method != "OTHER") { all[method " " route] += $2; by[status] += $2; if (status < 300) good[method " " route] += $2 }
  }
  END {
    for (status in by) printf "   %s: %s answers\n", status, by[status]
    for (one in all) total++
    for (one in good) reached++
    printf "   %s operations and other methods were asked, %s have succeeded\n", total, reached
    exit reached < least
  }' || { printf 'api-fuzz: too few operations have succeeded: the stock is not found any more\n'; code=1; }

# What no answer shows: a handler that panicked was answered 500, an actor that died was started again.
if grep -E 'panicked|"level":"ERROR"| ERROR ' "$SCRATCH/log"; then
  printf 'api-fuzz: the lines above are of the server\n'
  code=1
fi
kill -0 "$SERVER" 2>/dev/null || { tail -n 20 "$SCRATCH/log"; code=1; }
trap - ERR
printf 'api-fuzz: %s (seed %s)\n' "$([ "$code" = 0 ] && printf 'nothing outside of the document' || printf 'FINDINGS')" "$SEED"
exit "$code"
