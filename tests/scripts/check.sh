#!/usr/bin/env bash
# What the scripts decide, tried: `check.sh [NAME...]`, all of NAME.sh beside it when none is named. Says it in libtest's words, so that it is counted
# with the tests. A test is a function named test_*; each line that it prints is something that is not as promised. Builds and installs nothing, and
# reaches nobody; seconds.
# shellcheck source=../../scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"

cd "$ROOT"
HERE=$ROOT/tests/scripts
passed=0 failed=0 left_out=0
scratch
# Nothing of the machine's own, wherever a script looks.
export HEARTH_CACHE=$SCRATCH/cache HEARTH_TOOLS=$SCRATCH/cache/tools HEARTH_IMAGES=$SCRATCH/images TMPDIR=$SCRATCH/tmp HEARTH_URL=http://127.0.0.1:9
mkdir "$TMPDIR"
unset HEARTH_SPACE

# try NAME: in a shell of its own, with an empty folder $WORK.
try() {
  local problems
  WORK=$SCRATCH/$1
  mkdir "$WORK"
  # What a test sets is its own.
  problems=$(trap - ERR; set +eE; "$1" 2>&1) || problems+="${problems:+$'\n'}it ended with $?"
  case $problems in
    '')
      printf 'test scripts::%s ... ok\n' "${1#test_}"
      passed=$((passed + 1))
      ;;
    SKIPPED:*)
      printf 'test scripts::%s ... ignored, %s\n' "${1#test_}" "${problems#SKIPPED: }"
      if [ -n "${HEARTH_SKIP_LOG:-}" ]; then printf 'scripts::%s: %s\n' "${1#test_}" "${problems#SKIPPED: }" >>"$HEARTH_SKIP_LOG"; passed=$((passed + 1)); else left_out=$((left_out + 1)); fi
      ;;
    *)
      printf 'test scripts::%s ... FAILED\n%s\n' "${1#test_}" "$problems"
      failed=$((failed + 1))
      ;;
  esac
}

same() { [ "$2" = "$3" ] || printf '%s: %s, not %s\n' "$1" "$2" "$3"; }

# says WHAT TEXT WORDS: whether WORDS stand in TEXT.
says() { case $2 in *"$3"*) ;; *) printf '%s does not say "%s", but: %s\n' "$1" "$3" "$2" ;; esac; }
says_not() { case $2 in *"$3"*) printf '%s says "%s": %s\n' "$1" "$3" "$2" ;; esac; }

# stub NAME: the standard input is the program of that name, before all others in PATH.
stub() {
  mkdir -p "$WORK/bin"
  { printf '#!/usr/bin/env bash\n'; cat; } >"$WORK/bin/$1"
  chmod +x "$WORK/bin/$1"
  case $PATH in "$WORK/bin":*) ;; *) PATH=$WORK/bin:$PATH ;; esac
}

# ran CMD...: sets CODE and SAID, of which both outputs are part.
ran() {
  # shellcheck disable=SC2034
  CODE=0
  # shellcheck disable=SC2034
  SAID=$("$@" 2>&1) || CODE=$?
}

# clone_of_scripts FOLDER: a clone with nothing but its scripts, for those that write into theirs.
clone_of_scripts() {
  mkdir -p "$1"
  cp -r "$ROOT/scripts" "$ROOT/.ci" "$ROOT/Makefile" "$1/"
}

# with_small_disk MIB FUNCTION: runs it where $DISK is a file system of that size, seen by nobody else.
with_small_disk() {
  local words=(--mount)
  [ "$(id -u)" = 0 ] || words+=(--user --map-root-user)
  export DISK="$WORK/a disk"
  mkdir -p "$DISK"
  if ! unshare "${words[@]}" true 2>/dev/null; then
    printf 'SKIPPED: this machine lets us mount nothing\n'
    return 0
  fi
  export WORK ROOT
  # shellcheck disable=SC2016
  unshare "${words[@]}" bash -c 'mount -t tmpfs -o size="$1"m tmpfs "$DISK" && "$2"' bash "$1" "$2"
}

files=("${@/%/.sh}")
[ $# != 0 ] || mapfile -t files < <(cd "$HERE" && find . -name '*.sh' -not -name check.sh -printf '%P\n' | sort)
for file in "${files[@]}"; do
  # shellcheck disable=SC1090
  . "$HERE/$file"
done
export -f same says says_not ran stub clone_of_scripts
for name in $(compgen -A function test_); do
  # What a test runs in another shell.
  # shellcheck disable=SC2163
  export -f "${name?}"
  try "$name"
done
# The trap would add lines after the last one.
trap - ERR
printf '\ntest result: %s. %s passed; %s failed; %s ignored\n' "$([ "$failed" = 0 ] && printf ok || printf FAILED)" "$passed" "$failed" "$left_out"
[ "$failed" = 0 ]
