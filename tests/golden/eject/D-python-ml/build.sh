#!/bin/sh
# Builds images of finder with docker buildx build, written by lamella eject.
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
    base-cpu-dev) build --target base-cpu --tag finder/base:dev "$@" ;;
    base-cuda-dev) build --target base-cuda --tag finder/base:dev-cuda "$@" ;;
    base-rocm-dev) build --target base-rocm --tag finder/base:dev-rocm "$@" ;;
    base-cpu-prod) build --target base-cpu --tag finder/base:prod "$@" ;;
    base-cuda-prod) build --target base-cuda --tag registry.example/acme/finder:cuda-base-1.2.3 --tag registry.example/acme/finder:cuda-base-latest "$@" ;;
    base-rocm-prod) build --target base-rocm --tag registry.example/acme/finder:rocm-base-1.2.3 --tag registry.example/acme/finder:rocm-base-latest "$@" ;;
    ml-cpu-dev) build --target ml-cpu --tag finder/ml:dev "$@" ;;
    ml-cuda-dev) build --target ml-cuda --tag finder/ml:dev-cuda "$@" ;;
    ml-rocm-dev) build --target ml-rocm --tag finder/ml:dev-rocm "$@" ;;
    ml-cpu-prod) build --target ml-cpu --tag finder/ml:prod "$@" ;;
    ml-cuda-prod) build --target ml-cuda --tag registry.example/acme/finder:cuda-ml-1.2.3 --tag registry.example/acme/finder:cuda-ml-latest "$@" ;;
    ml-rocm-prod) build --target ml-rocm --tag registry.example/acme/finder:rocm-ml-1.2.3 --tag registry.example/acme/finder:rocm-ml-latest "$@" ;;
    app-cpu-dev) build --target app-cpu --tag finder/app:dev "$@" ;;
    app-cuda-dev) build --target app-cuda --tag finder/app:dev-cuda "$@" ;;
    app-rocm-dev) build --target app-rocm --tag finder/app:dev-rocm "$@" ;;
    app-cpu-prod) build --target app-cpu --tag registry.example/acme/finder:1.2.3-cpu --tag registry.example/acme/finder:latest-cpu "$@" ;;
    app-cuda-prod) build --target app-cuda --tag registry.example/acme/finder:1.2.3-cuda-amd64 --tag registry.example/acme/finder:cuda-amd64 --tag registry.example/acme/finder:1.2.3-cuda --tag registry.example/acme/finder:cuda-latest "$@" ;;
    app-rocm-prod) build --target app-rocm --tag registry.example/acme/finder:1.2.3-rocm-amd64 --tag registry.example/acme/finder:rocm-amd64 --tag registry.example/acme/finder:1.2.3-rocm --tag registry.example/acme/finder:rocm-latest "$@" ;;
    all)
      for each in base-cpu-dev base-cuda-dev base-rocm-dev base-cpu-prod base-cuda-prod base-rocm-prod ml-cpu-dev ml-cuda-dev ml-rocm-dev ml-cpu-prod ml-cuda-prod ml-rocm-prod app-cpu-dev app-cuda-dev app-rocm-dev app-cpu-prod app-cuda-prod app-rocm-prod; do
        image "$each" "$@"
      done
      ;;
    *)
      printf '%s\n' 'usage: build.sh IMAGE [ARGUMENT...]; IMAGE is one of: base-cpu-dev base-cuda-dev base-rocm-dev base-cpu-prod base-cuda-prod base-rocm-prod ml-cpu-dev ml-cuda-dev ml-rocm-dev ml-cpu-prod ml-cuda-prod ml-rocm-prod app-cpu-dev app-cuda-dev app-rocm-dev app-cpu-prod app-cuda-prod app-rocm-prod all' >&2
      exit 2
      ;;
  esac
}

[ "$#" -gt 0 ] || set -- help
image "$@"
