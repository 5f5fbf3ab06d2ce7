#!/usr/bin/env bash
# Loses power on purpose and checks the journal: builds the probe, makes the kernel if it is missing, runs tests/powerloss/powerloss.py.
# POWERLOSS_ROUNDS (4; each checks up to 16 images, the run ends with a failure when there were fewer than 30), POWERLOSS_SEED (from the clock).
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cd "$ROOT"
export CARGO_TARGET_DIR=$ROOT/target
[ "$(id -u)" = 0 ] || fail 'powerloss: it mounts the images, so it needs root'
step 'powerloss: tools' 'make setup'
install_packages qemu-system-x86 busybox-static cpio python3 e2fsprogs
scripts/images/debian-kernel.sh
step 'powerloss: the probe' 'cargo build -p hearth-storage --example powerloss_probe --target x86_64-unknown-linux-musl'
cargo build --locked -p hearth-storage --example powerloss_probe --target x86_64-unknown-linux-musl
step 'powerloss: lose power' 'the lines above name the image and what is lost in it'
POWERLOSS_KERNEL=$IMAGES/debian-kernel tests/powerloss/powerloss.py journal "${POWERLOSS_ROUNDS:-4}" "${POWERLOSS_SEED:-$(date +%s)}" 30
