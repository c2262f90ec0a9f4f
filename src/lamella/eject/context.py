"""What the stages take from the build context, as paths that people would write, and the ignore file that fits."""

from __future__ import annotations

import posixpath
from functools import cached_property

from lamella.eject.text import check_text
from lamella.graph.patterns import literal_prefix
from lamella.graph.protocols import Tree
from lamella.values import dataclass, field

__all__ = ["Context", "Found", "ignore_file"]

_FOLDERS = ("**/.git", "**/node_modules", "**/__pycache__", "**/.venv")
"""Folders that are never sources."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file or a whole folder of the context."""

    path: str
    folder: bool


@dataclass
class Context:
    """The project's tree as the stages see it; it remembers what they took. Not thread-safe."""

    tree: Tree
    taken: dict[str, None] = field(default_factory=dict)
    left_out: dict[str, None] = field(default_factory=dict)

    @cached_property
    def _all(self) -> tuple[str, ...]:
        return self.tree.paths(("**",))

    @cached_property
    def _counts(self) -> dict[str, int]:
        """Files below each folder; ``.`` is the project itself."""
        counts: dict[str, int] = {".": len(self._all)}
        for path in self._all:
            folder = posixpath.dirname(path)
            while folder:
                counts[folder] = counts.get(folder, 0) + 1
                folder = posixpath.dirname(folder)
        return counts

    def cover(self, patterns: tuple[str, ...]) -> tuple[Found, ...]:
        """The fewest paths that stand for all files of ``patterns`` and no other: whole folders where all of it is
        selected.
        """
        selected = self.tree.paths(patterns)
        whole_of = [literal_prefix(pattern) or "." for pattern in patterns if _takes_all(pattern)]
        counts: dict[str, int] = {}
        for path in selected:
            for folder in _above(path):
                counts[folder] = counts.get(folder, 0) + 1
        found: dict[str, bool] = {}
        for path in selected:
            folders = [folder for folder in _above(path) if any(_inside(f"{folder}/", top) for top in whole_of)]
            whole = next((folder for folder in folders if counts[folder] == self._counts.get(folder)), "")
            found[whole or path] = bool(whole)
        out = tuple(Found(path, folder) for path, folder in sorted(found.items()))
        self.take(*(item.path for item in out))
        return out

    def tops(self, paths: tuple[str, ...]) -> tuple[Found, ...]:
        """The first level of the project that ``paths`` are in: what a compile gets, so that a new file below is not
        forgotten.
        """
        tops = sorted({path.split("/", 1)[0] for path in paths})
        out = tuple(Found(top, top in self._counts) for top in tops)
        self.take(*(item.path for item in out))
        return out

    def folders(self, patterns: tuple[str, ...]) -> tuple[Found, ...]:
        """The folders (or files) that patterns begin with, for mounts."""
        found: dict[str, None] = {}
        for pattern in patterns:
            prefix = literal_prefix(pattern) or "."
            if not pattern.startswith("!") and (prefix == "." or self.tree.exists(prefix)):
                found.setdefault(prefix)
        whole = [path for path in found if not any(path != other and _inside(path, other) for other in found)]
        self.take(*whole)
        return tuple(Found(path, path in self._counts) for path in whole)

    def take(self, *paths: str) -> None:
        """Notes that paths are needed."""
        self.taken.update(dict.fromkeys(paths))

    def leave_out(self, *paths: str) -> None:
        """Notes paths that must not come in, although a folder above is taken."""
        self.left_out.update(dict.fromkeys(paths))


def _takes_all(pattern: str) -> bool:
    """Whether a pattern names a folder (or ``**`` below it), so that new files in it belong to it."""
    plain = pattern.removesuffix("/**").removesuffix("**")
    return not pattern.startswith("!") and literal_prefix(plain) == plain.strip("/").removeprefix("./").removeprefix(
        "."
    )


def _above(path: str) -> list[str]:
    """The folders of a path, the project first."""
    parts = path.split("/")[:-1]
    return [".", *("/".join(parts[: count + 1]) for count in range(len(parts)))]


def _inside(path: str, other: str) -> bool:
    return path != other and (other == "." or path.startswith(f"{other}/"))


def ignore_file(context: Context, own: str, ignored: tuple[str, ...], name: str) -> str:
    """The ``.dockerignore`` of a Dockerfile ``name``: nothing but what its stages copy.

    ``own`` is the project's own ``.dockerignore``, ``ignored`` further patterns of the project.
    """
    where = f"{name}.dockerignore"
    lines = [
        f"# What {name} sees of the project: everything is left out but what its stages copy or mount.",
        "# A path that a new COPY needs gets a line of its own here, as !path.",
    ]
    if "." not in context.taken:
        kept = [path for path in context.taken if not any(_inside(path, other) for other in context.taken)]
        lines += ["*", *(f"!{_pattern(path, where)}" for path in sorted(kept))]
    lines += ["", "# and of those folders not:"]
    more = [*_FOLDERS, *(_pattern(path, where) for path in context.left_out)]
    lines += [line for line in more if not _holds_taken(line, context)]
    rules = [line.strip() for line in own.splitlines() if line.strip() and not line.strip().startswith("#")]
    rules += [line for line in (*_git_ignored(context.tree), *ignored) if line not in rules]
    if rules:
        lines += ["", "# as .dockerignore, .gitignore and 'ignore' of lamella.toml say:"]
        lines += [check_text(rule, where) for rule in rules]
    return "\n".join(lines) + "\n"


def _git_ignored(tree: Tree) -> list[str]:
    """Rules of ``.gitignore`` files as Docker writes them: git's are not anchored unless they hold a slash
    (gitignore(5)), Docker's always are.
    """
    rules: list[str] = []
    for path in tree.paths(("**/.gitignore",)):
        folder = posixpath.dirname(path)
        for line in tree.read(path).decode("utf-8", "replace").splitlines():
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            back, body = ("!", text[1:]) if text.startswith("!") else ("", text)
            anchored = "/" in body.rstrip("/")
            rule = body.strip("/") if anchored else f"**/{body.strip('/')}"
            rules.append(back + posixpath.join(folder, rule))
    return rules


def _pattern(path: str, where: str) -> str:
    """A path as a pattern that means only itself (moby/patternmatcher: backslash escapes)."""
    text = check_text(path, where)
    return "".join(f"\\{char}" if char in "*?[]\\!#" else char for char in text)


def _holds_taken(line: str, context: Context) -> bool:
    """Whether an ignored folder's name is one that a stage was given on purpose."""
    name = line.removeprefix("**/")
    return any(name in path.split("/") for path in context.taken)
