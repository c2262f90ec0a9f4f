"""What the own packages of a workspace ask of third-party ones, for one selection.

Cargo resolves features of third-party packages; the feature tables of the own ones are in the manifests, so
which of their optional dependencies and features are on can be read off. The rules are those of Cargo's feature
resolver (``core/resolver/features.rs``): version 2 and later keep host and target apart, leave out dev
dependencies and tables of other platforms; version 1 unites them all. A mistake here costs time, never
correctness: the final step runs with the real manifests and reports what it compiled again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from lamella.stacks.cargo.cfg import Target, decide
from lamella.stacks.cargo.package import Dependency, Package
from lamella.values import dataclass, field

__all__ = ["Request", "Selected", "requests_of"]


@dataclass(frozen=True, slots=True)
class Selected:
    """Which package is built how. ``kept`` are directories of path packages that count as third-party."""

    package: str
    features: tuple[str, ...]
    default_features: bool
    resolver: int
    target: Target
    host: Target
    kept: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Request:
    """An own package asks for a third-party one.

    ``role`` is where the answer is compiled for: ``normal`` the target, ``build`` the host, ``dev`` only united
    by resolver 1. ``condition`` is the table's ``cfg`` where it could not be decided. ``shared`` says that it
    is asked below a library that is linked by itself too (cdylib, dylib, staticlib): link-time optimisation
    compiles it otherwise.
    """

    owner: Package
    dependency: Dependency
    role: str
    condition: str
    features: tuple[str, ...]
    default_features: bool
    shared: bool = False


@dataclass(slots=True)
class _Node:
    """An own package for host or target: its features that are on, optional dependencies, features asked of
    others.
    """

    package: Package
    host: bool
    features: set[str] = field(default_factory=set)
    optional: set[str] = field(default_factory=set)
    asked: dict[str, set[str]] = field(default_factory=dict)
    weak: dict[str, set[str]] = field(default_factory=dict)
    seen: bool = False


def requests_of(packages: Iterable[Package], selected: Selected) -> tuple[Request, ...]:
    """All requests, each table entry of an own package at most once per role, in a stable order."""
    features = _Features({package.directory: package for package in packages}, selected)
    features.start()
    return tuple(_walk(features, selected))


class _Features:
    """The fixpoint over own packages."""

    def __init__(self, packages: Mapping[str, Package], selected: Selected) -> None:
        self.packages = packages
        self.selected = selected
        self.split = selected.resolver >= 2
        self.nodes: dict[tuple[str, bool], _Node] = {}

    def start(self) -> None:
        """Switches on what the selection asks for."""
        root = self.node(self.selected.package, host=False)
        self._visit(root)
        if self.selected.default_features:
            self._feature(root, "default")
        for name in self.selected.features:
            package, slash, feature = name.partition("/")
            self._value(root, feature if slash and package == root.package.name else name)

    def node(self, directory: str, *, host: bool) -> _Node:
        """The node of a package; host and target are one under resolver 1."""
        key = (directory, host and self.split)
        if key not in self.nodes:
            self.nodes[key] = _Node(self.packages[directory], key[1])
        return self.nodes[key]

    def is_own(self, dependency: Dependency) -> bool:
        """Whether a dependency is a path package whose manifests we read, not one that is kept as it is."""
        path = dependency.path
        return path is not None and path in self.packages and path not in self.selected.kept

    def edges(self, node: _Node) -> Iterator[tuple[Dependency, str]]:
        """Dependencies that may count for a node, each with its undecided condition."""
        is_root = node.package.directory == self.selected.package
        for dependency in node.package.dependencies:
            if dependency.kind == "dev" and (self.split or not is_root):
                continue
            if dependency.kind == "build" and not node.package.build_script:
                continue
            if not self.split:
                yield dependency, dependency.target
                continue
            decided = decide(dependency.target, self.selected.host if node.host else self.selected.target)
            if decided is not False:
                yield dependency, "" if decided else dependency.target

    def goes_to_host(self, node: _Node, dependency: Dependency) -> bool:
        """Whether what a node depends on is compiled for the host: build scripts' needs, procedural macros,
        theirs.
        """
        if node.host or dependency.kind == "build":
            return True
        return self.is_own(dependency) and self.packages[dependency.path or ""].proc_macro

    def _visit(self, node: _Node) -> None:
        if node.seen:
            return
        node.seen = True
        for dependency, _ in self.edges(node):
            if not dependency.optional:
                self._follow(node, dependency)

    def _follow(self, node: _Node, dependency: Dependency) -> None:
        """Switches on in the dependency what its table entry asks for."""
        if not self.is_own(dependency):
            return
        child = self.node(dependency.path or "", host=self.goes_to_host(node, dependency))
        self._visit(child)
        if dependency.default_features:
            self._feature(child, "default")
        for feature in dependency.features:
            self._feature(child, feature)

    def _feature(self, node: _Node, name: str) -> None:
        if name in node.features:
            return
        node.features.add(name)
        for value in node.package.implied_features.get(name, ()):
            self._value(node, value)

    def _value(self, node: _Node, value: str) -> None:
        """One element of a feature's list: ``feature``, ``dep:name``, ``name/feature`` or ``name?/feature``."""
        if value.startswith("dep:"):
            self._optional(node, value[4:])
            return
        name, slash, feature = value.partition("/")
        if not slash:
            self._feature(node, name)
            return
        weak = name.endswith("?")
        name = name.removesuffix("?")
        if any(dep.optional for dep, _ in self.edges(node) if dep.key == name) and name not in node.optional:
            if weak:
                node.weak.setdefault(name, set()).add(feature)
                return
            self._optional(node, name)
            if name in node.package.implied_features:
                self._feature(node, name)
        self._ask(node, name, feature)

    def _optional(self, node: _Node, name: str) -> None:
        if name in node.optional:
            return
        node.optional.add(name)
        for dependency, _ in self.edges(node):
            if dependency.key == name and dependency.optional:
                self._follow(node, dependency)
        for feature in node.weak.pop(name, ()):
            self._ask(node, name, feature)

    def _ask(self, node: _Node, name: str, feature: str) -> None:
        """``name/feature``: a feature of one dependency."""
        node.asked.setdefault(name, set()).add(feature)
        for dependency, _ in self.edges(node):
            if dependency.key == name and self.is_own(dependency):
                child = self.node(dependency.path or "", host=self.goes_to_host(node, dependency))
                self._visit(child)
                self._feature(child, feature)


