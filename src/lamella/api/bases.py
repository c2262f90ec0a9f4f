"""Pulls base images into the store."""

from __future__ import annotations


class BasePuller:
    def __init__(self, *args: object) -> None:
        pass
