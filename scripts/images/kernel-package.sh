# The distribution's own kernel package, downloaded and unpacked, not installed. Source it after lib.sh; what is made of the kernel is said by
# the script that sources it.
# What is set here is used by the scripts that source this.
# shellcheck shell=bash disable=SC2034

# The package that the meta package stands for today. Ubuntu has no cloud flavour by this name, its `virtual` one is the like.
kernel_package() {
  local meta
  for meta in linux-image-cloud-amd64 linux-image-virtual; do
    apt-cache depends --no-recommends --no-suggests "$meta" 2>/dev/null |
      sed -n 's/^ *|\{0,1\}Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1 | grep . && return 0
  done
  return 0
}

# unpack_kernel WHO: into $SCRATCH/tree, with its modules. Sets KERNEL_RELEASE and KERNEL_DEB (the package's file name). The caller has made the
# scratch folder; WHO begins the names of the steps.
unpack_kernel() {
  local who=$1 package deb
  package=$(kernel_package)
  if [ -z "$package" ]; then
    apt_update_once
    package=$(kernel_package)
  fi
  [ -n "$package" ] || fail "$who: neither linux-image-cloud-amd64 nor linux-image-virtual is in the package index"
  step "$who: download $package" 'check the network, then apt-get update'
  # The index may name a version that the archive has replaced since.
  if ! deb=$(download_package "$package" "$SCRATCH/debs") || [ -z "$deb" ]; then
    rm -f "$ROOT/build/.apt-updated"
    apt_update_once
    package=$(kernel_package)
    deb=$(download_package "$package" "$SCRATCH/debs")
  fi
  step "$who: unpack $(basename "$deb")" "free space in ${TMPDIR:-/tmp}, or set TMPDIR"
  quietly dpkg -x "$deb" "$SCRATCH/tree"
  KERNEL_DEB=$(basename "$deb")
  KERNEL_RELEASE=${package#linux-image-}
  KERNEL_RELEASE=${KERNEL_RELEASE#unsigned-}
  # Debian keeps the modules in the same package, Ubuntu in one of their own.
  if [ ! -d "$SCRATCH/tree/lib/modules/$KERNEL_RELEASE" ] && [ ! -d "$SCRATCH/tree/usr/lib/modules/$KERNEL_RELEASE" ]; then
    step "$who: download linux-modules-$KERNEL_RELEASE" 'check the network, then apt-get update'
    deb=$(download_package "linux-modules-$KERNEL_RELEASE" "$SCRATCH/debs")
    quietly dpkg -x "$deb" "$SCRATCH/tree"
  fi
  # depmod and modprobe look under lib/modules only.
  if [ ! -e "$SCRATCH/tree/lib" ]; then ln -s usr/lib "$SCRATCH/tree/lib"; fi
}

# plain_module FILE OUT: the loaders in initramfs archives take plain .ko files; newer distributions pack them.
plain_module() {
  case $1 in
    *.ko) cp "$1" "$2" ;;
    *.ko.xz) xz -dcf "$1" >"$2" ;;
    *.ko.zst) zstd -dcqf "$1" >"$2" ;;
    *.ko.gz) gzip -dcf "$1" >"$2" ;;
    *) fail "a module of an unknown kind: $1" ;;
  esac
}

# stage_modules STAGE MODULE...: STAGE/modules/order (one file name a line, in the order to load) and STAGE/modules/*.ko, out of $SCRATCH/tree.
stage_modules() {
  local stage=$1 tree=$SCRATCH/tree module line path name
  shift
  mkdir -p "$stage/modules"
  : >"$stage/modules/order"
  depmod -b "$tree" "$KERNEL_RELEASE"
  for module in "$@"; do
    # A name that this kernel does not have at all (renamed, or not built) is left out, aloud.
    if ! modprobe -d "$tree" -S "$KERNEL_RELEASE" --show-depends "$module" >"$SCRATCH/depends" 2>/dev/null; then
      say "this kernel has no module $module"
      continue
    fi
    while IFS= read -r line; do
      # `insmod FILE [OPTION...]`, in which a folder of FILE may have blanks.
      [[ $line =~ ^insmod\ (.*\.ko(\.[a-z]+)?)(\ |$) ]] || continue
      path=${BASH_REMATCH[1]}
      name=$(basename "$path")
      name=${name%%.ko*}.ko
      [ -e "$stage/modules/$name" ] && continue
      plain_module "$path" "$stage/modules/$name"
      printf '%s\n' "$name" >>"$stage/modules/order"
    done <"$SCRATCH/depends"
  done
}
