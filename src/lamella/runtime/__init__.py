"""Starts images: on the embedded runtime or with a Docker daemon, and finds out whether they are well."""
