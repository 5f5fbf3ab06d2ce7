# Images that scripts make: what they leave when they are not root, and that two runs do not meet.
# shellcheck shell=bash disable=SC2153

# Somebody who is not root, with a sudo that is.
stub_somebody() {
  stub id <<'ID'
printf '1000\n'
ID
  stub sudo <<'SUDO'
IN_SUDO=1 exec "$@"
SUDO
  stub rm <<'RM'
[ -n "${IN_SUDO:-}" ] || { printf 'rm: Permission denied\n' >&2; exit 1; }
exec /bin/rm "$@"
RM
}

test_what_root_made_for_somebody_else_goes_away_with_the_script() {
  stub_somebody
  # shellcheck disable=SC2016
  printf '. "%s/scripts/lib.sh"\nscratch\nmkdir -p "$SCRATCH/tree/etc"\nprintf "%%s\\n" "$SCRATCH"\nfalse\n' "$ROOT" >"$WORK/script.sh"
  ran bash "$WORK/script.sh"
  same 'exit code' "$CODE" 1
  says 'its failure' "$SAID" 'FAILED at step'
  [ ! -e "${SAID%%$'\n'*}" ] || printf 'it left %s\n' "${SAID%%$'\n'*}"
}

test_two_runs_do_not_make_images_at_once() {
  local script
  mkdir -p "$HEARTH_CACHE"
  stub flock <<'FLOCK'
[ "$1" != -n ] || exit 1
printf 'waited\n'
exit 3
FLOCK
  : >"$WORK/file"
  for script in debian.sh debian-cloud.sh "from-cloud-image.sh $WORK/file name"; do
    # shellcheck disable=SC2086
    ran scripts/images/$script
    same "exit code of $script" "$CODE" 3
    says "$script" "$SAID" 'another run is making images: waiting for it'
  done
}
