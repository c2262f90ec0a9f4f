"""One Cargo package as values: dependencies of every kind, features, library, binaries, build script."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.stacks.cargo.document import DEPENDENCY_TABLES, Document
from lamella.stacks.cargo.places import joined
from lamella.values import dataclass, field

__all__ = ["Binary", "Dependency", "Package", "read_package"]

_SOURCE_KEYS = ("git", "branch", "tag", "rev", "registry", "registry-index")


@dataclass(frozen=True, slots=True)
class Dependency:
    """One entry of a dependency table.

    ``key`` is its name in the manifest, ``package`` the package's own name. ``kind`` is ``normal``, ``build`` or
    ``dev``; ``target`` the ``cfg(...)`` text or triple of its table, empty for all. ``path`` is the directory of a
    path dependency relative to the project, None for others. ``source`` holds git and registry keys as written.
    """

    key: str
    package: str
    kind: str
    target: str = ""
    requirement: str = ""
    features: tuple[str, ...] = ()
    default_features: bool = True
    optional: bool = False
    path: str | None = None
    source: FrozenMap[str, str] = EMPTY_MAP
    where: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Binary:
    """A binary target; ``path`` is relative to the package."""

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Package:
    """A package with everything inherited filled in.

    ``directory`` is relative to the project. ``raw`` is the whole manifest after inheritance, read only by
    agreement. ``crate_types`` are the library's; ``proc_macro`` says that it is a procedural macro.
    """

    name: str
    version: str
    directory: str
    edition: str
    dependencies: tuple[Dependency, ...]
    features: FrozenMap[str, tuple[str, ...]]
    binaries: tuple[Binary, ...]
    has_library: bool
    proc_macro: bool
    crate_types: tuple[str, ...]
    build_script: bool
    default_run: str
    rust_version: str
    document: Document = field(compare=False, repr=False)
    raw: Mapping[str, Any] = field(compare=False, repr=False, default_factory=dict)

    @property
    def implied_features(self) -> Mapping[str, tuple[str, ...]]:
        """Features as Cargo sees them: an optional dependency that no feature names as ``dep:`` is one as well."""
        hidden = {value[4:] for values in self.features.values() for value in values if value.startswith("dep:")}
        optional = {dep.key for dep in self.dependencies if dep.optional}
        return {**{key: (f"dep:{key}",) for key in optional - hidden}, **self.features}


def read_package(document: Document, raw: dict[str, Any], files: Collection[str]) -> Package:
    """The package of a manifest whose inheritance is resolved in ``raw``.

    ``files`` are paths in the package's directory that decide about targets: ``build.rs``, ``src/lib.rs``,
    ``src/main.rs``, ``src/bin/...``. Raises ConfigError at the place of what is wrong.
    """
    table = _table(document, raw, "package" if "package" in raw or "project" not in raw else "project")
    name = table.get("name")
    if not isinstance(name, str) or not name:
        raise document.error(("package",), "the package has no name")
    library = _table(document, raw, "lib")
    proc_macro = library.get("proc-macro", library.get("proc_macro")) is True
    return Package(
        name=name,
        version=_text(document, table, "version", "0.0.0"),
        directory=document.directory,
        edition=_text(document, table, "edition", "2015"),
        dependencies=_all_dependencies(document, raw),
        features=_features(document, raw),
        binaries=_binaries(document, raw, table, name, files),
        has_library="lib" in raw or "src/lib.rs" in files,
        proc_macro=proc_macro,
        crate_types=tuple(library.get("crate-type", library.get("crate_type", ())) or ()),
        build_script=_has_build_script(table.get("build"), files),
        default_run=_text(document, table, "default-run", ""),
        rust_version=_text(document, table, "rust-version", ""),
        document=document,
        raw=raw,
    )


def _table(document: Document, raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = raw.get(name, {})
    if not isinstance(value, dict):
        raise document.error((name,), f"{name} must be a table")
    return value


def _text(document: Document, table: Mapping[str, Any], key: str, default: str) -> str:
    value = table.get(key, default)
    if not isinstance(value, str):
        raise document.error(("package", key), f"package.{key} must be a string")
    return value


def _has_build_script(value: Any, files: Collection[str]) -> bool:
    return "build.rs" in files if value is None or value is True else bool(value)


def _features(document: Document, raw: Mapping[str, Any]) -> FrozenMap[str, tuple[str, ...]]:
    table = _table(document, raw, "features")
    for name, values in table.items():
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise document.error(("features", name), f"feature {name} must be an array of strings")
    return FrozenMap({name: tuple(values) for name, values in table.items()})


def _binaries(
    document: Document, raw: Mapping[str, Any], package: Mapping[str, Any], name: str, files: Collection[str]
) -> tuple[Binary, ...]:
    """Written and found binaries, by name (Cargo book, "Target auto-discovery")."""
    written = raw.get("bin", [])
    if not isinstance(written, list) or not all(isinstance(item, dict) for item in written):
        raise document.error(("bin",), "binaries are written as [[bin]] tables")
    found: dict[str, Binary] = {}
    if package.get("autobins") is not False:
        found = {binary.name: binary for binary in _found_binaries(name, files)}
    for item in written:
        binary = str(item.get("name", name))
        default = found[binary].path if binary in found else _default_path(binary, name, files)
        path = str(item.get("path", default))
        found = {key: value for key, value in found.items() if value.path != path}
        found[binary] = Binary(binary, path)
    return tuple(sorted(found.values(), key=lambda binary: binary.name))


def _default_path(binary: str, package: str, files: Collection[str]) -> str:
    if binary == package and "src/main.rs" in files:
        return "src/main.rs"
    folder = f"src/bin/{binary}/main.rs"
    return folder if folder in files else f"src/bin/{binary}.rs"


def _found_binaries(name: str, files: Collection[str]) -> list[Binary]:
    found = [Binary(name, "src/main.rs")] if "src/main.rs" in files else []
    for path in files:
        parts = path.split("/")
        if parts[:2] == ["src", "bin"] and len(parts) == 3 and path.endswith(".rs"):
            found.append(Binary(parts[2].removesuffix(".rs"), path))
        elif parts[:2] == ["src", "bin"] and len(parts) == 4 and parts[3] == "main.rs":
            found.append(Binary(parts[2], path))
    return found


def _all_dependencies(document: Document, raw: Mapping[str, Any]) -> tuple[Dependency, ...]:
    found: list[Dependency] = []
    for table, kind in DEPENDENCY_TABLES.items():
        found += _dependencies(document, raw.get(table, {}), kind, "", (table,))
    for target, tables in _table(document, raw, "target").items():
        for table, kind in DEPENDENCY_TABLES.items():
            found += _dependencies(document, tables.get(table, {}), kind, target, ("target", target, table))
    return tuple(found)


def _dependencies(
    document: Document, table: Mapping[str, Any], kind: str, target: str, where: tuple[str, ...]
) -> list[Dependency]:
    return [_dependency(document, key, value, kind, target, (*where, key)) for key, value in table.items()]


def _dependency(document: Document, key: str, value: Any, kind: str, target: str, where: tuple[str, ...]) -> Dependency:
    if isinstance(value, str):
        return Dependency(key, key, kind, target, value, where=where)
    if not isinstance(value, dict):
        raise document.error(where, f"dependency {key} must be a version or a table")
    path = value.get("path")
    try:
        return Dependency(
            key=key,
            package=str(value.get("package", key)),
            kind=kind,
            target=target,
            requirement=str(value.get("version", "")),
            features=tuple(str(feature) for feature in value.get("features", ())),
            default_features=bool(value.get("default-features", value.get("default_features", True))),
            optional=bool(value.get("optional", False)),
            path=None if path is None else joined(document.directory, str(path)),
            source=FrozenMap({name: str(value[name]) for name in _SOURCE_KEYS if name in value}),
            where=where,
        )
    except TypeError:
        raise document.error(where, f"dependency {key} has a value of a wrong type") from None
