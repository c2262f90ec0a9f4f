# Bake file of forge, written by lamella eject.
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
    "prod",
    "dev",
  ]
}

group "prod" {
  targets = [
    "base",
    "forge-prod",
  ]
}

group "dev" {
  targets = ["forge-dev"]
}

target "_common" {
  context    = "."
  dockerfile = "Dockerfile"
  secret     = ["id=github_token,env=GITHUB_TOKEN"]
}

# image base: distro ubuntu, profile prod
target "base" {
  inherits  = ["_common"]
  target    = "base"
  platforms = ["linux/amd64"]
  tags      = [
    "registry.example/acme/forge:base-ubuntu-3.1.0",
    "registry.example/acme/forge:base-ubuntu-latest",
    "registry.example/acme/forge:base-ubuntu-rust1.95",
    "registry.example/acme/forge:base-ubuntu-1970.01.01",
    "registry.example/acme/forge:base-3.1.0",
    "registry.example/acme/forge:base-latest",
    "registry.example/acme/forge:base-rust1.95",
    "registry.example/acme/forge:base-1970.01.01",
  ]
}

# image forge: distro ubuntu, profile dev
target "forge-dev" {
  inherits = ["_common"]
  target   = "forge-dev"
  tags     = ["registry.example/acme/forge:v3-ubuntu-dev"]
}

# image forge: distro ubuntu, profile prod
target "forge-prod" {
  inherits  = ["_common"]
  target    = "forge-prod"
  platforms = ["linux/amd64"]
  tags      = [
    "registry.example/acme/forge:${VERSION}-ubuntu",
    "registry.example/acme/forge:1.2-ubuntu",
  ]
}
