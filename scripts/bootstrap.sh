#!/usr/bin/env bash
# Brings what a make target needs: the virtual environment, and Debian packages for real components.
#
#   scripts/bootstrap.sh python   .venv with the locked development set
#   scripts/bootstrap.sh demo     python + what the embedded engine needs
#   scripts/bootstrap.sh test     demo + the engines, registries and readers that the tests start
#
# Does nothing, quickly, when all is there. Packages are installed as root or with sudo, never removed or
# upgraded, and a command that is already on PATH is taken as it is. With CI=true whatever cannot be brought
# is an error; otherwise `test` goes on without it and the tests that need it are skipped with a reason.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
lock=$root/requirements-dev.lock
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# command=package, each looked up by the command
demo_components=(bwrap=bubblewrap mmdebstrap=mmdebstrap newuidmap=uidmap git=git update-ca-certificates=ca-certificates)
test_components=(strace=strace mkfs.ext4=e2fsprogs mkfs.xfs=xfsprogs mkfs.btrfs=btrfs-progs curl=curl ip=iproute2 openssl=openssl
  skopeo=skopeo umoci=umoci runc=runc iptables=iptables dockerd=docker.io docker-registry=docker-registry
  tini-static=tini slirp4netns=slirp4netns qemu-aarch64-static=qemu-user-static busybox=busybox-static)

say() { printf 'bootstrap: %s\n' "$*" >&2; }

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  else
    sudo -n "$@"
  fi
}

can_be_root() { [ "$(id -u)" -eq 0 ] || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }; }

# A package's daemon must not start by itself: the tests start their own, private ones. Debian asks
# policy-rc.d before it starts a service (invoke-rc.d(8)); ours stays only while packages are installed.
install_packages() {
  local policy=/usr/sbin/policy-rc.d added=no status=0
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    added=yes
  fi
  say "installing $*"
  as_root apt-get update -qq || say "the package lists could not be renewed; trying with those that are there"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o DPkg::Lock::Timeout=300 \
    --no-remove --no-upgrade --no-install-recommends "$@" >/dev/null || status=$?
  if [ "$added" = yes ]; then as_root rm -f "$policy"; fi
  return "$status"
}

# need WHY command=package...: the packages of those commands that are absent
need() {
  local why=$1 entry packages=()
  shift
  for entry in "$@"; do
    command -v "${entry%%=*}" >/dev/null || packages+=("${entry#*=}")
  done
  [ "${#packages[@]}" -gt 0 ] || return 0
  if ! command -v apt-get >/dev/null; then
    say "$why needs ${packages[*]} (Debian's names), and this is no Debian; hint: install them with your package manager"
    return 1
  fi
  if ! can_be_root; then
    say "$why needs ${packages[*]}, and there is neither root nor sudo without a password"
    say "hint: run once: sudo apt-get install --no-install-recommends ${packages[*]}"
    return 1
  fi
  install_packages "${packages[@]}" || {
    say "$why needs ${packages[*]}, and apt-get could not install them (its message is above)"
    return 1
  }
}

# The newest Python from 3.11 on that can make virtual environments.
find_python() {
  local name
  for name in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$name" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$name"
      return 0
    fi
  done
  return 1
}

bring_python() {
  local stamp=$venv/.bootstrap want python
  want=$(cat "$root/pyproject.toml" "$lock" | sha256sum)
  if [ -x "$venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$want" ]; then
    return 0
  fi
  if [ ! -x "$venv/bin/python" ]; then
    python=$(find_python) || { need "the virtual environment" no-python=python3-venv && python=$(find_python); } || {
      say "Python 3.11 or newer with its venv module was not found"
      say "hint: Debian 12: apt-get install python3-venv; elsewhere install Python 3.11+ and put it on PATH"
      return 1
    }
    say "making .venv with $python"
    "$python" -m venv "$venv"
  fi
  say "installing the locked development set"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e "$root"
  printf '%s' "$want" >"$stamp"
}

main() {
  case "${1:-}" in
    python) bring_python ;;
    demo) bring_python && need "the embedded engine" "${demo_components[@]}" ;;
    test)
      bring_python
      local lacking=no
      need "the test suite" "${demo_components[@]}" "${test_components[@]}" || lacking=yes
      "$root/scripts/components.sh" all || lacking=yes
      if [ "$lacking" = yes ]; then
        [ "${CI:-}" != true ] || return 1
        say "going on; tests without their component will be skipped"
      fi
      ;;
    *)
      say "usage: scripts/bootstrap.sh python|demo|test"
      return 2
      ;;
  esac
}

main "$@"
