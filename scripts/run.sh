#!/usr/bin/env bash
# Starts hearth in the foreground with ./data and the demo VM. hearth itself prints the console's address and the token's file.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cd "$ROOT"
step 'run: hearth up --data-dir ./data --demo (Ctrl-C stops it; guests go on until hearth down)' "target/release/hearth doctor says what this machine lacks"
command=(target/release/hearth up --data-dir ./data --demo)
[ -z "${HEARTH_LISTEN:-}" ] || command+=(--listen "$HEARTH_LISTEN")
# Bridges, TAP devices and nftables are root's.
if [ "$(id -u)" = 0 ]; then exec "${command[@]}"; fi
command -v sudo >/dev/null || fail 'run: hearth makes bridges and TAP devices: run as root, or install sudo'
exec sudo --preserve-env=HEARTH_FIRECRACKER,HEARTH_JAILER,HEARTH_IMAGES,HEARTH_LOG,HEARTH_LOG_FORMAT "${command[@]}"
