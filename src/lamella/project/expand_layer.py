"""One layer's effective table as a ``LayerSpec``, and the names it refers to."""

from __future__ import annotations

import posixpath
from typing import Any

from lamella.canonical import FrozenMap
from lamella.project.decode import Decoder
from lamella.project.schema.layer import KINDS, LAYER, PLACE_ROWS, STEP_ROWS
from lamella.project.spec import (
    WHOLE,
    BaseSpec,
    CargoSpec,
    FetchItem,
    FetchSpec,
    FileItem,
    FilesSpec,
    KindSpec,
    LayerSpec,
    Need,
    Position,
    RunSpec,
    ToolSpec,
)
from lamella.project.toml import Node
from lamella.values import dataclass

__all__ = ["CARGO_PROFILES", "LayerResult", "Use", "build_layer", "kinds_of"]

_TARGETS = {"python": "/opt/venv", "node": "/app", "files": "/app", "model": "/app"}
CARGO_PROFILES = {"dev": "dev", "prod": "release"}
"""Cargo's profile for each of ours (The Cargo Book, "Profiles")."""
_IDLE = {
    "files": ("on", "inputs", "scratch", "env", "secrets", "ssh", "network", "caches", "services"),
    "fetch": ("on", "needs", "inputs", "scratch", "env", "ssh", "network", "caches", "services"),
    "model": ("on", "needs", "inputs", "scratch", "env", "ssh", "network", "caches", "services"),
    "base": ("needs", "inputs", "scratch", "to", "owner", "mode"),
    "run": ("to", "owner", "mode"),
}
"""Keys that would do nothing in a layer of the kind, and are refused for it."""


@dataclass(frozen=True, slots=True)
class Use:
    """A reference from a layer to another: by which key, to which name, written where."""

    key: str
    name: str
    node: Node


@dataclass(frozen=True, slots=True)
class LayerResult:
    """A layer's value (None when it has problems) and the layers it uses."""

    spec: LayerSpec | None
    uses: tuple[Use, ...] = ()


def kinds_of(node: Node) -> list[str]:
    """The kinds whose keys an effective layer table has; ``needs`` alone is ``files``."""
    found = [kind for kind, keys in KINDS.items() if any(key in node.value for key in keys)]
    return found or (["files"] if "needs" in node.value else [])


def build_layer(name: str, node: Node, profile: str, decoder: Decoder) -> LayerResult:
    """The layer ``name`` from its effective table; problems go to the decoder."""
    before = len(decoder.problems)
    kinds = kinds_of(node)
    if len(kinds) != 1:
        _report_kinds(name, node, kinds, decoder)
        return LayerResult(None, _uses(node, {}))
    kind = kinds[0]
    for key in _IDLE.get(kind, ()):
        if key in node.value:
            decoder.report(node.value[key], f"layer.{name}.{key} does nothing in a {kind} layer")
    values = decoder.fields(node, LAYER)
    needs = _needs(name, node, kind, values, decoder)
    uses = _uses(node, values)
    if len(decoder.problems) > before:
        return LayerResult(None, uses)
    common = {row.key: values[row.key] for row in (*STEP_ROWS, *PLACE_ROWS)}
    spec = _kind(name, node, kind, values, profile, decoder)
    layer = LayerSpec(
        **{**common, "name": name, "spec": spec, "needs": needs, "to": _target(kind, values)},
        variables=tuple(sorted(decoder.used)),
        position=Position(decoder.file, node.line, node.column),
    )
    return LayerResult(layer if len(decoder.problems) == before else None, uses)


def _report_kinds(name: str, node: Node, kinds: list[str], decoder: Decoder) -> None:
    """No kind, or more than one: at the first key of the second kind."""
    if not kinds:
        decoder.report(node, f"layer.{name} has no kind", f"write one of {', '.join(KINDS)}, or needs")
        return
    second = next(key for key in KINDS[kinds[1]] if key in node.value)
    decoder.report(
        node.value[second],
        f"layer.{name} is {' and '.join(kinds)}; a layer has exactly one kind",
        "make two layers and list both in the image",
    )


def _target(kind: str, values: dict[str, Any]) -> str | None:
    """``to``, or the kind's own target; None for kinds without one and for a binary not named yet.

    A folder written for a binary that is not named yet keeps its ``/`` at the end.
    """
    written: str | None = values["to"]
    if kind == "cargo":
        binary = values["cargo"]["bin"]
        target = written or "/app/"
        if target.endswith("/"):  # a folder: the binary's name follows, once it is known
            return target + binary if binary is not None else written
        return target
    if kind == "model" and (source := values["model"].file or values["model"].url):
        return _placed(written or "/app/", source.partition("?")[0])  # a file's full path, unless it ends in '/'
    if written is None:
        return _TARGETS.get(kind)
    return written if kind == "fetch" else written.rstrip("/") or "/"


