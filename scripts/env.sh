# What is built in this clone, and where its builds and tests find it, whatever the caller's environment says. Source it after lib.sh.
# shellcheck shell=bash

# One place for what is built: target/release/hearth is promised.
export CARGO_TARGET_DIR=$ROOT/target
# What the binary carries: the guest agent and the console.
export HEARTH_EMBED_DIR=$ROOT/target/embed
export HEARTH_BIN=$ROOT/target/release/hearth
export HEARTH_AGENT=$HEARTH_EMBED_DIR/hearth-agent
export HEARTH_IMAGES=$IMAGES
