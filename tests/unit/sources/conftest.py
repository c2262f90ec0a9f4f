from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lamella.sources.worktree import WorkTree

OLD = 1_600_000_000
"""A moment long ago, in seconds."""


class Clock:
    """Far enough after everything a test does that no file is young, until a test says otherwise."""

    def __init__(self, ahead: int = 1000) -> None:
        self.ahead = ahead

    def now(self) -> int:
        import time

        return int(time.time()) + self.ahead

    def monotonic(self) -> float:
        return 0.0


class Project:
    """A directory with files, and trees over it that share one scan cache."""

    def __init__(self, root: Path, cache: Path) -> None:
        self.root = root
        self.cache = cache
        self.clock = Clock()
        self.env = {"PATH": os.environ["PATH"], "HOME": str(cache)}
        root.mkdir()
        cache.mkdir()

    def write(self, path: str, data: str | bytes = "") -> Path:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data.encode() if isinstance(data, str) else data)
        return place

    def tree(
        self,
        *,
        ignore: tuple[str, ...] = (),
        declared: tuple[str, ...] = (),
        contexts: dict[str, Path] | None = None,
    ) -> WorkTree:
        return WorkTree(
            self.root,
            clock=self.clock,
            env=self.env,
            ignore=ignore,
            declared=declared,
            contexts=contexts,
            cache=self.cache / "scan",
        )

    def paths(self, *, ignore: tuple[str, ...] = (), declared: tuple[str, ...] = ()) -> list[str]:
        """All inputs; each call is a run of its own that stores its scan."""
        with self.tree(ignore=ignore, declared=declared) as tree:
            return list(tree.paths(("**",)))

    def digests(self, *patterns: str) -> dict[str, str]:
        """Digests by path, checked against the digest of the whole; a run of its own."""
        from lamella.graph.fileset import merkle_digest

        with self.tree() as tree:
            fileset = tree.fileset(patterns or ("**",))
            assert tree.digest(patterns or ("**",)) == merkle_digest(fileset)
            return {entry.path: entry.digest or entry.link for entry in fileset}

    def git(self, *args: str, where: str = "") -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always"]
        command = ["git", *identity, "-c", "init.defaultBranch=main", *args]
        done = subprocess.run(command, cwd=self.root / where, env=self.env, check=True, capture_output=True)
        return done.stdout.decode().strip()

    def commit_all(self, where: str = "") -> None:
        if not (self.root / where / ".git").exists():
            self.git("init", "-q", where=where)
        self.git("add", "-A", where=where)
        self.git("commit", "-q", "-m", "all", where=where)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project", tmp_path / "cache")


@pytest.fixture
def settle() -> Callable[[Path], None]:
    """Makes a file's modification time old; its ctime stays what it is."""

    def old(path: Path) -> None:
        os.utime(path, (OLD, OLD))

    return old
