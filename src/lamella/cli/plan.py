"""``lamella plan``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lamella.build.options import BuildOptions
from lamella.build.selection import Selection
from lamella.cli.cache_options import cache_from_option
from lamella.cli.messages import format_seconds, paint, say, warn
from lamella.cli.options import complete_layers, format_option, project_options, selection_from
from lamella.cli.report import change_json, file_lines, table
from lamella.cli.session import project_session
from lamella.errors import EXIT_DETAILED

if TYPE_CHECKING:
    from lamella.api.session import Session
    from lamella.planning.plan import Plan, PlannedVertex

__all__ = ["command"]

_LONGEST_VERSIONS = 80
_STYLES = {"reused": "dim", "restored": "cyan", "build": "green", "expected": "yellow"}


@click.command("plan")
@project_options
@click.option("--target", "layer", default="", metavar="LAYER", shell_complete=complete_layers, help="One layer only.")
@click.option("--rebuild", is_flag=True, help="As if build --rebuild: the project's steps run again.")
@click.option("--no-cache", is_flag=True, help="As if build --no-cache: all steps run again.")
@click.option("--no-cache-filter", multiple=True, metavar="LAYER", help="As if a layer's steps run again.")
@click.option("--refresh", is_flag=True, help="As if build --refresh: what is older than its freshness runs again.")
@cache_from_option
@click.option("--detailed-exitcode", is_flag=True, help=f"Exit {EXIT_DETAILED} when there is work.")
@format_option
def command(
    images: tuple[str, ...],
    profile: str | None,
    only: tuple[str, ...],
    platforms: tuple[str, ...],
    every: bool,
    file: Path | None,
    build_args: tuple[str, ...],
    contexts: tuple[str, ...],
    layer: str,
    rebuild: bool,
    no_cache: bool,
    no_cache_filter: tuple[str, ...],
    refresh: bool,
    cache_from: tuple[str, ...],
    detailed_exitcode: bool,
    output_format: str,
) -> int:
    """Say what a build would do, and why, without doing it.

    Nothing is started. 'reused' has a record under this very key, 'restored' has one in the cache repository. 'build'
    is known to be missing. 'expected' stands on something that is built first: its key is not known yet, its cost is
    that of the last run, and it may turn out to be reused.

    \b
    lamella plan                      every image, dev
    lamella plan --all                the whole matrix
    lamella plan --format json        for programs
    lamella plan --detailed-exitcode  10 when there is work, 0 when there is none
    """
    session = project_session(file, build_args, contexts, later=True, cache_from=cache_from)
    selection = selection_from(images, profile, only, platforms, every, layer)
    again = rebuild or no_cache or no_cache_filter or refresh
    found = None if again else session.recall("plan", {"selection": selection})
    if found is None:
        asked = BuildOptions(rebuild=rebuild, no_cache=no_cache, no_cache_filter=no_cache_filter, refresh=refresh)
        found = _planned(session, selection, asked)
    for text in found["warnings"]:
        warn(text)
    if output_format == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        for line in plan_lines(found):
            click.echo(line)
        say(plan_summary(found))
    return EXIT_DETAILED if detailed_exitcode and found["work"] else 0


def _planned(session: Session, selection: Selection, asked: BuildOptions) -> dict[str, Any]:
    """The plan as :func:`plan_json` gives it; one without work is kept for the next time. Raises ConfigError where the
    build would: an image needs what its base, as far as that is known, does not have.
    """
    from lamella.build.images import forced_vertices
    from lamella.build.unmet import known_facts, refuse_unmet
    from lamella.planning.plan import PlanOptions
    from lamella.planning.walk import Resolver

    graph = session.lower(selection)
    options = PlanOptions(forced_vertices(graph, asked), asked.refresh, session.clock.now())
    plan = session.plan(selection, options, graph)
    if not selection.layer:
        parts = session.parts
        resolver = Resolver(graph.definition, parts.tree, parts.host, parts.lookup)
        refuse_unmet(graph.images, known_facts(resolver, plan.results))
    found = plan_json(plan)
    if plan.holds_until and asked == BuildOptions() and not plan.of_status("restored"):
        records = [vertex.key for vertex in plan.vertices]
        session.keep("plan", {"selection": selection}, found, until=plan.holds_until, records=records)
    return found


def plan_lines(plan: dict[str, Any]) -> list[str]:
    """Images with their cells, then one row per vertex; below a vertex to build, the files that changed."""
    lines = [
        f"{paint('image', 'bold')} {image['image']}  {image['name']}  {_cell(image['cell'])}"
        for image in plan["images"]
    ]
    vertices = plan["vertices"]
    rows = [(vertex["status"], vertex["name"], _seconds(vertex), vertex["why"]) for vertex in vertices]
    head, *body = table([("STATUS", "VERTEX", "LAST", "WHY"), *rows], right=frozenset({2}))
    lines += ["", head] if lines else [head]
    for vertex, line in zip(vertices, body, strict=True):
        status = vertex["status"]
        lines.append(line.replace(status, paint(status, _STYLES[status]), 1))
        if status == "build":
            lines += [f"          {text}" for text in _changed_versions(vertex["changes"])]
            lines += [f"          {text}" for change in vertex["changes"] for text in _changed_files(change)]
    return lines + [f"note: {note}" for note in plan["notes"]]


def _changed_files(change: dict[str, Any]) -> list[str]:
    return file_lines([(file["path"], file["what"]) for file in change["files"]])


def _changed_versions(changes: list[dict[str, Any]]) -> list[str]:
    """Packages that came, went or have another version: the changes of a list whose members have names."""
    found = []
    for change in changes:
        _, bracket, name = change["part"].rpartition("[")
        before, after = change["before"], change["after"]
        if not bracket or not name.endswith("]") or name[:-1].isdigit() or len(before + after) > _LONGEST_VERSIONS:
            continue
        found.append((name[:-1], f"{before} -> {after}" if before and after else "added" if after else "removed"))
    return file_lines(found)


def _cell(cell: dict[str, str]) -> str:
    return ",".join(f"{axis}={value}" for axis, value in cell.items())


def _seconds(vertex: dict[str, Any]) -> str:
    return format_seconds(vertex["last_seconds"]) if vertex["last_seconds"] is not None else ""


def plan_summary(plan: dict[str, Any]) -> str:
    """One line: how much of what, and what it cost the last time."""
    vertices = plan["vertices"]
    restored = plan["counts"]["restored"]
    if not plan["work"] and restored:
        return f"nothing to build: {restored} restored, {len(vertices) - restored} reused"
    if not plan["work"]:
        return f"nothing to do: all {len(vertices)} reused"
    words = {"reused": "reused", "restored": "restored", "build": "to build", "expected": "expected"}
    counts = [f"{plan['counts'][status]} {word}" for status, word in words.items() if plan["counts"][status]]
    steps = [vertex for vertex in vertices if vertex["status"] in ("build", "expected") and vertex["step"]]
    text = ", ".join(counts)
    if not steps:
        return f"{text}; nothing to compile: only files are written"
    known = [vertex["last_seconds"] for vertex in steps if vertex["last_seconds"] is not None]
    cost = f", {format_seconds(sum(known))} the last time" if known else ""
    new = len(steps) - len(known)
    return f"{text}; {len(steps)} {'step' if len(steps) == 1 else 'steps'} to run{cost}" + (
        f", {new} never run here" if new else ""
    )


def plan_json(plan: Plan) -> dict[str, Any]:
    """The plan for programs; ``steps`` counts what would run code."""
    return {
        "format": 1,
        "work": plan.has_work,
        "counts": {status: len(plan.of_status(status)) for status in ("reused", "restored", "build", "expected")},
        "steps": sum(vertex.executes and vertex.status in ("build", "expected") for vertex in plan.vertices),
        "images": [
            {
                "image": image.image.name,
                "name": image.image.local_name,
                "cell": dict(image.cell),
                "layers": list(image.image.layers),
            }
            for image in plan.graph.images
        ],
        "vertices": [_vertex_json(vertex) for vertex in plan.vertices],
        "warnings": list(plan.warnings),
        "notes": list(plan.graph.notes),
    }


def _vertex_json(vertex: PlannedVertex) -> dict[str, Any]:
    return {
        "name": vertex.name,
        "layer": vertex.layer,
        "status": vertex.status,
        "step": vertex.executes,
        "key": vertex.key,
        "why": vertex.why,
        "last_seconds": float(vertex.seconds) if vertex.seconds else None,
        "changes": [change_json(change) for change in vertex.changes],
    }
