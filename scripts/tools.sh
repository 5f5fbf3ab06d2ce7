#!/usr/bin/env bash
# Puts the tools that build the web console into $HEARTH_TOOLS: trunk, wasm-bindgen, wasm-opt and esbuild, each at the version that is known to work;
# `tools.sh test`: also schemathesis, which the tests ask the API with.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# 0.22 wants rustc 1.96.1.
TRUNK=0.21.14
# Must equal the version of wasm-bindgen in web-yew/Cargo.lock: the two speak a private format.
WASM_BINDGEN=0.2.130
# Debian 12's wasm-opt (108) builds a module that no browser starts; the one from npm is current.
BINARYEN=132.0.0
# trunk's own minifier (minify-js) fails on what wasm-bindgen writes.
ESBUILD=0.28.2
BIN=$HEARTH_TOOLS/bin
# The tools work for seconds and compile for minutes: little optimisation, no link-time optimisation, many units.
export CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0
# One folder for both: they share most of their dependencies.
export CARGO_TARGET_DIR=$HEARTH_TOOLS/build

have() { [ "$("$BIN/$1" --version 2>/dev/null | awk '{print $2}')" = "$2" ]; }

mkdir -p "$BIN"
one_at_a_time tools

step "set-up: wasm-bindgen $WASM_BINDGEN" 'remove the folder build of the tool cache and try again; needs the crates.io registry'
if have wasm-bindgen "$WASM_BINDGEN"; then
  say 'there'
else
  say 'compiling it, once for every clone on this machine (2 to 4 minutes)'
  # Without --locked: its lock file names a version that has been withdrawn. Without its features, and trunk without its own: TLS, which it would
  # fetch a web driver with, and look for newer versions of itself, is half of what there is to compile.
  cargo install wasm-bindgen-cli --version "$WASM_BINDGEN" --no-default-features --bin wasm-bindgen --root "$HEARTH_TOOLS" --force
fi

step "set-up: trunk $TRUNK" 'remove the folder build of the tool cache and try again; needs the crates.io registry'
if have trunk "$TRUNK"; then
  say 'there'
else
  say 'compiling it, once for every clone on this machine (3 to 8 minutes)'
  cargo install --locked trunk --version "$TRUNK" --no-default-features --root "$HEARTH_TOOLS" --force
fi

step "set-up: wasm-opt (binaryen $BINARYEN) and esbuild $ESBUILD" 'install Node.js 18 or newer with npm; needs the npm registry'
if [ -x "$HEARTH_TOOLS/node_modules/.bin/wasm-opt" ] && [ "$("$HEARTH_TOOLS/node_modules/.bin/esbuild" --version 2>/dev/null)" = "$ESBUILD" ]; then
  say 'there'
else
  command -v npm >/dev/null || install_packages nodejs npm
  npm install --prefix "$HEARTH_TOOLS" --no-fund --no-audit --loglevel=error "binaryen@$BINARYEN" "esbuild@$ESBUILD"
fi
"$HEARTH_TOOLS/node_modules/.bin/wasm-opt" --version >/dev/null

# The stamp is the list itself: another list is another environment.
if [ "${1:-}" = test ]; then
  SCHEMATHESIS=$HEARTH_TOOLS/schemathesis
  step 'set-up: schemathesis' 'remove the folder schemathesis of the tool cache and try again; needs the PyPI registry'
  if cmp -s "$ROOT/scripts/schemathesis.txt" "$SCHEMATHESIS/requirements.txt"; then
    say 'there'
  else
    say 'installing it, once for every clone on this machine (half a minute)'
    rm -rf -- "$SCHEMATHESIS"
    python3 -m venv "$SCHEMATHESIS"
    "$SCHEMATHESIS/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$ROOT/scripts/schemathesis.txt"
    cp "$ROOT/scripts/schemathesis.txt" "$SCHEMATHESIS/requirements.txt"
  fi
fi

# A gigabyte that nobody needs once the tools are there.
rm -rf -- "$HEARTH_TOOLS/build"
