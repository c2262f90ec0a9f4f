"""A build with nothing to do, answered before the command line is even read.

Reading a command line costs more than finding that nothing has changed. So a build that only gave a kept answer notes
its own words beside it, under the arguments as they were typed, the folder and the whole environment. The same words
again are the same question: it is asked of ``lamella.api.standing``, which compares everything else, and whatever is
not exactly as it was means that the command runs as always.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamella.api.builders import named_builder
from lamella.api.standing import Standing
from lamella.canonical import digest_value
from lamella.cli.messages import format_seconds
from lamella.cli.settings import read_settings
from lamella.clock import SystemClock
from lamella.commit import replace_file

if TYPE_CHECKING:
    from lamella.api.session import Session
    from lamella.cli.settings import Settings
    from lamella.sources.worktree import WorkTree

__all__ = ["TIME", "answer_again", "note_answer"]

TIME = "{seconds}"
"""Stands in a noted line for the time that the answer takes."""
_FORMAT = 1
_NOISE = frozenset({"_", "OLDPWD", "PWD", "SHLVL"})
"""Variables of a shell that say nothing about the command; the folder is compared itself."""


def answer_again(arguments: list[str]) -> bool:
    """Whether the command was answered: its words are written, and its exit code is 0.

    Raises BrokenPipeError when nobody reads its output, nothing else: what is wrong is found, and said, by the command
    itself.
    """
    try:
        settings = read_settings()
        noted = json.loads(_path(settings.store, arguments).read_bytes())
        if noted["surroundings"] != _surroundings(settings.environ):
            return False
        lines = _find(settings, noted)
    except Exception:  # noqa: BLE001 - anything: the command runs as always and says it properly
        return False
    if lines is None:
        return False
    sys.stdout.write(noted["output"])
    sys.stdout.flush()
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    return True


def _find(settings: Settings, noted: Mapping[str, Any]) -> list[str] | None:
    """The lines of talk when the kept answer still holds."""
    from lamella.sources.worktree import WorkTree
    from lamella.store.store import Store

    clock = SystemClock()
    start = clock.monotonic()
    root = Path(noted["root"])
    trees: list[WorkTree] = []

    def open_tree(ignore: tuple[str, ...], declared: tuple[str, ...]) -> WorkTree:
        tree = WorkTree(
            root, clock=clock, env=settings.environ, ignore=ignore, declared=declared, contexts={}, cache=store.scan
        )
        trees.append(tree)
        return tree

    if noted["builder"] and not _has_builder(settings, noted["builder"]):
        return None
    project, lock = Path(noted["project"]), Path(noted["lock"])
    data = lock.read_bytes() if lock.exists() else b""
    with Store.open(settings.store, clock=clock, warn=_refuse) as store, store.lease("build"):
        standing = Standing(store, root, noted["asked"], project.read_bytes(), data, noted["host"])
        found = standing.find(clock.now(), open_tree)
        for tree in trees:
            tree.close()
    if found is None:
        return None
    took = format_seconds(clock.monotonic() - start)
    return [line.replace(TIME, took) for line in noted["summary"]]


def _has_builder(settings: Settings, name: str) -> bool:
    """Whether a builder that was named is still there, by buildx's files."""
    from lamella.engines.buildkit.names import check_name

    return settings.docker_config is not None and check_name(name, settings.environ, settings.docker_config) is None


def _refuse(text: str) -> None:
    """A warning is the command's to give."""
    raise RuntimeError(text)


def note_answer(arguments: list[str], settings: Settings, session: Session, output: str, summary: list[str]) -> None:
    """Notes what a command wrote that gave a kept answer: ``output``, and the lines of talk with ``TIME`` in them."""
    standing = session.answered
    if standing is None or session.store.read_only:
        return
    path = _path(settings.store, arguments)
    noted = {
        "surroundings": _surroundings(settings.environ),
        "root": str(standing.root),
        "project": str(session.path),
        "lock": str(session.lock_path),
        "asked": standing.asked,
        "host": standing.host,
        "builder": named_builder(session.options),
        "output": output,
        "summary": summary,
    }
    data = json.dumps(noted).encode()
    if not path.exists() or path.read_bytes() != data:
        replace_file(path, data, what="noting an answer")


def _path(store: Path, arguments: list[str]) -> Path:
    name = digest_value([_FORMAT, arguments, os.getcwd()]).partition(":")[2]
    return store / "scan" / f"{name}.words"


def _surroundings(environ: Mapping[str, str]) -> str:
    """The environment, the user and the terminals, as a digest."""
    kept = {name: value for name, value in environ.items() if name not in _NOISE}
    return digest_value([kept, os.getuid() if hasattr(os, "getuid") else 0, sys.stdout.isatty(), sys.stderr.isatty()])
