# docs/ENVIRONMENT.md: all variables that the code reads, and no other.
# shellcheck shell=bash disable=SC2153

variables() { grep -rhoE '\bHEARTH_[A-Z0-9_]*[A-Z0-9]\b' "$@" | sort -u; }

test_the_list_of_variables_is_whole() {
  local left
  # Not in the CHANGELOG, which tells of those that were.
  left=$(diff <(variables .ci Makefile scripts actors api domain fuzz guest host runtime storage tests web-yew xtask \
    --include=*.rs --include=*.sh --include=*.py --include=Makefile --include=run --include=lab --include=init --include=enter --include=suite --include=turn \
    --exclude-dir=target --exclude-dir=node_modules --exclude-dir=dist) <(variables docs/ENVIRONMENT.md))
  same 'code (<) and document (>)' "$left" ''
}
