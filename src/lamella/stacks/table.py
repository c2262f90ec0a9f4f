"""The explicit table of adapters, imported on use, plus those of third parties."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import cast

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.errors import ConfigError
from lamella.stacks.base import Stack

__all__ = ["BUILTIN", "StackTable"]

BUILTIN: FrozenMap[str, str] = FrozenMap(
    {
        "base": "lamella.stacks.debian:BaseStack",
        "files": "lamella.stacks.files:FilesStack",
        "fetch": "lamella.stacks.files:FetchStack",
        "model": "lamella.stacks.files:ModelStack",
        "run": "lamella.stacks.files:RunStack",
        "cargo": "lamella.stacks.cargo:CargoStack",
        "python": "lamella.stacks.python:PythonStack",
        "node": "lamella.stacks.node:NodeStack",
    }
)
"""Layer kind → ``module:class``."""


class StackTable(Mapping[str, Stack]):
    """Adapters by kind; ``others`` (kind → ``module:class``) come from the ``lamella.stacks`` entry point."""

    def __init__(self, others: Mapping[str, str] = EMPTY_MAP) -> None:
        taken = sorted(set(others) & set(BUILTIN))
        if taken:
            raise ConfigError(f"a third-party adapter claims the built-in kind {taken[0]!r}", hint="uninstall it")
        self._places = {**BUILTIN, **others}
        self._made: dict[str, Stack] = {}

    def __getitem__(self, kind: str) -> Stack:
        if kind not in self._made:
            module, _, name = self._places[kind].partition(":")
            self._made[kind] = cast("Stack", getattr(import_module(module), name)())
        return self._made[kind]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
