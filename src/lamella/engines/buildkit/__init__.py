"""Runs Definitions with a BuildKit daemon: lowering to Dockerfile and bake, buildx, progress, read-back."""
