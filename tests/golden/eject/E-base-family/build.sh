#!/bin/sh
# Builds images of forge with docker buildx build, written by lamella eject.
#
#   build.sh IMAGE [ARGUMENT…]    an image; further arguments go to docker buildx build
#   build.sh all                  every image
#
# DOCKER: the command of Docker.
set -eu
cd "$(dirname -- "$0")"
DOCKER=${DOCKER:-docker}

build() {
  "$DOCKER" buildx build --file Dockerfile "$@" .
}

image() {
  name=$1
  shift
  case "$name" in
    base) build --target base --secret id=github_token,env=GITHUB_TOKEN --tag registry.example/acme/forge:base-ubuntu-3.1.0 --tag registry.example/acme/forge:base-ubuntu-latest --tag registry.example/acme/forge:base-ubuntu-rust1.95 --tag registry.example/acme/forge:base-ubuntu-1970.01.01 --tag registry.example/acme/forge:base-3.1.0 --tag registry.example/acme/forge:base-latest --tag registry.example/acme/forge:base-rust1.95 --tag registry.example/acme/forge:base-1970.01.01 "$@" ;;
    forge-dev) build --target forge-dev --secret id=github_token,env=GITHUB_TOKEN --tag registry.example/acme/forge:v3-ubuntu-dev "$@" ;;
    forge-prod) build --target forge-prod --secret id=github_token,env=GITHUB_TOKEN --tag registry.example/acme/forge:1.2.3-ubuntu --tag registry.example/acme/forge:1.2-ubuntu "$@" ;;
    all)
      for each in base forge-dev forge-prod; do
        image "$each" "$@"
      done
      ;;
    *)
      printf '%s\n' 'usage: build.sh IMAGE [ARGUMENT...]; IMAGE is one of: base forge-dev forge-prod all' >&2
      exit 2
      ;;
  esac
}

[ "$#" -gt 0 ] || set -- help
image "$@"
