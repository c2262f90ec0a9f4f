"""Git as a program: where a repository is, what it tracks, ignores and believes changed; and the Protocol ``Vcs``.

Every call overrides the settings by which git may look at less than it should (git-config(1): ``core.trustctime``,
``core.checkStat``, ``core.fileMode``, ``core.ignoreStat``, ``core.fsmonitor``, ``core.untrackedCache``), and takes no
lock in the repository (``GIT_OPTIONAL_LOCKS=0``).
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lamella.errors import ConfigError
from lamella.values import dataclass

if TYPE_CHECKING:  # a tree that is no repository starts nothing
    from lamella.process import Completed

__all__ = ["Git", "GitVcs", "Repository", "Tracked", "find_git", "version_key"]

_SETTINGS = (
    "core.trustctime=true", "core.checkStat=default", "core.fileMode=true", "core.ignoreStat=false",
    "core.fsmonitor=false", "core.untrackedCache=false", "core.quotePath=false", "core.preloadIndex=true",
    "submodule.recurse=false", "status.relativePaths=true",
)  # fmt: skip
_KEEP = ("HOME", "XDG_CONFIG_HOME", "PATH")
_OWN_ENV = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
_TIMEOUT = 600.0


def find_git(root: Path) -> Path | None:
    """The nearest ``.git`` of ``root`` or a directory above it (a directory, or a file in a linked work tree)."""
    for directory in (root, *root.parents):
        candidate = directory / ".git"
        if os.path.lexists(candidate):
            return candidate
    return None


@dataclass(frozen=True, slots=True)
class Repository:
    """Where one repository keeps what a listing depends on. All paths are absolute."""

    top: Path
    index: Path
    witnesses: tuple[Path, ...]
    """Files whose change may change what is ignored: exclude files, settings."""


class Tracked(NamedTuple):
    """One path of the index. ``vouched`` is false for assume-unchanged, skip-worktree and unmerged entries."""

    path: str
    vouched: bool
    submodule: bool


class Git:
    """Runs git in directories. ``env`` is the user's environment, of which a few variables are passed on."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._given = env
        self._home = env.get("HOME", "")
        self._config_home = env.get("XDG_CONFIG_HOME", "") or (f"{self._home}/.config" if self._home else "")

    @cached_property
    def _env(self) -> Mapping[str, str]:
        from lamella.process import base_env

        return base_env(self._given, _KEEP, _OWN_ENV)

    @cached_property
    def _program(self) -> str | None:
        from lamella.process import which

        return which("git", self._given)

    def call(
        self,
        directory: Path,
        *args: str,
        stdin: bytes | None = None,
        check: bool = True,
        cancelled: threading.Event | None = None,
    ) -> Completed:
        """One git command in ``directory``. Raises ConfigError when git is missing or, with ``check``, fails."""
        from lamella.process import run

        if self._program is None:
            raise ConfigError(
                f"{directory} is a git work tree, but git is not installed: ignored files cannot be told from inputs",
                hint="install git",
            )
        settings = [word for setting in _SETTINGS for word in ("-c", setting)]
        done = run(
            [self._program, *settings, *args],
            env=self._env,
            cwd=directory,
            stdin=stdin,
            timeout=_TIMEOUT,
            check=False,
            cancelled=cancelled,
        )
        if check and done.code != 0 and not (cancelled is not None and cancelled.is_set()):
            raise _failed(directory, args, done)
        return done

    def repository(self, directory: Path) -> Repository | None:
        """The repository whose work tree ``directory`` is in; None when git knows of none."""
        names = ("index", "info/exclude", "config", "config.worktree")
        paths = [word for name in names for word in ("--git-path", name)]
        done = self.call(directory, "rev-parse", "--path-format=absolute", "--show-toplevel", *paths, check=False)
        if done.code != 0:
            if b"not a git repository" in done.stderr or b"must be run in a work tree" in done.stderr:
                return None
            raise _failed(directory, ("rev-parse",), done)
        found = [Path(os.fsdecode(line)) for line in done.stdout.rstrip(b"\n").split(b"\n")]
        if len(found) != 1 + len(names):
            raise _failed(directory, ("rev-parse",), done)
        top, index, *others = found
        return Repository(top, index, (*others, *self._global_witnesses(directory)))

    def _global_witnesses(self, directory: Path) -> tuple[Path, ...]:
        found = [Path("/etc/gitconfig")]
        if self._home:
            found.append(Path(self._home, ".gitconfig"))
        if self._config_home:
            found += [Path(self._config_home, "git", name) for name in ("config", "ignore")]
        done = self.call(directory, "config", "--type=path", "--get", "core.excludesFile", check=False)
        if done.code == 0 and done.text:
            found.append(directory / done.text)
        return tuple(found)

    def tracked(self, directory: Path) -> list[Tracked]:
        """The index's paths below ``directory``, relative to it (git-ls-files(1): ``-v`` and ``--stage``)."""
        out = self.call(directory, "ls-files", "-z", "-v", "--stage").stdout
        found: dict[str, Tracked] = {}
        for record in os.fsdecode(out).split("\0"):
            if record:
                path = record.partition("\t")[2]
                found[path] = Tracked(path, record.startswith("H "), record.startswith("160000", 2))
        return list(found.values())

    def untracked(self, directory: Path) -> list[str]:
        """Files below ``directory`` that are neither tracked nor ignored; a nested repository ends in ``/``."""
        out = self.call(directory, "ls-files", "-z", "--others", "--exclude-standard").stdout
        return [path for path in os.fsdecode(out).split("\0") if path]

    def ignored(self, directory: Path, paths: Iterable[str]) -> set[str]:
        """Those of ``paths`` (relative) that are ignored; tracked ones never are (git-check-ignore(1))."""
        data = b"".join(os.fsencode(path) + b"\0" for path in paths)
        if not data:
            return set()
        done = self.call(directory, "check-ignore", "-z", "--stdin", stdin=data, check=False)
        if done.code not in (0, 1):
            raise _failed(directory, ("check-ignore",), done)
        return {path for path in os.fsdecode(done.stdout).split("\0") if path}

    def nominated(self, directory: Path, cancelled: threading.Event | None = None) -> list[str]:
        """Tracked paths below ``directory`` whose stat data differs from the index (git-diff-files(1))."""
        args = ("diff-files", "-z", "--name-only", "--relative", "--ignore-submodules=all", "--no-ext-diff")
        out = self.call(directory, *args, cancelled=cancelled).stdout
        return [path for path in os.fsdecode(out).split("\0") if path]


