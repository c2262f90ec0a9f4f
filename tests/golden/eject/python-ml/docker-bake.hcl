# Bake file of digits, written by lamella eject.
#
#   docker buildx bake --file docker-bake.hcl            the images for development
#   docker buildx bake --file docker-bake.hcl prod       those that are published; --push sends them to the registry
#   docker buildx bake --file docker-bake.hcl --print    what would be built

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
  targets = ["digits-dev"]
}

group "prod" {
  targets = ["digits-prod"]
}

target "_common" {
  context    = "."
  dockerfile = "Dockerfile"
}

# image digits: profile dev
target "digits-dev" {
  inherits = ["_common"]
  target   = "digits"
  tags     = ["digits/digits:dev"]
}

# image digits: profile prod
target "digits-prod" {
  inherits = ["_common"]
  target   = "digits"
  tags     = ["digits/digits:prod"]
}