@dataclass(frozen=True, slots=True)
class _Step:
    """An own package on the walk: for which role it is compiled, and whether below a library that is linked by
    itself.
    """

    directory: str
    role: str
    shared: bool


def _walk(features: _Features, selected: Selected) -> Iterator[Request]:
    """Follows what is on from the selected package, with the role in which it is compiled."""
    todo = [_Step(selected.package, "normal", _is_linked(features.packages[selected.package]))]
    seen = set(todo)
    for step in todo:
        node = features.node(step.directory, host=step.role == "build")
        for dependency, condition in features.edges(node):
            if dependency.optional and dependency.key not in node.optional:
                continue
            role = _role(features, node, dependency, step.role)
            if not features.is_own(dependency):
                names = tuple(sorted({*dependency.features, *node.asked.get(dependency.key, ())}))
                shared = step.shared and role == "normal"
                yield Request(node.package, dependency, role, condition, names, dependency.default_features, shared)
            elif decide(dependency.target, selected.host if role == "build" else selected.target) is not False:
                child = features.packages[dependency.path or ""]
                shared = role == "normal" and (step.shared or _is_linked(child))
                if (inner := _Step(child.directory, role, shared)) not in seen:
                    seen.add(inner)
                    todo.append(inner)


def _is_linked(package: Package) -> bool:
    """Whether its library is linked by itself, besides being a part of others (Cargo's ``compiler/lto.rs``)."""
    return bool({"cdylib", "dylib", "staticlib"} & set(package.crate_types))


def _role(features: _Features, node: _Node, dependency: Dependency, role: str) -> str:
    """Host wins over dev, dev over target; both are inherited."""
    if role == "build" or features.goes_to_host(node, dependency):
        return "build"
    return "dev" if role == "dev" or dependency.kind == "dev" else "normal"
