#!/usr/bin/env bash
# Installs the distribution's packages that hearth needs and that are missing: `packages.sh [test|cloud-image]`, with what those tests need
# besides. Only names of packages live here.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# To build: a C compiler for the crates with C in them. To run: the VMM for machines without KVM, and what the network and disks are made with.
BASE='build-essential pkg-config ca-certificates qemu-system-x86 busybox-static nftables iproute2 e2fsprogs cpio lz4 xz-utils zstd kmod brotli
  util-linux'
# The browser tests drive a real browser, through its driver.
BROWSER='chromium chromium-driver'
# Disks as distributions make them, and a way into guests as users have it.
DISKS='qemu-utils fdisk openssh-client'

step 'set-up: this machine' 'hearth runs on Debian 12 or Ubuntu 22.04, or newer, on x86_64'
[ "$(uname -s) $(uname -m)" = 'Linux x86_64' ] || fail "set-up: this is $(uname -s) on $(uname -m); hearth runs on Linux, x86_64"
command -v apt-get >/dev/null || fail 'set-up: no apt-get here; hearth sets itself up on Debian 12 or Ubuntu 22.04, or newer'
# util-linux's flock and unshare, dpkg and awk are on every such machine.
command -v cargo >/dev/null || fail 'set-up: no cargo here; install Rust first: https://rustup.rs, or on Debian: apt-get install rustup && rustup default stable'

# Cargo.toml's rust-version; said here at once rather than by cargo after minutes.
RUST=1.95
have=$(rustc --version | awk '{print $2}')
if [ "$(printf '%s\n%s\n' "$RUST" "${have%%-*}" | sort -V | head -n 1)" != "$RUST" ]; then
  fail "set-up: rustc is $have, hearth needs $RUST or newer: rustup update stable (Debian 12's rustc is too old, its rustc-web is not)"
fi

step 'set-up: packages' 'run apt-get update and apt-get install by hand and read what it says'
# shellcheck disable=SC2086
install_packages $BASE

case ${1:-} in
  test | cloud-image)
    step 'set-up: packages for the tests of disks and ssh' 'run apt-get install by hand and read what it says'
    # shellcheck disable=SC2086
    install_packages $DISKS
    ;;
esac

if [ "${1:-}" = test ]; then
  step 'set-up: packages for the tests in a browser' 'run apt-get install by hand and read what it says'
  # Ubuntu's package of this name only points at a snap, which cannot start in a network namespace: there the browser's tests are skipped,
  # and say so.
  if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then
    say 'a browser and its driver are there'
  elif command -v google-chrome >/dev/null; then
    say 'google-chrome is there; the browser tests need chromium and chromedriver in PATH and are skipped without'
  else
    # shellcheck disable=SC2086
    install_packages $BROWSER
  fi
  # Debian keeps what makes a Python environment apart from Python.
  python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3 python3-venv
fi
