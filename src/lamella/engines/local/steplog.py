"""A step's output while it runs and afterwards: a file to follow, a blob once it is over, a tail for errors."""

from __future__ import annotations

import os
import re
from collections import deque
from contextlib import suppress
from types import TracebackType
from typing import Self

from lamella.engines.local.values import OnLine
from lamella.errors import LamellaError
from lamella.store.store import Store

__all__ = ["StepLog"]

_TAIL_LINES = 30
_SAFE = re.compile(r"[^A-Za-z0-9._-]+")


class StepLog:
    """The output of one step. A failed step's file stays under ``logs``, a good one's becomes a blob."""

    def __init__(self, store: Store, name: str, key: str, on_line: OnLine) -> None:
        self._store = store
        self._on_line = on_line
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self.path = store.logs / f"{_SAFE.sub('-', name)[:60]}-{key.partition(':')[2][:12]}-{os.getpid()}.log"
        self._file = open(self.path, "w", encoding="utf-8", errors="replace", buffering=1)  # noqa: SIM115 - a member

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def line(self, stream: int, text: str) -> None:
        """Takes one line and hands it on."""
        self._tail.append(text)
        self._file.write(f"{text}\n")
        self._on_line(stream, text)

    def keep(self) -> str:
        """The output of a step that ended well as a blob; its digest."""
        self._file.close()
        digest, _ = self._store.blobs.put_file(self.path)
        with suppress(FileNotFoundError):
            os.unlink(self.path)
        return digest

    def explain(self, error: LamellaError, key: str) -> LamellaError:
        """The error with the end of the output, the resolved key and where all of it is."""
        details = (
            *error.details,
            *(f"  {line}" for line in self._tail),
            f"key: {key}",
            f"log: {self.path}",
        )
        return type(error)(error.message, hint=error.hint, details=details)
