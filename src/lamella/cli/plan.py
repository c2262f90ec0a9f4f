"""``lamella plan``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from lamella.build.images import forced_vertices
from lamella.build.options import BuildOptions
from lamella.cli.messages import format_seconds, paint, say, warn
from lamella.cli.options import complete_layers, format_option, project_options, selection_from
from lamella.cli.report import change_json, change_lines, table
from lamella.cli.session import project_session
from lamella.errors import EXIT_DETAILED
from lamella.planning.plan import Plan, PlannedVertex, PlanOptions

__all__ = ["command"]

_STYLES = {"reused": "dim", "build": "green", "expected": "yellow"}


@click.command("plan")
@project_options
@click.option("--target", "layer", default="", metavar="LAYER", shell_complete=complete_layers, help="One layer only.")
@click.option("--rebuild", is_flag=True, help="As if build --rebuild: the project's steps run again.")
@click.option("--no-cache", is_flag=True, help="As if build --no-cache: all steps run again.")
@click.option("--no-cache-filter", multiple=True, metavar="LAYER", help="As if a layer's steps run again.")
@click.option("--refresh", is_flag=True, help="As if build --refresh: what is older than its freshness runs again.")
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
    detailed_exitcode: bool,
    output_format: str,
) -> int:
    """Say what a build would do, and why, without doing it.

    Nothing is started and nothing is written. 'reused' has a record under this very key. 'build' is known to be
    missing. 'expected' stands on something that is built first: its key is not known yet, its cost is that of the
    last run, and it may turn out to be reused.

    \b
    lamella plan                      every image, dev
    lamella plan --all                the whole matrix
    lamella plan --format json        for programs
    lamella plan --detailed-exitcode  10 when there is work, 0 when there is none
    """
    session = project_session(file, build_args, contexts)
    selection = selection_from(images, profile, only, platforms, every, layer)
    graph = session.lower(selection)
    asked = BuildOptions(rebuild=rebuild, no_cache=no_cache, no_cache_filter=no_cache_filter)
    options = PlanOptions(forced_vertices(graph, asked), refresh, session.clock.now())
    plan = session.plan(selection, options, graph)
    for text in plan.warnings:
        warn(text)
    if output_format == "json":
        click.echo(json.dumps(plan_json(plan), indent=2, ensure_ascii=False))
    else:
        for line in plan_lines(plan):
            click.echo(line)
        say(plan_summary(plan))
    return EXIT_DETAILED if detailed_exitcode and plan.has_work else 0


def plan_lines(plan: Plan) -> list[str]:
    """Images with their cells, then one row per vertex; below a vertex to build, the files that changed."""
    lines = [
        f"{paint('image', 'bold')} {image.image.name}  {image.image.local_name}  {image.cell}"
        for image in plan.graph.images
    ]
    rows = [(vertex.status, vertex.name, _seconds(vertex), vertex.why) for vertex in plan.vertices]
    head, *body = table([("STATUS", "VERTEX", "LAST", "WHY"), *rows], right=frozenset({2}))
    lines += ["", head] if lines else [head]
    for vertex, line in zip(plan.vertices, body, strict=True):
        lines.append(line.replace(vertex.status, paint(vertex.status, _STYLES[vertex.status]), 1))
        if vertex.status == "build":
            lines += [f"          {text}" for text in change_lines(vertex.changes, files_only=True)]
    return lines + [f"note: {note}" for note in plan.graph.notes]


def _seconds(vertex: PlannedVertex) -> str:
    return format_seconds(float(vertex.seconds)) if vertex.seconds else ""


def plan_summary(plan: Plan) -> str:
    """One line: how much of what, and what it cost the last time."""
    if not plan.has_work:
        return f"nothing to do: all {len(plan.vertices)} reused"
    words = {"reused": "reused", "build": "to build", "expected": "expected"}
    counts = [f"{len(found)} {word}" for status, word in words.items() if (found := plan.of_status(status))]
    steps = [vertex for vertex in plan.vertices if vertex.status != "reused" and vertex.executes]
    text = ", ".join(counts)
    if not steps:
        return f"{text}; nothing to compile: only files are written"
    known = [float(vertex.seconds) for vertex in steps if vertex.seconds]
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
        "counts": {status: len(plan.of_status(status)) for status in ("reused", "build", "expected")},
        "steps": sum(vertex.executes and vertex.status != "reused" for vertex in plan.vertices),
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
