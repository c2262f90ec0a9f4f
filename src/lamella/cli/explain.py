"""``lamella explain``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from lamella.api.session import Session
from lamella.build.selection import Selection
from lamella.cli.messages import format_seconds, paint
from lamella.cli.options import complete_layers, file_option, format_option, selection_from, selectors, source_options
from lamella.cli.report import change_json, change_lines
from lamella.cli.session import project_session
from lamella.errors import ConfigError
from lamella.graph.keys import KeyParts
from lamella.graph.op import SourceOp
from lamella.graph.record import Record
from lamella.planning.plan import Plan, PlannedVertex

__all__ = ["command"]

_WIDTH = 110


@click.command("explain")
@click.argument("layer", shell_complete=complete_layers)
@selectors
@file_option
@source_options
@format_option
def command(
    layer: str,
    images: tuple[str, ...],
    profile: str | None,
    only: tuple[str, ...],
    platforms: tuple[str, ...],
    every: bool,
    file: Path | None,
    build_args: tuple[str, ...],
    contexts: tuple[str, ...],
    output_format: str,
) -> None:
    """Say which inputs make the key of LAYER, and what changed since it was last built.

    A key is the digest of the parts that are shown: the op with its commands, environment and mounts, the platforms,
    and the content of each input. Only an equal key finds a record.

    \b
    lamella explain app               in the default cell of every image that has it
    lamella explain app --prod
    lamella explain app:deps          the dependency part alone
    """
    session = project_session(file, build_args, contexts)
    plan, vertices = _vertices(session, layer, selection_from(images, profile, only, platforms, every))
    if output_format == "json":
        rows = [_json(session, vertex) for vertex in vertices]
        click.echo(json.dumps({"format": 1, "layer": layer, "vertices": rows}, indent=2, ensure_ascii=False))
        return
    for number, vertex in enumerate(vertices):
        if number:
            click.echo("")
        for line in _lines(session, plan, vertex):
            click.echo(line)


def _vertices(session: Session, name: str, selection: Selection) -> tuple[Plan, tuple[PlannedVertex, ...]]:
    """The vertices of a layer, or of one part of it (``app:deps``), with the plan they are in."""
    layer = name.partition(":")[0]
    known = sorted(session.project.layers)
    if layer not in known:
        import difflib

        near = difflib.get_close_matches(layer, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"layers are {', '.join(known)}"
        raise ConfigError(f"there is no layer {layer!r} in {session.project.file}", hint=hint)
    plan = session.plan(selection)
    found = tuple(vertex for vertex in plan.vertices if vertex.layer == layer)
    if not found:  # no image of the selection has it
        plan = session.plan(
            Selection(selection.images, layer, selection.profile, selection.only, selection.platforms, selection.all)
        )
        found = tuple(vertex for vertex in plan.vertices if vertex.layer == layer)
    if name != layer:
        parts = tuple(vertex for vertex in found if vertex.name == name)
        if not parts:
            raise ConfigError(
                f"layer {layer!r} has no part {name!r}", hint=f"it has {', '.join(v.name for v in found) or 'none'}"
            )
        found = parts
    if not found:
        raise ConfigError(
            f"layer {layer!r} has no vertex of its own: its files go into the images as they are",
            hint="see: lamella plan",
        )
    return plan, found


def _lines(session: Session, plan: Plan, vertex: PlannedVertex) -> list[str]:
    lines = [f"{paint(vertex.name, 'bold')}  {vertex.status}: {vertex.why}"]
    if vertex.parts is None:
        inputs = plan.graph.definition[vertex.vertex].inputs
        waiting = [edge.name for edge in inputs if edge.vertex not in plan.results]
        return [*lines, f"  key        not known until {', '.join(waiting) or 'its inputs'} is built"]
    lines.append(f"  key        {vertex.key}")
    lines += [f"  {line}" for line in _part_lines(plan, vertex, vertex.parts)]
    if vertex.record is not None:
        lines += [f"  {line}" for line in _record_lines(session, vertex.record)]
    last = vertex.record or session.store.lookup.latest(session.project.name, vertex.name)
    if vertex.changes and last is not None:
        lines.append(f"  changed since the last record ({_when(last.created)}):")
        lines += [f"    {line}" for line in change_lines(vertex.changes)]
    return lines


def _part_lines(plan: Plan, vertex: PlannedVertex, parts: KeyParts) -> list[str]:
    op = json.loads(parts.op)
    lines = [f"op         {op.pop('kind')}, schema {parts.schema}"]
    for name, value in sorted(op.items()):
        if value not in (None, "", [], {}, False):
            lines += _value_lines(name, value)
    lines.append(f"platform   {parts.platform}, runs on {parts.execution}")
    edges = plan.graph.definition[vertex.vertex].inputs
    for (name, selection, digest), edge in zip(parts.inputs, edges, strict=True):
        source = plan.graph.definition[edge.vertex].op
        what = " ".join(source.patterns) if isinstance(source, SourceOp) else _selected(selection)
        lines.append(_cut(f"input      {name}  {digest[:19]}  {what}"))
    return lines


def _value_lines(name: str, value: Any) -> list[str]:
    """A part of the op: lists and objects one item per line."""
    label = f"  {name:<9}"
    if isinstance(value, dict) and value:
        items = [f"{key}={item if isinstance(item, str) else _compact(item)}" for key, item in sorted(value.items())]
    elif isinstance(value, list):
        items = [_command(item) if isinstance(item, dict) and "argv" in item else _compact(item) for item in value]
    else:
        items = [value if isinstance(value, str) else _compact(value)]
    return [_cut(f"{label if not number else ' ' * len(label)} {item}") for number, item in enumerate(items)]


def _command(item: dict[str, Any]) -> str:
    network = " (network)" if item.get("network") else ""
    return " ".join(item["argv"]) + network


def _compact(value: Any) -> str:
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if item not in (None, "", [], {}, False, 0)}
        return " ".join(f"{key}={item if isinstance(item, str) else _compact(item)}" for key, item in kept.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cut(line: str) -> str:
    flat = " ".join(line.splitlines())
    return flat if len(flat) <= _WIDTH else f"{flat[: _WIDTH - 3]}..."


def _selected(selection: str) -> str:
    """Which part of an input counts, in words."""
    data = json.loads(selection)
    of = data["of"]
    match data["kind"]:
        case "paths":
            return " ".join(of["patterns"])
        case "facts":
            return f"facts of {' '.join(of['paths'])}"
        case "rootfs":
            return "its key and package set"
        case _:
            return ""


def _record_lines(session: Session, record: Record) -> list[str]:
    how = f"{format_seconds(float(record.seconds))} on {record.machine or 'an unknown machine'}"
    lines = [
        f"record     {session.store.layout.record(record.key)}",
        f"           {_when(record.created)}, {how}{'' if record.hermetic else ', not hermetic: it had the network'}",
    ]
    if record.log:
        lines.append(f"log        {session.store.blobs.path(record.log)}")
    return lines + [f"evidence   {line}" for line in record.evidence.lines]


def _when(created: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _json(session: Session, vertex: PlannedVertex) -> dict[str, Any]:
    parts, record = vertex.parts, vertex.record
    return {
        "name": vertex.name,
        "status": vertex.status,
        "why": vertex.why,
        "key": vertex.key,
        "parts": None
        if parts is None
        else {
            "schema": parts.schema,
            "op": json.loads(parts.op),
            "execution": parts.execution,
            "platform": parts.platform,
            "inputs": [
                {"name": name, "selection": json.loads(selection), "digest": digest}
                for name, selection, digest in parts.inputs
            ],
        },
        "record": None
        if record is None
        else {
            "path": str(session.store.layout.record(record.key)),
            "created": record.created,
            "seconds": float(record.seconds),
            "machine": record.machine,
            "hermetic": record.hermetic,
            "log": record.log,
            "evidence": list(record.evidence.lines),
            "wrote_sources": list(record.wrote_sources),
        },
        "changes": [change_json(change) for change in vertex.changes],
    }
