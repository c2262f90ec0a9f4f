#!/bin/sh
# Builds images of digits with docker buildx build, written by lamella eject.
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
    digits-dev) build --target digits --tag digits/digits:dev "$@" ;;
    digits-prod) build --target digits --tag digits/digits:prod "$@" ;;
    all)
      for each in digits-dev digits-prod; do
        image "$each" "$@"
      done
      ;;
    *)
      printf '%s\n' 'usage: build.sh IMAGE [ARGUMENT...]; IMAGE is one of: digits-dev digits-prod all' >&2
      exit 2
      ;;
  esac
}

[ "$#" -gt 0 ] || set -- help
image "$@"
