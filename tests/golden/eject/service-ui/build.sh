#!/bin/sh
# Builds images of shelf with docker buildx build, written by lamella eject.
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
    shelf-dev) build --target shelf-dev --tag shelf/shelf:dev "$@" ;;
    shelf-prod) build --target shelf-prod --tag shelf/shelf:prod "$@" ;;
    all)
      for each in shelf-dev shelf-prod; do
        image "$each" "$@"
      done
      ;;
    *)
      printf '%s\n' 'usage: build.sh IMAGE [ARGUMENT...]; IMAGE is one of: shelf-dev shelf-prod all' >&2
      exit 2
      ;;
  esac
}

[ "$#" -gt 0 ] || set -- help
image "$@"
