"""One call of ``buildx bake``: the file on its input, progress as lines of JSON on its error stream."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from lamella.canonical import FrozenMap, canonical_json
from lamella.engines.buildkit.buildx import Buildx
from lamella.engines.buildkit.phase import Lowered
from lamella.errors import HostileInputError, SandboxError
from lamella.process import run
from lamella.values import dataclass

__all__ = ["BakeCall", "Baked", "bake"]

_LONGEST = 64 << 20
"""Bytes of one line of progress; a step's output comes in pieces far smaller."""


@dataclass(frozen=True, slots=True)
class BakeCall:
    """How to call: ``folder`` holds the context and takes the exports, ``secrets`` are variables with values."""

    buildx: Buildx
    builder: str
    folder: Path
    secrets: FrozenMap[str, str]


@dataclass(frozen=True, slots=True)
class Baked:
    """How it ended: exit status, and the last lines that were no progress."""

    code: int
    said: tuple[str, ...]


def bake(
    call: BakeCall, lowered: Lowered, on_line: Callable[[bytes], bool], cancelled: threading.Event | None = None
) -> Baked:
    """Runs it to its end, or to that of ``cancelled``. ``on_line`` takes each line of the error stream and says whether
    it was progress.

    Raises SandboxError when buildx cannot be started, HostileInputError for a line without an end.
    """
    said: list[str] = []
    rest = b""

    def take(line: bytes) -> None:
        if line.strip() and not on_line(line):
            said.append(line.decode("utf-8", "replace").rstrip())
            del said[:-40]

    def on_chunk(stream: int, data: bytes) -> None:
        nonlocal rest
        if stream != 2:
            return
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            take(line)
        if len(rest) > _LONGEST:
            raise HostileInputError(f"buildx wrote a line of progress of more than {_LONGEST >> 20} MiB")

    allowed = tuple(word for value in lowered.allow for word in ("--allow", value))
    words = ("bake", "--builder", call.builder, "--progress", "rawjson", *allowed, "--file", "-")
    done = run(
        (call.buildx.program, *words),
        env={**call.buildx.env, **call.secrets},
        cwd=call.folder,
        stdin=canonical_json(lowered.bake),
        check=False,
        on_chunk=on_chunk,
        cancelled=cancelled,
        error=SandboxError,
        hint="build here with: --engine local",
    )
    take(rest)
    return Baked(done.code, tuple(said))
