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
    "desk-dev",
    "multi-tenant-dev",
    "app-binary-dev",
  ]
}

group "prod" {
  targets = [
    "desk-prod",
    "multi-tenant-prod",
    "app-binary-prod",
  ]
}

target "_common" {
  context    = "."
  dockerfile = "Dockerfile"
}

# image desk: accelerator cpu, profile dev
target "desk-dev" {
  inherits = ["_common"]
  target   = "desk-dev"
  tags     = [
    "registry.example/acme/desk:${VERSION}-cpu-development",
    "registry.example/acme/desk:latest-cpu-development",
  ]
}

# image desk: accelerator cpu, profile prod
target "desk-prod" {
  inherits  = ["_common"]
  target    = "desk-prod"
  platforms = ["linux/amd64"]
  tags      = [
    "registry.example/acme/desk:${VERSION}-cpu",
    "registry.example/acme/desk:latest-cpu",
  ]
}

# image multi-tenant: accelerator cpu, profile dev
target "multi-tenant-dev" {
  inherits = ["_common"]
  target   = "multi-tenant-dev"
  tags     = [
    "registry.example/acme/desk:${VERSION}-multi-tenant-development",
    "registry.example/acme/desk:latest-multi-tenant-development",
  ]
}

# image multi-tenant: accelerator cpu, profile prod
target "multi-tenant-prod" {
  inherits  = ["_common"]
  target    = "multi-tenant-prod"
  platforms = ["linux/amd64"]
  tags      = [
    "registry.example/acme/desk:${VERSION}-multi-tenant",
    "registry.example/acme/desk:latest-multi-tenant",
  ]
}

# image app-binary: accelerator cpu, profile dev
target "app-binary-dev" {
  inherits = ["_common"]
  target   = "app-binary-dev"
  tags     = [
    "registry.example/acme/desk:app-binary-${VERSION}-development",
    "registry.example/acme/desk:app-binary-latest-development",
  ]
}

# image app-binary: accelerator cpu, profile prod
target "app-binary-prod" {
  inherits  = ["_common"]
  target    = "app-binary-prod"
  platforms = ["linux/amd64"]
  tags      = [
    "registry.example/acme/desk:app-binary-${VERSION}",
    "registry.example/acme/desk:app-binary-latest",
  ]
}
