# Bake file of shelf, written by lamella eject.
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
  targets = ["shelf-dev"]
}

group "prod" {
  targets = ["shelf-prod"]
}

target "_common" {
  context    = "."
  dockerfile = "Dockerfile"
}

# image shelf: profile dev
target "shelf-dev" {
  inherits = ["_common"]
  target   = "shelf-dev"
  tags     = ["shelf/shelf:dev"]
}

# image shelf: profile prod
target "shelf-prod" {
  inherits = ["_common"]
  target   = "shelf-prod"
  tags     = ["shelf/shelf:prod"]
}
