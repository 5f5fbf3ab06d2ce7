#!/usr/bin/env bash
# Debian's cloud image, made if it is not there, booted as its users boot it, counted as `make test` counts; what `make test-cloud-image` is. Needs
# the Debian archive once, root, and some ten minutes where guests are emulated.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cd "$ROOT"
# shellcheck source=env.sh
. "$ROOT/scripts/env.sh"
export CARGO_TERM_COLOR=never
# Not those of `make test`: either may run while the other's are read.
LOGS=$ROOT/target/cloud-image-logs
export HEARTH_SKIP_LOG=$LOGS/skipped
# The suites together wait for an hour's worth of emulated boots at most, one after the other.
STEP_LIMIT_S=${HEARTH_STEP_LIMIT_S:-3600}
# The image is for the tests alone: a hearth of yours that runs is not given it. Nobody is at this address, as register.sh then says.
NOBODY=http://127.0.0.1:9
PLAN=(build image cloud-image)
WITH_TESTS=cloud-image
# shellcheck source=checks.sh
. "$ROOT/scripts/checks.sh"

suites() {
  cargo test --locked --workspace --no-run --test cloud_image --test cloud_disk &&
    scripts/in-netns.sh cargo test --offline --locked --workspace --test cloud_image --test cloud_disk --no-fail-fast -- --test-threads=1
}
export -f suites

check build 'set-up, and build of everything (release)' bash -c 'scripts/space.sh cloud-image && scripts/setup.sh && scripts/packages.sh cloud-image && scripts/build.sh' || true
# Without an image the suites say SKIPPED, and why; that it could not be made has been counted as a failure then.
check image "the root file system of Debian's cloud image" env HEARTH_URL="$NOBODY" scripts/images/debian-cloud.sh || true
check cloud-image 'a cloud image, configured by cloud-init and reached by ssh' bash -c suites || true
if [ "$(id -u)" != 0 ] && [ -d target ]; then as_root chown -R "$(id -u):$(id -g)" target; fi
trap - ERR
summary
