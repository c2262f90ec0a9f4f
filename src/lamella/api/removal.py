"""Deletes trees of a store, also those whose files belong to subordinate ids of an ordinary user."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lamella.store.context import remove_tree
from lamella.store.store import Store

if TYPE_CHECKING:
    from lamella.api.options import SessionOptions
    from lamella.engines.local.runner import LocalRunner

__all__ = ["SandboxRemover"]


class SandboxRemover:
    """A ``Remover`` that asks the sandbox's helper where the caller's own rights do not reach.

    The helper is started for the first such tree; :meth:`close` ends it.
    """

    def __init__(self, store: Store, options: SessionOptions) -> None:
        self._store = store
        self._options = options
        self._runner: LocalRunner | None = None

    def __call__(self, path: Path) -> None:
        """Removes a tree; raises SandboxError when it takes the helper and that cannot be had."""
        try:
            remove_tree(path)
        except PermissionError:
            self._helper().remove((path,))

    def close(self) -> None:
        """Ends the helper."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    def _helper(self) -> LocalRunner:
        if self._runner is None:
            from lamella.api.sandbox import make_runner

            self._runner = make_runner(self._store, self._options)
        return self._runner
