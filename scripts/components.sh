#!/usr/bin/env bash
# Brings engines and registries that Debian 12 does not have, each into a folder of its own, and changes nothing else.
#
#   scripts/components.sh docker28   Docker Engine, containerd, buildx and compose of Debian sid, unpacked, not installed
#   scripts/components.sh go         buildkitd, buildctl and an in-memory registry, built from Go modules
#   scripts/components.sh all        both
#
# They lie below $LAMELLA_COMPONENTS, else $XDG_CACHE_HOME/lamella-components, else ~/.cache/lamella-components.
# A folder is made aside and renamed when it is whole, and made anew when its recipe changed (NAME/.recipe).
# Packages come from the mirror that this machine's apt uses, modules from where `go env GOPROXY` says. A machine
# without a Go that is new enough (Debian 12's is not) gets sid's for the time of the build.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
components=${LAMELLA_COMPONENTS:-${XDG_CACHE_HOME:-$HOME/.cache}/lamella-components}
modules=$root/tests/integration/components/go
buildkit=github.com/moby/buildkit
docker_packages=(docker.io docker-cli containerd docker-buildx docker-compose)

say() { printf 'components: %s\n' "$*" >&2; }

# The sources.list(5) line of sid on the mirror that serves this machine's own release.
sid_source() {
  local uri release keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  # shellcheck source=/dev/null
  release=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
  # shellcheck disable=SC2016  # $(...) is apt-get's own syntax
  uri=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
    awk -v release="$release" '$1 == release && $2 == "main" {print $3; exit}')
  if [ -z "$uri" ] || [ ! -r "$keyring" ]; then
    say "this machine's apt names no Debian mirror (release ${release:-unknown}) or has no $keyring"
    return 1
  fi
  printf 'deb [signed-by=%s] %s sid main\n' "$keyring" "$uri"
}

# apt-get or apt-cache with lists of sid below WORK and nothing of this machine's.
sid() {
  local work=$1 program=$2
  shift 2
  "$program" -qq -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::Cache=$work" \
    -o "Dir::State::Lists=$work/lists" -o APT::Sandbox::User=root -o Acquire::Languages=none "$@"
}

# unpack_sid INTO PACKAGE...: packages of sid unpacked below INTO; GO stands for its newest Go compiler
unpack_sid() {
  local into=$1 work=$1/.apt package names
  shift
  if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    say "$* of Debian sid are needed, and this machine has no apt-get"
    return 1
  fi
  mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/debs"
  sid_source >"$work/sources.list"
  sid "$work" apt-get update
  names=("$@")
  if [ "$1" = GO ]; then
    package=$(sid "$work" apt-cache depends golang-go | awk '$1 == "Depends:" && $2 ~ /^golang-[0-9.]+-go$/ {print $2}')
    names=("$package" "${package%-go}-src")
  fi
  (cd "$work/debs" && sid "$work" apt-get download "${names[@]/%//sid}")
  for package in "$work"/debs/*.deb; do
    dpkg -x "$package" "$into"
    dpkg-deb --show "$package" >>"$into/.versions"
  done
  rm -rf "$work"
}

# These packages need two programs of this release: runc (sid's wants a newer libc) and tini-static (docker-init).
bring_docker28() {
  unpack_sid "$1" "${docker_packages[@]}"
  rm -rf "${1:?}/usr/share"
}

# go env GOVERSION is at least 1.21: such a Go fetches the release that go.mod asks for. Debian 12 has 1.19.
go_is_new() {
  local version
  version=$(go env GOVERSION 2>/dev/null) && [[ $version =~ ^go1\.([0-9]+) ]] && [ "${BASH_REMATCH[1]}" -ge 21 ]
}

bring_go() {
  local into=$1 version
  if ! go_is_new; then
    say "no Go from 1.21 on is on PATH; taking Debian sid's for this build"
    unpack_sid "$into/.compiler" GO
    PATH=$(echo "$into"/.compiler/usr/lib/go-*/bin):$PATH
  fi
  cd "$modules"
  export GOFLAGS=-mod=readonly
  go list -m "$buildkit" cuelabs.dev/go/oci/ociregistry >"$into/.versions"
  version=$(awk -v module="$buildkit" '$1 == module {print $2}' "$into/.versions")
  GOBIN=$into/bin nice -n 5 go install -trimpath -ldflags "-s -w -X $buildkit/version.Version=$version" tool ./ociregistry
  rm -rf "$into/.compiler"
}

# What a component is made from: a change makes it anew.
recipe() {
  case "$1" in
    docker28) { declare -f bring_docker28 && printf '%s\n' "${docker_packages[@]}"; } ;;
    go) { declare -f bring_go && cat "$modules/go.mod" "$modules/go.sum" "$modules/ociregistry/main.go"; } ;;
  esac | sha256sum
}

bring() {
  local name=$1 folder=$components/$1 want part status
  want=$(recipe "$name")
  mkdir -p "$components"
  exec 9>"$components/.$name.lock"
  flock 9
  if [ "$(cat "$folder/.recipe" 2>/dev/null)" != "$want" ]; then
    say "bringing $name into $folder"
    part=$folder.part
    rm -rf "$part"
    mkdir -p "$part"
    set +e # a subshell in a condition would go on after its first failure
    (set -e && "bring_$name" "$part")
    status=$?
    set -e
    if [ "$status" -ne 0 ]; then
      rm -rf "$part"
      say "$name could not be brought (reasons are above)"
      return 1
    fi
    printf '%s\n' "$want" >"$part/.recipe"
    rm -rf "$folder"
    mv "$part" "$folder"
  fi
  exec 9>&-
}

main() {
  local name status=0
  case "${1:-}" in
    docker28 | go) bring "$1" ;;
    all)
      for name in docker28 go; do
        "${BASH_SOURCE[0]}" "$name" || status=1
      done
      return "$status"
      ;;
    *)
      say "usage: scripts/components.sh docker28|go|all"
      return 2
      ;;
  esac
}

main "$@"
