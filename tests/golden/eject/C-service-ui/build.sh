#!/bin/sh
# Builds images of shop with docker buildx build, written by lamella eject.
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
    api-dev) build --target api-dev --tag shop/api:dev "$@" ;;
    api-prod) build --target api-prod --tag registry.example/acme/shop:api-1.2.3 --tag registry.example/acme/shop:api-latest "$@" ;;
    ui-dev) build --target ui --tag shop/ui:dev "$@" ;;
    ui-prod) build --target ui --tag registry.example/acme/shop:ui-1.2.3 --tag registry.example/acme/shop:ui-latest "$@" ;;
    all)
      for each in api-dev api-prod ui-dev ui-prod; do
        image "$each" "$@"
      done
      ;;
    *)
      printf '%s\n' 'usage: build.sh IMAGE [ARGUMENT...]; IMAGE is one of: api-dev api-prod ui-dev ui-prod all' >&2
      exit 2
      ;;
  esac
}

[ "$#" -gt 0 ] || set -- help
image "$@"
