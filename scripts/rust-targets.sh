#!/usr/bin/env bash
# Makes the two extra targets compile: wasm32-unknown-unknown (the web console) and x86_64-unknown-linux-musl (the static guest agent).
# By rustup where that can fetch them; otherwise the console by Debian's rustc-web with a standard library built here, and the agent static
# against glibc. What was chosen is written to $HEARTH_TOOLS/targets.env, which the build reads.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

WASM=wasm32-unknown-unknown
MUSL=x86_64-unknown-linux-musl
ENV_FILE=$HEARTH_TOOLS/targets.env
# A fetch that gets no answer must not hold up the whole set-up: the fallback is there.
RUSTUP_LIMIT_S=180

has_target() {
  local dir
  dir=$(rustc --print sysroot)/lib/rustlib/$1/lib
  [ -n "$(find "$dir" -maxdepth 1 -name 'libstd-*.rlib' 2>/dev/null | head -n 1)" ]
}

by_rustup() {
  command -v rustup >/dev/null || return 1
  say "rustup target add $1"
  timeout "$RUSTUP_LIMIT_S" rustup target add "$1" >"$HEARTH_TOOLS/rustup.log" 2>&1 && has_target "$1"
}

# Debian's compiler has the target's back end but no standard library for it: build that once from its own source. RUSTC_BOOTSTRAP lets the
# stable compiler take -Zbuild-std; bitcode must be embedded, or a console with lto fails to link. Found to work with 1.96.
wasm_by_debian() {
  local lib=/usr/lib/rustlib/$WASM/lib version lld
  install_packages rustc-web cargo-web rust-web-src rust-web-llvm
  # /usr/bin/rust-lld of rust-web-llvm points into an lld package that it does not depend on.
  lld=$(readlink /usr/bin/rust-lld | grep -o 'llvm-[0-9]*\|lld-[0-9]*' | head -n 1 | sed 's/llvm/lld/' || true)
  [ -e /usr/bin/rust-lld ] || install_packages "${lld:-lld-22}"
  version=$(/usr/bin/rustc --version)
  if [ "$(cat "$lib/.built-with" 2>/dev/null)" != "$version" ]; then
    scratch
    mkdir "$SCRATCH/src"
    printf '[package]\nname="stdbuild"\nversion="0.0.0"\nedition="2021"\n[lib]\npath="src/lib.rs"\n[profile.release]\npanic="abort"\nopt-level="s"\ncodegen-units=1\n[workspace]\n' >"$SCRATCH/Cargo.toml"
    printf '#![no_std]\n' >"$SCRATCH/src/lib.rs"
    (
      cd "$SCRATCH"
      env -u RUSTUP_TOOLCHAIN PATH=/usr/bin:/bin RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc RUSTFLAGS=-Cembed-bitcode=yes CARGO_HOME="${CARGO_HOME:-$HOME/.cargo}" \
        /usr/bin/cargo build --release --target "$WASM" -Zbuild-std=std,panic_abort --target-dir "$SCRATCH/target"
    )
    rm -f "$SCRATCH/target/$WASM/release/deps"/libstdbuild-*
    as_root mkdir -p "$lib"
    as_root find "$lib" -maxdepth 1 -name 'lib*.rlib' -delete
    as_root cp "$SCRATCH/target/$WASM/release/deps"/lib*.rlib "$lib/"
    printf '%s\n' "$version" | as_root tee "$lib/.built-with" >/dev/null
    # What was compiled against the old standard library no longer links.
    rm -rf -- "$ROOT/target/$WASM" "$ROOT/web-yew/target"
  fi
}

step "set-up: the folder for tools, $HEARTH_TOOLS" 'let HEARTH_TOOLS name a folder that can be written'
mkdir -p "$HEARTH_TOOLS"
step "set-up: Rust target $WASM" "rustup target add $WASM, or on Debian: apt-get install rustc-web cargo-web rust-web-src"
wasm_path=''
if has_target "$WASM"; then
  say 'there'
elif by_rustup "$WASM"; then
  say 'added'
else
  say "rustup cannot give it here; taking Debian's compiler for the console"
  wasm_by_debian
  wasm_path=/usr/bin
fi

step "set-up: Rust target $MUSL" "rustup target add $MUSL"
agent_target=$MUSL
if has_target "$MUSL"; then
  say 'there'
elif by_rustup "$MUSL"; then
  say 'added'
else
  # Twice the size (1.5 MB), but static all the same; the agent looks up no names, which is where static glibc is weak.
  agent_target=x86_64-unknown-linux-gnu
  say "rustup cannot give it here; the agent will be static against glibc ($agent_target)"
fi

{
  printf '# written by scripts/rust-targets.sh\n'
  printf 'AGENT_TARGET=%s\n' "$agent_target"
  # A folder with the cargo and rustc that know wasm32; empty: those in PATH.
  printf 'WASM_TOOLCHAIN_PATH=%s\n' "$wasm_path"
} >"$ENV_FILE.part"
mv "$ENV_FILE.part" "$ENV_FILE"
