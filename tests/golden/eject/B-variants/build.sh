#!/bin/sh
# Builds images of desk with docker buildx build, written by lamella eject.
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
    desk-dev) build --target desk-dev --tag registry.example/acme/desk:1.2.3-cpu-development --tag registry.example/acme/desk:latest-cpu-development "$@" ;;
    desk-prod) build --target desk-prod --tag registry.example/acme/desk:1.2.3-cpu --tag registry.example/acme/desk:latest-cpu "$@" ;;
    multi-tenant-dev) build --target multi-tenant-dev --tag registry.example/acme/desk:1.2.3-multi-tenant-development --tag registry.example/acme/desk:latest-multi-tenant-development "$@" ;;
    multi-tenant-prod) build --target multi-tenant-prod --tag registry.example/acme/desk:1.2.3-multi-tenant --tag registry.example/acme/desk:latest-multi-tenant "$@" ;;
    app-binary-dev) build --target app-binary-dev --tag registry.example/acme/desk:app-binary-1.2.3-development --tag registry.example/acme/desk:app-binary-latest-development "$@" ;;
    app-binary-prod) build --target app-binary-prod --tag registry.example/acme/desk:app-binary-1.2.3 --tag registry.example/acme/desk:app-binary-latest "$@" ;;
    all)
      for each in desk-dev desk-prod multi-tenant-dev multi-tenant-prod app-binary-dev app-binary-prod; do
        image "$each" "$@"
      done
      ;;
    *)
      printf '%s\n' 'usage: build.sh IMAGE [ARGUMENT...]; IMAGE is one of: desk-dev desk-prod multi-tenant-dev multi-tenant-prod app-binary-dev app-binary-prod all' >&2
      exit 2
      ;;
  esac
}

[ "$#" -gt 0 ] || set -- help
image "$@"
