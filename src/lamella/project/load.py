"""``lamella.toml`` from bytes to a validated ``ProjectFile``; every problem of the file in one error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lamella.canonical import FrozenMap, digest_bytes
from lamella.errors import ConfigError, InternalError
from lamella.project.cells import PLATFORM, PROFILE, PROFILES, AxisPattern
from lamella.project.check import Checker, nearest
from lamella.project.decode import Decoder
from lamella.project.projectfile import ProjectFile
from lamella.project.references import check_references
from lamella.project.schema.grammar import ListOf, MapOf, Row, TableOf, Type, as_list, field_name, text
from lamella.project.schema.image import AXIS_PATTERN
from lamella.project.schema.root import CORE, PROJECT, root_rows
from lamella.project.template import RESERVED
from lamella.project.toml import Node, read_toml
from lamella.project.verify import verify_cells
from lamella.values import replace

if TYPE_CHECKING:
    from lamella.project.delivery import Delivery

__all__ = ["parse_project"]

_NODES = ("layer", "image")
_VARIED = ("when", "add")


def parse_project(data: bytes, *, file: str) -> ProjectFile:
    """The project file in ``data``; ``file`` is its name in messages.

    Raises ConfigError that carries every problem with line and column: TOML, unknown keys, types, forms, references,
    cycles, conflicts between ``when`` branches, variables without a value, tags that two cells would write.
    """
    root = read_toml(data, file=file)
    checker = Checker(file, _axes(root), _names(root, "args"))
    rows = root_rows(root.value)
    broken = _check(root, rows, checker)
    project = _project(root, rows, checker, broken, digest_bytes(data))
    check_references(project, checker, broken)
    _axis_rules(root, checker)
    if broken.isdisjoint(("project", "axes", "cells", "args", "image", "layer")):
        verify_cells(project, checker.problems, broken)
    if checker.problems:
        raise ConfigError.from_problems(tuple(set(checker.problems)))
    return project


def _axes(root: Node) -> FrozenMap[str, tuple[str, ...]]:
    """The axes as far as they are well formed, then profile, then platform; empty values when none are written."""
    found: dict[str, tuple[str, ...]] = {}
    for name, node in _names(root, "axes").items():
        items = node.value if isinstance(node.value, tuple) else ()
        found[name] = tuple(item.value for item in items if isinstance(item.value, str))
    platforms = found.pop(PLATFORM, ())
    return FrozenMap({**found, PROFILE: PROFILES, PLATFORM: platforms})


def _names(root: Node, table: str) -> Mapping[str, Any]:
    """The entries of a root table, as far as it is one."""
    node = root.value.get(table)
    return node.value if node is not None and isinstance(node.value, FrozenMap) else {}


def _check(root: Node, rows: Mapping[str, Row], checker: Checker) -> frozenset[str]:
    """Check every table; the result names those with problems: ``bench``, ``layer.app``."""
    broken: set[str] = set()
    for key, node in root.value.items():
        row = rows.get(key)
        if row is None:
            checker.report(node, f"unknown table {key!r}", nearest(key, rows), key=True)
        elif isinstance(row.type, MapOf) and isinstance(row.type.item, TableOf) and isinstance(node.value, FrozenMap):
            for name, item in node.value.items():
                entry = node._replace(value=FrozenMap({name: item}))
                if not _sound(entry, row.type, key, checker):
                    broken.add(f"{key}.{name}")
        else:
            extra = frozenset(_cycle_variables(root)) if key == "cycle" else frozenset()
            checker.extra = extra
            if not _sound(node, row.type, key, checker):
                broken.add(key)
            checker.extra = frozenset()
    if "project" not in root.value:
        checker.report(root, "the table [project] is missing", 'begin with [project], schema = 1 and name = "..."')
        broken.add("project")
    return frozenset(broken)


def _sound(node: Node, kind: Type, at: str, checker: Checker) -> bool:
    before = len(checker.problems)
    checker.value(node, kind, at)
    return len(checker.problems) == before


def _cycle_variables(root: Node) -> tuple[str, ...]:
    """The names that ``cycle.vars`` declares."""
    node = _names(root, "cycle").get("vars")
    items = node.value if node is not None and isinstance(node.value, tuple) else ()
    return tuple(item.value for item in items if isinstance(item.value, str))


def _project(root: Node, rows: Mapping[str, Row], checker: Checker, broken: frozenset[str], digest: str) -> ProjectFile:
    """The typed value of everything that is sound; broken tables are as if they were not there."""
    decoder = Decoder(checker.file, None, checker.problems)
    values = {key: _table(root, row, decoder, broken) for key, row in rows.items() if key not in _NODES}
    head, cells = values["project"], values["cells"]
    images = _sound_entries(root, "image", broken)
    return ProjectFile(
        file=checker.file,
        digest=digest,
        name=head["name"] or "",
        repository=_names(root, "project").get("repository"),
        version=head["version"],
        ignore=head["ignore"],
        axes=FrozenMap(checker.axes),
        exclude=cells["exclude"],
        allow_failure=cells["allow_failure"],
        args=values["args"],
        secrets=FrozenMap({name: replace(secret, name=name) for name, secret in values["secrets"].items()}),
        layers=_hoisted(_sound_entries(root, "layer", broken), checker),
        images=images,
        image_cells=FrozenMap({name: _image_cells(node, decoder) for name, node in images.items()}),
        cache=values["cache"],
        engine=values["engine"],
        root=root,
        tables=_delivery(values),
    )


def _delivery(values: dict[str, Any]) -> Delivery | None:
    """The tables beyond ``CORE``, or None when the file has none of them."""
    core = {row.key for row in CORE}
    others = {key: value for key, value in values.items() if key not in core}
    if not others:
        return None
    from lamella.project.delivery import Delivery

    return Delivery(**others)


def _table(root: Node, row: Row, decoder: Decoder, broken: frozenset[str]) -> Any:
    """The value of a root table; what is broken or absent has its defaults."""
    node = root.value.get(row.key)
    if isinstance(row.type, MapOf):
        entries = _sound_entries(root, row.key, broken) if row.key not in broken else FrozenMap()
        return FrozenMap({name: decoder.value(_bare(item), row.type.item) for name, item in entries.items()})
    if not isinstance(row.type, TableOf):
        raise InternalError(f"{row.key} is neither a table nor a table of tables")
    if row.key == "project" and row.key in broken:
        return FrozenMap({field_name(item.key): () if isinstance(item.type, ListOf) else None for item in PROJECT.rows})
    if node is None or row.key in broken:
        return None if row.nullable else decoder.table(root._replace(value=FrozenMap()), row.type.table)
    return decoder.table(node, row.type.table)


def _bare(node: Node) -> Node:
    """A table without its ``when`` and ``add``."""
    if not isinstance(node.value, FrozenMap) or not any(key in node.value for key in _VARIED):
        return node
    return node._replace(value=FrozenMap({k: v for k, v in node.value.items() if k not in _VARIED}))


def _sound_entries(root: Node, table: str, broken: frozenset[str]) -> FrozenMap[str, Node]:
    """The entries of a root table that passed the check."""
    return FrozenMap({name: node for name, node in _names(root, table).items() if f"{table}.{name}" not in broken})


def _image_cells(node: Node, decoder: Decoder) -> AxisPattern:
    cells = node.value.get("cells")
    found: AxisPattern = FrozenMap() if cells is None else decoder.value(cells, AXIS_PATTERN)
    return found


def _hoisted(layers: FrozenMap[str, Node], checker: Checker) -> FrozenMap[str, Node]:
    """Layers with the keys of ``[layer.N.base]`` moved to where they are otherwise written."""
    return FrozenMap({name: _hoist(node, f"layer.{name}", checker) for name, node in layers.items()})


def _hoist(node: Node, at: str, checker: Checker) -> Node:
    items: dict[str, Node] = dict(node.value)
    base = items.pop("base", None)
    for key, item in base.value.items() if base is not None else ():
        if key in items:
            checker.report(item, f"{at}.{key} is written twice, here and in line {items[key].key_line}", key=True)
        items[key] = item
    when = items.get("when")
    if when is not None:
        items["when"] = when._replace(
            value=FrozenMap(
                {
                    axis: by._replace(value=FrozenMap({k: _hoist(v, at, checker) for k, v in by.value.items()}))
                    for axis, by in when.value.items()
                }
            )
        )
    return node._replace(value=FrozenMap(items))


def _axis_rules(root: Node, checker: Checker) -> None:
    """Names of axes, values used once, patterns that name what exists, and at least one cell for each image."""
    for name, node in _names(root, "axes").items():
        if name == PROFILE or name in RESERVED:
            what = "built in: dev and prod" if name == PROFILE else "the name of a variable"
            checker.report(node, f"axes.{name}: {name} is {what}", "take another name", key=True)
        values = [item.value for item in node.value] if isinstance(node.value, tuple) else []
        for index, item in enumerate(node.value if values else ()):
            if item.value in values[:index]:
                checker.report(item, f"axes.{name}: {item.value!r} is listed twice")
            elif name == PLATFORM:
                checker.value(item, text("platform", constant=True), f"axes.{name}")
    for key in ("exclude", "allow_failure"):
        patterns = _names(root, "cells").get(key)
        for pattern in patterns.value if patterns is not None and isinstance(patterns.value, tuple) else ():
            _pattern(pattern, f"cells.{key}", checker)
    for name, node in _names(root, "image").items():
        if isinstance(node.value, FrozenMap) and "cells" in node.value:
            _pattern(node.value["cells"], f"image.{name}.cells", checker)
    for table, key in (("check", "only"), ("channel", "only")):
        for name, node in _names(root, table).items():
            if isinstance(node.value, FrozenMap) and key in node.value:
                _pattern(node.value[key], f"{table}.{name}.{key}", checker)


def _pattern(node: Node, at: str, checker: Checker) -> None:
    """A pattern names axes and values that exist."""
    if not isinstance(node.value, FrozenMap) or not isinstance(AXIS_PATTERN.item, ListOf):
        return
    for axis, item in node.value.items():
        if axis not in checker.axes:
            checker.report(item, f"{at}: there is no axis {axis!r}", nearest(axis, checker.axes), key=True)
            continue
        names = as_list(AXIS_PATTERN.item, item).value
        for value in names if isinstance(names, tuple) else ():
            checker.axis_values(value, axis, (value.value,), at)