def _needs(name: str, node: Node, kind: str, values: dict[str, Any], decoder: Decoder) -> tuple[Need, ...]:
    """``needs`` with every entry as a map of source to target."""
    found: list[Need] = []
    for layer, paths in values["needs"].items():
        mapping = FrozenMap({WHOLE: paths}) if isinstance(paths, str) else paths
        if kind == "files" and any(path is not None and not path.startswith("/") for path in mapping.values()):
            decoder.report(
                node.value["needs"].value[layer],
                f"layer.{name}.needs.{layer}: a files layer has no step, so this is a path in the image",
                "start it with '/'",
            )
        found.append(Need(layer, mapping))
    return tuple(found)


def _uses(node: Node, values: dict[str, Any]) -> tuple[Use, ...]:
    """The other layers this one refers to."""
    found: list[Use] = []
    on = values.get("on")
    if on is not None:
        found.append(Use("on", on, node.value["on"]))
    if "needs" in node.value and values:
        found += [Use("needs", layer, item) for layer, item in node.value["needs"].value.items()]
    python = values.get("python")
    if python is not None and python.above is not None:
        found.append(Use("above", python.above, node.value["python"].value["above"]))
    return tuple(found)


def _kind(name: str, node: Node, kind: str, values: dict[str, Any], profile: str, decoder: Decoder) -> KindSpec:
    """The kind's own value."""
    if kind == "base":
        tools = tuple(_tool(tool) for tool in values["tools"])
        names = ("from_", "bootstrap", "host", "apt", "dnf", "zypper", "apk", "repos", "users")
        return BaseSpec(**{key: values[key] for key in names}, tools=tools)
    if kind == "files":
        return FilesSpec(tuple(_file(item, values) for item in values["files"]))
    if kind == "fetch":
        items = zip(values["fetch"], node.value["fetch"].value, strict=True)
        return FetchSpec(tuple(_fetch(name, item, at, values, decoder) for item, at in items))
    if kind == "run":
        return RunSpec(values["run"])
    if kind == "cargo":
        cargo = values["cargo"]
        return CargoSpec(**{**cargo, "profile": cargo["profile"] or CARGO_PROFILES[profile]})
    spec: KindSpec = values[kind]
    return spec


def _tool(text: str) -> ToolSpec:
    """``[SOURCE:]NAME[@VERSION]``; a leading ``@`` belongs to the name (a scoped npm package)."""
    source, colon, rest = text.partition(":")
    if not colon:
        source, rest = "", text
    name, _, version = rest[1:].partition("@")
    return ToolSpec(rest[0] + name, version or None, source or None)


def _placed(target: str, source: str) -> str:
    """``target``, with the source's name appended when it ends in ``/``."""
    return target + posixpath.basename(source.rstrip("/")) if target.endswith("/") else target


def _file(item: FrozenMap[str, Any], values: dict[str, Any]) -> FileItem:
    """One copy with the layer's owner, mode and target where it has none of its own."""
    source = posixpath.normpath(item["from_"])
    base = values["to"] or _TARGETS["files"]
    target = item["to"] or posixpath.normpath(posixpath.join(base, source))
    return FileItem(
        from_=source,
        to=_placed(target, source),
        owner=item["owner"] or values["owner"],
        mode=values["mode"] if item["mode"] is None else item["mode"],
    )


def _fetch(name: str, item: FrozenMap[str, Any], node: Node, values: dict[str, Any], decoder: Decoder) -> FetchItem:
    """One way to get a file; a URL needs a digest or a list of them."""
    target = item["to"] or values["to"]
    if target is None:
        decoder.report(node, f"layer.{name}.fetch needs a to", "write it here or in the layer")
        target = "/"
    if item["url"] is not None and item["sha256"] is None and item["sums"] is None:
        decoder.report(node, f"layer.{name}.fetch: what the URL gives is not checked", "add sha256, or sums")
    source = item["extract"] or item["file"] or item["url"].partition("?")[0]
    mode = values["mode"] if item["mode"] is None else item["mode"]
    return FetchItem(**{**item, "to": _placed(target, source), "mode": mode})
