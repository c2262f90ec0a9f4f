# Bake file of finder, written by lamella eject.
#
#   docker buildx bake --file docker-bake.hcl            the images for development
#   docker buildx bake --file docker-bake.hcl prod       those that are published; --push sends them to the registry
#   docker buildx bake --file docker-bake.hcl --print    what would be built

# Part of tags; VERSION=2.0.0 overrides it.
variable "VERSION" {
  default = "1.2.3"
}

group "default" {
  targets = ["dev"]
}

group "all" {
  targets = [
    "dev",
    "prod",
  ]
}

group "dev" {
  targets = [
    "base-cpu-dev",
    "base-cuda-dev",
    "base-rocm-dev",
    "ml-cpu-dev",
    "ml-cuda-dev",
    "ml-rocm-dev",
    "app-cpu-dev",
    "app-cuda-dev",
    "app-rocm-dev",
  ]
}

group "prod" {
  targets = [
    "base-cpu-prod",
    "base-cuda-prod",
    "base-rocm-prod",
    "ml-cpu-prod",
    "ml-cuda-prod",
    "ml-rocm-prod",
    "app-cpu-prod",
    "app-cuda-prod",
    "app-rocm-prod",
  ]
}

target "_common" {
  context    = "."
  dockerfile = "Dockerfile"
}

# image base: accelerator cpu, profile dev
target "base-cpu-dev" {
  inherits = ["_common"]
  target   = "base-cpu"
  tags     = ["finder/base:dev"]
}

# image base: accelerator cuda, profile dev
target "base-cuda-dev" {
  inherits = ["_common"]
  target   = "base-cuda"
  tags     = ["finder/base:dev-cuda"]
}

# image base: accelerator rocm, profile dev
target "base-rocm-dev" {
  inherits = ["_common"]
  target   = "base-rocm"
  tags     = ["finder/base:dev-rocm"]
}

# image base: accelerator cpu, profile prod
target "base-cpu-prod" {
  inherits  = ["_common"]
  target    = "base-cpu"
  platforms = [
    "linux/amd64",
    "linux/arm64",
  ]
  tags      = ["finder/base:prod"]
}

# image base: accelerator cuda, profile prod
target "base-cuda-prod" {
  inherits  = ["_common"]
  target    = "base-cuda"
  platforms = ["linux/amd64"]
  tags      = [
    "registry.example/acme/finder:cuda-base-${VERSION}",
    "registry.example/acme/finder:cuda-base-latest",
  ]
}

# image base: accelerator rocm, profile prod
target "base-rocm-prod" {
  inherits  = ["_common"]
  target    = "base-rocm"
  platforms = ["linux/amd64"]
  tags      = [
    "registry.example/acme/finder:rocm-base-${VERSION}",
    "registry.example/acme/finder:rocm-base-latest",
  ]
}

# image ml: accelerator cpu, profile dev
target "ml-cpu-dev" {
  inherits = ["_common"]
  target   = "ml-cpu"
  tags     = ["finder/ml:dev"]
}

# image ml: accelerator cuda, profile dev
target "ml-cuda-dev" {
  inherits = ["_common"]
  target   = "ml-cuda"
  tags     = ["finder/ml:dev-cuda"]
}

# image ml: accelerator rocm, profile dev
target "ml-rocm-dev" {
  inherits = ["_common"]
  target   = "ml-rocm"
  tags     = ["finder/ml:dev-rocm"]
}

# image ml: accelerator cpu, profile prod
target "ml-cpu-prod" {
  inherits  = ["_common"]
  target    = "ml-cpu"
  platforms = [
    "linux/amd64",
    "linux/arm64",
  ]
  tags      = ["finder/ml:prod"]
}

# image ml: accelerator cuda, profile prod
target "ml-cuda-prod" {
  inherits  = ["_common"]
  target    = "ml-cuda"
  platforms = ["linux/amd64"]
  tags      = [
    "registry.example/acme/finder:cuda-ml-${VERSION}",
    "registry.example/acme/finder:cuda-ml-latest",
  ]
}

# image ml: accelerator rocm, profile prod
target "ml-rocm-prod" {
  inherits  = ["_common"]
  target    = "ml-rocm"
  platforms = ["linux/amd64"]
  tags      = [
    "registry.example/acme/finder:rocm-ml-${VERSION}",
    "registry.example/acme/finder:rocm-ml-latest",
  ]
}

# image app: accelerator cpu, profile dev
target "app-cpu-dev" {
  inherits = ["_common"]
  target   = "app-cpu"
  tags     = ["finder/app:dev"]
}

# image app: accelerator cuda, profile dev
target "app-cuda-dev" {
  inherits = ["_common"]
  target   = "app-cuda"
  tags     = ["finder/app:dev-cuda"]
}

# image app: accelerator rocm, profile dev
target "app-rocm-dev" {
  inherits = ["_common"]
  target   = "app-rocm"
  tags     = ["finder/app:dev-rocm"]
}

# image app: accelerator cpu, profile prod
target "app-cpu-prod" {
  inherits  = ["_common"]
  target    = "app-cpu"
  platforms = [
    "linux/amd64",
    "linux/arm64",
  ]
  tags      = [
    "registry.example/acme/finder:${VERSION}-cpu",
    "registry.example/acme/finder:latest-cpu",
  ]
}

# image app: accelerator cuda, profile prod
target "app-cuda-prod" {
  inherits  = ["_common"]
  target    = "app-cuda"
  platforms = ["linux/amd64"]
  tags      = [
    "registry.example/acme/finder:${VERSION}-cuda-amd64",
    "registry.example/acme/finder:cuda-amd64",
    "registry.example/acme/finder:${VERSION}-cuda",
    "registry.example/acme/finder:cuda-latest",
  ]
}

# image app: accelerator rocm, profile prod
target "app-rocm-prod" {
  inherits  = ["_common"]
  target    = "app-rocm"
  platforms = ["linux/amd64"]
  tags      = [
    "registry.example/acme/finder:${VERSION}-rocm-amd64",
    "registry.example/acme/finder:rocm-amd64",
    "registry.example/acme/finder:${VERSION}-rocm",
    "registry.example/acme/finder:rocm-latest",
  ]
}
