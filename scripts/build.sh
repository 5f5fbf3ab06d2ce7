#!/usr/bin/env bash
# Builds all of hearth: the guest agent, the web console, and the one binary that carries both; `build.sh agent`: the guest agent alone.
# The binary takes the two from $HEARTH_EMBED_DIR: `hearth-agent`, and `console/` where each compressible file has a .br and a .gz beside it.
# HEARTH_BUILD=light: the server with little optimisation, in three quarters of the time: for a run of tests, not for users.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cd "$ROOT"
# shellcheck source=env.sh
. "$ROOT/scripts/env.sh"
EMBED=$HEARTH_EMBED_DIR
[ -r "$HEARTH_TOOLS/targets.env" ] || fail "build: the Rust targets are not set up: run 'make setup'"
# shellcheck disable=SC1091
. "$HEARTH_TOOLS/targets.env"

# put FILE DEST: only when it differs, so that cargo sees no change where there is none.
put() {
  cmp -s "$1" "$2" && return 0
  mkdir -p "$(dirname "$2")"
  cp "$1" "$2.part"
  mv "$2.part" "$2"
}

build_agent() {
  step "build: the guest agent, static ($AGENT_TARGET)" 'cd guest && cargo build; the compiler says what is wrong'
  local flags=''
  # musl is static by itself; glibc only when told.
  case $AGENT_TARGET in *-gnu) flags='-C target-feature=+crt-static' ;; esac
  (cd guest && RUSTFLAGS="${RUSTFLAGS:-}$flags" cargo build --release --locked --target "$AGENT_TARGET")
  local agent=$CARGO_TARGET_DIR/$AGENT_TARGET/release/hearth-agent
  if readelf -lW "$agent" | grep -q INTERP; then
    fail 'build: the guest agent is not static: it would not start in an image without our libraries'
  fi
  put "$agent" "$EMBED/hearth-agent"
}

# Everything that the console is made of, as one number. trunk itself always builds anew, which takes a minute.
console_inputs() {
  {
    find web-yew api domain Trunk.toml -type f -not -path '*/target/*' -not -path '*/node_modules/*' -not -path '*/dist/*' -print0 | sort -z | xargs -0 sha256sum
    sha256sum scripts/tools.sh scripts/build.sh
    "${CONSOLE_CARGO:-cargo}" --version
  } | sha256sum | cut -c1-32
}

build_console() {
  step 'build: the web console (WebAssembly)' "'make setup' again; then the compiler says what is wrong"
  local path=$HEARTH_TOOLS/bin:$HEARTH_TOOLS/node_modules/.bin:$PATH inputs
  if [ -n "$WASM_TOOLCHAIN_PATH" ]; then
    path=$WASM_TOOLCHAIN_PATH:$path
    CONSOLE_CARGO=$WASM_TOOLCHAIN_PATH/cargo
  fi
  inputs=$(console_inputs)
  if [ -s target/console/index.html ] && [ -s "$EMBED/console/index.html" ] && [ "$(cat target/console.inputs 2>/dev/null)" = "$inputs" ]; then
    say 'nothing changed since the last build'
    return 0
  fi
  say 'fetching its crates'
  (cd web-yew && PATH=$path cargo fetch --locked --target wasm32-unknown-unknown)
  local crates
  crates=$(find "${CARGO_HOME:-$HOME/.cargo}/registry/src" -mindepth 1 -maxdepth 1 -type d | head -n 1)/
  # trunk takes wasm-bindgen and wasm-opt from PATH and must not look for newer ones. NO_COLOR=1, as some machines set it, is no value it knows.
  # Paths of panics as short as they can be: they travel to every browser, and tell nobody anything about this machine.
  env -u NO_COLOR PATH="$path" RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$crates= --remap-path-prefix=$ROOT=" trunk build --release --offline --locked
  [ -s target/console/index.html ] || fail 'build: trunk made no target/console/index.html (see Trunk.toml: dist)'
  embed_console
  printf '%s\n' "$inputs" >target/console.inputs
}

# A browser takes brotli, a script gzip: both made once here and not at each request.
embed_console() {
  local new=$ROOT/target/embed.new file
  rm -rf -- "$ROOT/target/embed.new"
  mkdir -p "$new"
  cp -R target/console/. "$new/"
  # What is vendored lies in folders of its own and is minified already.
  for file in "$new"/*.js "$new"/*.css; do
    "$HEARTH_TOOLS/node_modules/.bin/esbuild" --minify --log-level=warning --allow-overwrite --outfile="$file" "$file"
  done
  while IFS= read -r -d '' file; do
    brotli -q 11 -f -o "$file.br" "$file"
    # -n: no time in the header, the same file gives the same bytes.
    gzip -9 -n -k -f "$file"
  done < <(find "$new" -type f \( -name '*.html' -o -name '*.js' -o -name '*.mjs' -o -name '*.css' -o -name '*.wasm' -o -name '*.json' -o -name '*.svg' \
    -o -name '*.txt' -o -name '*.map' -o -name '*.webmanifest' \) -print0)
  mkdir -p "$EMBED"
  rm -rf -- "$ROOT/target/embed/console"
  mv "$new" "$EMBED/console"
  say "$(find "$EMBED/console" -type f | wc -l) files, $(du -sk "$EMBED/console" | cut -f1) KiB with their compressed forms"
}

build_server() {
  step 'build: the binary hearth (release)' 'the compiler says what is wrong'
  local light=()
  case ${HEARTH_BUILD:-} in
    '') ;;
    light) light=(CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16) ;;
    *) fail "build: HEARTH_BUILD is light or nothing, not $HEARTH_BUILD" ;;
  esac
  env "${light[@]}" cargo build --release --locked -p hearth-runtime
  [ -x target/release/hearth ] || fail 'build: cargo made no target/release/hearth'
  say "target/release/hearth: $(stat -c %s target/release/hearth) bytes"
}

mkdir -p "$EMBED"
build_agent
[ "${1:-}" != agent ] || exit 0
build_console
build_server
