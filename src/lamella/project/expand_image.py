"""One image's effective table as an ``ImageSpec``."""

from __future__ import annotations

from typing import Any

from lamella.canonical import FrozenMap
from lamella.project.cells import PLATFORM, PROFILE, Cell
from lamella.project.decode import Decoder
from lamella.project.formats import FORMATS
from lamella.project.schema.grammar import Text, text
from lamella.project.schema.image import IMAGE
from lamella.project.spec import HealthcheckSpec, ImageSpec, Position
from lamella.project.template import Scope, parse_template, platform_variables
from lamella.project.toml import Node
from lamella.values import dataclass, replace

__all__ = ["ImageResult", "TagNode", "build_image", "local_name"]

_ROWS = tuple(row for row in IMAGE.rows if row.key not in ("tags", "cells"))


@dataclass(frozen=True, slots=True)
class TagNode:
    """A tag of an image and where it is written; ``single``: it names one platform's manifest, not an index."""

    tag: str
    single: bool
    node: Node


@dataclass(frozen=True, slots=True)
class ImageResult:
    """An image's value (None when it has problems), its tags, and the names of its layers with their places."""

    spec: ImageSpec | None
    tags: tuple[TagNode, ...]
    layers: tuple[tuple[str, Node], ...]


def build_image(
    name: str, node: Node, cell: Cell, decoder: Decoder, *, repository: Node | None, local: str, allow_failure: bool
) -> ImageResult:
    """The image ``name`` from its effective table; problems go to the decoder.

    ``repository`` is the project's, ``local`` the image's name in local stores.
    """
    before = len(decoder.problems)
    values = decoder.fields(node, IMAGE, _ROWS)
    layers = _layers(name, node, values, decoder)
    if values["repository"] is None and repository is not None:
        values["repository"] = decoder.text(repository, text("repository"))
    _defaults_need_a_file(name, node, values, decoder)
    if values["healthcheck"] is not None:
        values["healthcheck"] = _with_port(values["healthcheck"], values["expose"])
    tags = _tags(node, cell, decoder)
    if len(decoder.problems) > before:
        return ImageResult(None, tags, layers)
    spec = ImageSpec(
        name=name,
        local_name=local,
        tags=tuple(dict.fromkeys(tag.tag for tag in tags)),
        manifest_tags=tuple(dict.fromkeys(tag.tag for tag in tags if tag.single)),
        tag_templates=FrozenMap({tag.tag: parse_template(tag.node.value) for tag in reversed(tags)}),
        allow_failure=allow_failure,
        variables=tuple(sorted(decoder.used)),
        position=Position(decoder.file, node.line, node.column),
        **values,
    )
    return ImageResult(spec, tags, layers)


def _layers(name: str, node: Node, values: dict[str, Any], decoder: Decoder) -> tuple[tuple[str, Node], ...]:
    """The layers' names with their places; an image without any needs ``pin``, a layer counts once."""
    if not values["layers"] and values["pin"] is None:
        decoder.report(node, f"image.{name} has no layers", "list them, the base first, or pin a published image")
    written = node.value["layers"].value if "layers" in node.value else ()
    found: list[tuple[str, Node]] = []
    for layer, at in zip(values["layers"], written, strict=True):
        if any(layer == other for other, _ in found):
            decoder.report(at, f"image.{name}: layer {layer!r} is listed twice")
        else:
            found.append((layer, at))
    return tuple(found)


def _defaults_need_a_file(name: str, node: Node, values: dict[str, Any], decoder: Decoder) -> None:
    defaults = values["defaults"]
    if defaults is not None and defaults.as_ == "file" and defaults.file is None:
        at = node.value["defaults"]
        decoder.report(at, f"image.{name}.defaults has no file to write", 'add file = "/path.yaml", or as = "env"')


def _with_port(health: HealthcheckSpec, expose: tuple[str, ...]) -> HealthcheckSpec:
    """The check with the first exposed port, when it asks over HTTP and names none."""
    if health.http is None or health.port is not None or not expose or expose[0] is None:
        return health
    return replace(health, port=int(expose[0].partition("/")[0]))


def _tags(node: Node, cell: Cell, decoder: Decoder) -> tuple[TagNode, ...]:
    """The image's tags, or those it has when none are written: the version, if there is one, and latest.

    ``+`` of a version becomes ``-``: it is legal in versions and not in tags.
    """
    scope = decoder.scope or Scope()
    version = scope.facts.version
    clean = replace(scope, facts=replace(scope.facts, version=version and version.replace("+", "-")))
    inner = Decoder(decoder.file, clean, decoder.problems, decoder.used)
    written = node.value.get("tags")
    if written is None and cell.profile == "dev":
        return ()
    if written is None:
        names = ("{version}", "latest") if version is not None else ("latest",)
        items = tuple(Node(tag, node.line, node.column, node.key_line, node.key_column) for tag in names)
    else:
        items = written.value
    found: list[TagNode] = []
    for item in items:
        tag = inner.text(item, Text(FORMATS["tag"]))
        if tag is not None:
            found.append(TagNode(tag, platform_variables(parse_template(item.value)), item))
    return tuple(found)


def local_name(project: str, image: str, cell: Cell, defaults: dict[str, str]) -> str:
    """The name in local stores: ``PROJECT/IMAGE:dev``, with the values of axes that are not at their default.

    >>> from lamella.canonical import FrozenMap
    >>> cell = Cell(FrozenMap({"accelerator": "cuda", "profile": "dev", "platform": "linux/amd64"}))
    >>> local_name("shop", "api", cell, {"accelerator": "cpu", "platform": "linux/amd64"})
    'shop/api:dev-cuda'
    """
    parts = [cell.profile]
    for axis, value in cell:
        if axis == PROFILE or defaults.get(axis) == value:
            continue
        short = value.partition("/")[2] if axis == PLATFORM else value
        parts.append(short.replace("/", "-").replace("+", "-"))
    return f"{project}/{image}:{'-'.join(parts)}"
