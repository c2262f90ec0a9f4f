"""Names that refer to other tables: every one must exist, and none may lead back to itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lamella.project.check import Checker, nearest
from lamella.project.projectfile import ProjectFile
from lamella.project.toml import Node

__all__ = ["GATES", "check_references"]

GATES = ("lint", "test", "deny", "dockerfile", "image", "smoke", "scan")
"""Gates that exist without a table."""


def check_references(project: ProjectFile, checker: Checker, broken: frozenset[str]) -> None:
    """Report names that are not there. Tables with problems of their own (``broken``) still count as there."""
    names = _Names(project, checker, broken)
    layers, images = names.of("layer"), names.of("image")
    services, checks, generators = names.of("service"), names.of("check"), names.of("generate")
    for table in ("generate", "check"):
        names.every(table, ("on",), layers, "layer")
        names.keys(table, ("needs",), layers, "layer")
        names.every(table, ("secrets",), names.of("secrets"), "secret")
        names.every(table, ("services",), services, "service")
    names.every("generate", ("after",), generators, "generator")
    names.every("check", ("image",), (*images, "*"), "image")
    names.every("check", ("build",), images, "image")
    names.every("service", ("image",), images, "image")
    names.every("service", ("after",), services, "service")
    names.every("service", ("dev", "on"), layers, "layer")
    names.every("channel", ("images",), images, "image")
    names.every("channel", ("checks",), (*checks, *generators, *GATES), "gate")
    names.every("channel", ("inputs",), names.of("args"), "argument")
    names.every("channel", ("promote",), names.of("channel"), "channel")
    names.every("image", ("extends",), images, "image")
    for table, key in (("image", "extends"), ("service", "after"), ("generate", "after"), ("channel", "promote")):
        names.rings(table, key)
    names.root_keys("cycle", "export", layers, "layer")
    names.root_keys("bench", "reuse", (*layers, *images), "layer or image")
    fallbacks = {"none", *names.of("device"), *(value for values in project.axes.values() for value in values)}
    names.every("device", ("fallback",), fallbacks, "device")


class _Names:
    """Looks names up in the raw tables."""

    def __init__(self, project: ProjectFile, checker: Checker, broken: frozenset[str]) -> None:
        self._project = project
        self._checker = checker
        self._broken = broken

    def of(self, table: str) -> tuple[str, ...]:
        """The names of a root table's entries."""
        return tuple(self._entries(table))

    def _entries(self, table: str) -> Mapping[str, Node]:
        return self._project.root_names(table)

    def _sound(self, table: str, path: tuple[str, ...]) -> Iterable[tuple[str, Node]]:
        """The nodes at ``path`` in the entries that passed the check."""
        for name, entry in self._entries(table).items():
            if f"{table}.{name}" in self._broken:
                continue
            found: Node | None = entry
            for key in path:
                found = found.value.get(key) if found is not None else None
            if found is not None:
                yield name, found

    def every(self, table: str, path: tuple[str, ...], known: Iterable[str], word: str) -> None:
        """The string, or every string of the array, at ``path`` names one of ``known``."""
        names = set(known)
        for name, node in self._sound(table, path):
            for item in node.value if isinstance(node.value, tuple) else (node,):
                self._one(item, item.value, names, word, f"{table}.{name}.{'.'.join(path)}")

    def keys(self, table: str, path: tuple[str, ...], known: Iterable[str], word: str) -> None:
        """Every key of the table at ``path`` names one of ``known``."""
        names = set(known)
        for name, node in self._sound(table, path):
            for key, item in node.value.items():
                self._one(item, key, names, word, f"{table}.{name}.{'.'.join(path)}", key=True)

    def root_keys(self, table: str, key: str, known: Iterable[str], word: str) -> None:
        """The same for a table that is not repeated."""
        node = self._entries(table).get(key)
        if table in self._broken or node is None:
            return
        for name, item in node.value.items():
            self._one(item, name, set(known), word, f"{table}.{key}", key=True)

    def _one(self, node: Node, name: str, known: set[str], word: str, at: str, *, key: bool = False) -> None:
        if name not in known and "{" not in name:
            self._checker.report(node, f"{at}: there is no {word} {name!r}", nearest(name, known), key=key)

    def rings(self, table: str, key: str) -> None:
        """References of one table among its own entries never lead back to where they began."""
        edges: dict[str, tuple[Node, ...]] = {
            name: node.value if isinstance(node.value, tuple) else (node,) for name, node in self._sound(table, (key,))
        }
        done: set[str] = set()

        def visit(name: str, path: tuple[str, ...]) -> None:
            for item in edges.get(name, ()):
                target = item.value
                if target in path:
                    ring = " -> ".join((*path[path.index(target) :], target))
                    self._checker.report(item, f"{table}.{name}.{key} leads back to itself: {ring}")
                elif target not in done:
                    visit(target, (*path, target))
            done.add(name)

        for name in edges:
            if name not in done:
                visit(name, (name,))