def _failed(directory: Path, args: tuple[str, ...], done: Completed) -> ConfigError:
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()[:6]
    hint = "run the same git command there"
    if any("dubious ownership" in line for line in said):
        hint = f"if you trust this repository: git config --global --add safe.directory {directory}"
    why = said[0].removeprefix("fatal: ") if said else f"exit status {done.code}"
    return ConfigError(f"git {args[0]} failed in {directory}: {why}", hint=hint, details=tuple(said[1:]))


class GitVcs:
    """``graph.protocols.Vcs`` of the work tree at ``root``; all answers are empty where there is no repository."""

    def __init__(self, root: Path, env: Mapping[str, str]) -> None:
        self._root = root
        self._git = Git(env)
        self._there = find_git(root) is not None

    def commit(self) -> str:
        """The full commit id of HEAD; empty before the first commit."""
        return self._text("rev-parse", "--verify", "--quiet", "HEAD^{commit}")

    def tags(self, pattern: str) -> tuple[str, ...]:
        """Tags that match a glob (``*`` also takes ``/``) and are reachable from HEAD, newest version first."""
        if not self.commit():
            return ()
        names = self._text("tag", "--list", "--merged", "HEAD", "--", pattern).splitlines()
        return tuple(sorted(names, key=version_key, reverse=True))

    def is_dirty(self) -> bool:
        """Whether tracked files differ from HEAD. Submodules count by their commit and their tracked files."""
        if not self._there:
            return False
        args = ("status", "--porcelain", "-z", "--untracked-files=no", "--ignore-submodules=untracked")
        done = self._git.call(self._root, *args, check=False)
        return done.code == 0 and bool(done.stdout)

    def _text(self, *args: str) -> str:
        if not self._there:
            return ""
        done = self._git.call(self._root, *args, check=False)
        return done.text if done.code == 0 else ""


_VERSION_PART = re.compile(r"\d+|[A-Za-z]+")


def version_key(tag: str) -> tuple[object, ...]:
    """Sorts tags as versions (semver.org, item 11): numbers by value, a pre-release before its release.

    What stands before the first digit (``v``, ``app-v``) and build metadata after ``+`` do not order.
    """
    start = re.search(r"\d", tag)
    text = tag[start.start() :] if start else tag
    core, _, pre = text.partition("+")[0].partition("-")
    return (start is not None, _parts(core), not pre, _parts(pre), tag)


def _parts(text: str) -> tuple[tuple[int, int, str], ...]:
    return tuple((1, int(p), "") if p.isdigit() else (0, 0, p) for p in _VERSION_PART.findall(text))
