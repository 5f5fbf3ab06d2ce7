# scripts/packages.sh: what is installed for which tests.
# shellcheck shell=bash disable=SC2153

test_what_tests_of_disks_and_ssh_run_is_installed_for_them() {
  local what
  clone_of_scripts "$WORK/clone"
  # All is there but the named three.
  stub dpkg-query <<'DPKG'
case ${*: -1} in qemu-utils | fdisk | openssh-client) exit 1 ;; esac
printf 'install ok installed'
DPKG
  stub apt-get <<'APT'
printf 'apt-get %s\n' "$*"
APT
  stub apt-cache <<'APT'
APT
  # A browser is no concern of these.
  stub chromium </dev/null
  stub chromedriver </dev/null
  for what in test cloud-image; do
    ran "$WORK/clone/scripts/packages.sh" "$what"
    same "exit code of $what" "$CODE" 0
    says "$what" "$SAID" ' qemu-utils fdisk openssh-client'
    says "$what" "$SAID" 'apt-get -q '
  done
  ran "$WORK/clone/scripts/packages.sh"
  same 'exit code of set-up alone' "$CODE" 0
  says_not 'set-up alone' "$SAID" fdisk
}
