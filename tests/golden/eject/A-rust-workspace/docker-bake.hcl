# Bake file of desk, written by lamella eject.
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
    "desk-cpu-dev",
    "desk-cuda-dev",
    "desk-rocm-dev",
    "desk-vulkan-dev",
  ]
}

group "prod" {
  targets = [
    "desk-cpu-prod",
    "desk-cuda-prod",
    "desk-rocm-prod",
    "desk-vulkan-prod",
  ]
}

target "_common" {
  context    = "."
  dockerfile = "Dockerfile"
}

# image desk: accelerator cpu, profile dev
target "desk-cpu-dev" {
  inherits = ["_common"]
  target   = "desk-cpu-dev"
  tags     = ["desk/desk:dev"]
}

# image desk: accelerator cuda, profile dev
target "desk-cuda-dev" {
  inherits = ["_common"]
  target   = "desk-cuda-dev"
  tags     = ["desk/desk:dev-cuda"]
}

# image desk: accelerator rocm, profile dev
target "desk-rocm-dev" {
  inherits = ["_common"]
  target   = "desk-rocm-dev"
  tags     = ["desk/desk:dev-rocm"]
}

# image desk: accelerator vulkan, profile dev
target "desk-vulkan-dev" {
  inherits = ["_common"]
  target   = "desk-vulkan-dev"
  tags     = ["desk/desk:dev-vulkan"]
}

# image desk: accelerator cpu, profile prod
target "desk-cpu-prod" {
  inherits  = ["_common"]
  target    = "desk-cpu-prod"
  platforms = [
    "linux/amd64",
    "linux/arm64",
  ]
  tags      = ["registry.example/acme/desk:${VERSION}-cpu"]
}

# image desk: accelerator cuda, profile prod
target "desk-cuda-prod" {
  inherits  = ["_common"]
  target    = "desk-cuda-prod"
  platforms = ["linux/amd64"]
  tags      = ["registry.example/acme/desk:${VERSION}-cuda"]
}

# image desk: accelerator rocm, profile prod
target "desk-rocm-prod" {
  inherits  = ["_common"]
  target    = "desk-rocm-prod"
  platforms = ["linux/amd64"]
  tags      = ["registry.example/acme/desk:${VERSION}-rocm"]
}

# image desk: accelerator vulkan, profile prod
target "desk-vulkan-prod" {
  inherits  = ["_common"]
  target    = "desk-vulkan-prod"
  platforms = ["linux/amd64"]
  tags      = ["registry.example/acme/desk:${VERSION}-vulkan"]
}
