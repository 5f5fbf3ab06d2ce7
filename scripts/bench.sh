#!/usr/bin/env bash
# Builds hearth and runs every benchmark there is (CRATE/benches/*.rs), each of which prints its own table. In a network of its own.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cd "$ROOT"
# shellcheck source=env.sh
. "$ROOT/scripts/env.sh"
mapfile -t benches < <(find . -mindepth 3 -maxdepth 3 -path './*/benches/*.rs' -not -path './target/*' | sort)
[ ${#benches[@]} != 0 ] || fail 'bench: there is no benchmark in CRATE/benches/*.rs'
for file in "${benches[@]}"; do
  crate=$(cut -d/ -f2 <<<"$file")
  name=$(basename "$file" .rs)
  step "bench: $crate $name" "cargo bench --manifest-path $crate/Cargo.toml --bench $name"
  cargo bench --locked --manifest-path "$crate/Cargo.toml" --bench "$name" --no-run
  scripts/in-netns.sh cargo bench --offline --manifest-path "$crate/Cargo.toml" --bench "$name"
done
