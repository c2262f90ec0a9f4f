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
    desk-cpu-dev) build --target desk-cpu-dev --tag desk/desk:dev "$@" ;;
    desk-cuda-dev) build --target desk-cuda-dev --tag desk/desk:dev-cuda "$@" ;;
    desk-rocm-dev) build --target desk-rocm-dev --tag desk/desk:dev-rocm "$@" ;;
    desk-vulkan-dev) build --target desk-vulkan-dev --tag desk/desk:dev-vulkan "$@" ;;
    desk-cpu-prod) build --target desk-cpu-prod --tag registry.example/acme/desk:1.2.3-cpu "$@" ;;
    desk-cuda-prod) build --target desk-cuda-prod --tag registry.example/acme/desk:1.2.3-cuda "$@" ;;
    desk-rocm-prod) build --target desk-rocm-prod --tag registry.example/acme/desk:1.2.3-rocm "$@" ;;
    desk-vulkan-prod) build --target desk-vulkan-prod --tag registry.example/acme/desk:1.2.3-vulkan "$@" ;;
    all)
      for each in desk-cpu-dev desk-cuda-dev desk-rocm-dev desk-vulkan-dev desk-cpu-prod desk-cuda-prod desk-rocm-prod desk-vulkan-prod; do
        image "$each" "$@"
      done
      ;;
    *)
      printf '%s\n' 'usage: build.sh IMAGE [ARGUMENT...]; IMAGE is one of: desk-cpu-dev desk-cuda-dev desk-rocm-dev desk-vulkan-dev desk-cpu-prod desk-cuda-prod desk-rocm-prod desk-vulkan-prod all' >&2
      exit 2
      ;;
  esac
}

[ "$#" -gt 0 ] || set -- help
image "$@"
