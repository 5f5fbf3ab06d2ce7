#!/usr/bin/env bash
# The compiler as fuzz.sh has it (RUSTC_WRAPPER): hearth's own crates get the flags in FUZZ_FLAGS, all else is compiled as ever, so that it is
# what the tests have compiled already. cargo does not know of these flags: fuzz/Cargo.toml gives the same crates a profile that no other build has.
set -eu
case "${CARGO_PKG_NAME:-} $*" in
  # A build script runs here and now, without a fuzzer.
  *'--crate-name build_script_'*) ;;
  hearth-*)
    # Most of a server is never called by a parser's fuzzer; with the hint, which the stable compiler takes for RUSTC_BOOTSTRAP only, the programs
    # compile what they call, and the libraries nothing. The flags are words.
    # shellcheck disable=SC2086
    RUSTC_BOOTSTRAP=1 exec "$@" -Zhint-mostly-unused $FUZZ_FLAGS
    ;;
esac
exec "$@"
