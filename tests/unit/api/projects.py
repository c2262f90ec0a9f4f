"""A project of files alone, which needs no sandbox."""

from __future__ import annotations

__all__ = ["SHOP"]

SHOP = """
[project]
schema = 1
name = "shop"

[layer.base]
from = "scratch"

[layer.app]
files = [{ from = "app", to = "/app" }]

[image.api]
layers = ["base", "app"]
"""
