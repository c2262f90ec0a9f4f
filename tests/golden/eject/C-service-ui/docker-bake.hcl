# Bake file of shop, written by lamella eject.
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
    "api-dev",
    "ui-dev",
  ]
}

group "prod" {
  targets = [
    "api-prod",
    "ui-prod",
  ]
}

target "_common" {
  context    = "."
  dockerfile = "Dockerfile"
}

# image api: profile dev
target "api-dev" {
  inherits = ["_common"]
  target   = "api-dev"
  tags     = ["shop/api:dev"]
}

# image api: profile prod
target "api-prod" {
  inherits = ["_common"]
  target   = "api-prod"
  tags     = [
    "registry.example/acme/shop:api-${VERSION}",
    "registry.example/acme/shop:api-latest",
  ]
}

# image ui: profile dev
target "ui-dev" {
  inherits = ["_common"]
  target   = "ui"
  tags     = ["shop/ui:dev"]
}

# image ui: profile prod
target "ui-prod" {
  inherits = ["_common"]
  target   = "ui"
  tags     = [
    "registry.example/acme/shop:ui-${VERSION}",
    "registry.example/acme/shop:ui-latest",
  ]
}
