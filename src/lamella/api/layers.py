"""Calls on one layer: its product copied out, a shell where its step runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lamella.api.session import Session
from lamella.build.options import BuildOptions, BuildReport
from lamella.build.selection import Selection
from lamella.engines.base import SolveOptions, SolveRequest
from lamella.engines.inputs import absent_inputs
from lamella.engines.work import Work
from lamella.errors import ConfigError, IntegrityError
from lamella.graph.events import EventSink, Message
from lamella.graph.fileset import FileSet
from lamella.graph.op import ExecOp, InlineOp, SourceOp
from lamella.graph.record import Result
from lamella.images.outputs.product import check_export, export_product
from lamella.layers.content import Content, bytes_content, directory_content
from lamella.planning.lowering import BuildGraph
from lamella.planning.walk import Resolver, inline_fileset

__all__ = ["check_layer", "export_layer", "open_shell"]


def check_layer(session: Session, name: str) -> None:
    """Raises ConfigError with the nearest name when the project has no such layer."""
    known = sorted(session.project.layers)
    if name in known:
        return
    import difflib

    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"layers are {', '.join(known)}"
    raise ConfigError(f"there is no layer {name!r} in {session.project.file}", hint=hint)


def export_layer(
    session: Session,
    selection: Selection,
    target: Path,
    options: BuildOptions,
    sink: EventSink,
    *,
    folder: bool = False,
    force: bool = False,
) -> tuple[int, BuildReport]:
    """Builds the product of the selection's layer and copies it to ``target``: (bytes, report of the build).

    ``folder`` and ``force`` are those of ``export_product``.

    Raises ConfigError for a layer without a product of its own, for several cells, and a target that is taken.
    """
    check_layer(session, selection.layer)
    check_export(target, force=force)
    key = _product_key(session.lower(selection), selection.layer)
    graph, results, report = session.build_layer(selection, options, sink)
    _bring_product(session, graph, key, results[key], options, sink)
    with _opened(session, graph, key, results[key]) as (fileset, content):
        return export_product(fileset, content, target, folder=folder, force=force), report


def _bring_product(
    session: Session, graph: BuildGraph, key: str, result: Result, options: BuildOptions, sink: EventSink
) -> None:
    """Has the files of a product here that only a record is known of: from a cache repository, or made again."""
    if isinstance(graph.definition[key].op, (InlineOp, SourceOp)) or session.store.snapshots.find(result.tree):
        return
    if session.cache is None or not session.cache.product(result.tree):
        _make_again(session, graph, (key,), options, sink)


def _make_again(
    session: Session, graph: BuildGraph, keys: tuple[str, ...], options: BuildOptions, sink: EventSink
) -> None:
    """Makes vertices whose record stands and whose bytes can be had nowhere."""
    solve = SolveOptions(options.jobs, options.memory, frozenset(keys), offline=options.offline)
    request = SolveRequest(session.project.name, graph.definition, keys, options=solve, secrets=options.secrets)
    session.engine().solve(request, sink)


def _product_key(graph: BuildGraph, layer: str) -> str:
    """The one vertex that makes a layer's product."""
    found = [item.lowered for item in graph.layers if item.layer.name == layer]
    keys = tuple(dict.fromkeys(low.product for low in found if low.product))
    if len(keys) > 1:
        raise ConfigError(
            f"layer {layer!r} has {len(keys)} different products in the cells of this selection",
            hint="name one cell with --only, --platform, --dev or --prod",
        )
    if keys:
        return keys[0]
    if any(low.rootfs is not None for low in found):
        raise ConfigError(
            f"layer {layer!r} is a root file system and has no product of its own",
            hint="write an image's files instead: lamella build IMAGE -o FOLDER",
        )
    raise ConfigError(
        f"layer {layer!r} has no single product: its files come from several places",
        hint="write an image's files instead: lamella build IMAGE -o FOLDER",
    )


@contextmanager
def _opened(session: Session, graph: BuildGraph, key: str, result: Result) -> Iterator[tuple[FileSet, Content]]:
    """A product's file set and content, whatever vertex made it."""
    op = graph.definition[key].op
    if isinstance(op, InlineOp):
        yield inline_fileset(op), bytes_content({file.path: file.data for file in op.files})
        return
    if isinstance(op, SourceOp):
        parts = session.parts
        resolver = Resolver(graph.definition, parts.tree, parts.host, parts.lookup)
        root = session.tree.root(op.context)
        with directory_content(root / op.strip if op.strip else root) as content:
            yield resolver.source_fileset(op), content
        return
    snapshot = session.store.snapshots.find(result.tree)
    if snapshot is None:
        raise IntegrityError(
            f"the product of {graph.definition[key].info.name} is not in the store any more",
            hint="run: lamella cache repair, then build again",
        )
    with directory_content(snapshot.path) as content:
        yield snapshot.fileset(), content


def open_shell(session: Session, selection: Selection, part: str, options: BuildOptions, sink: EventSink) -> int:
    """A shell with the mounts of a layer's step, after what it stands on was built; its exit status.

    ``part`` names one of several steps (``app:deps``); the last one is taken otherwise. Raises ConfigError for a
    layer that runs no step.
    """
    from lamella.api.local import make_parts

    check_layer(session, selection.layer)
    graph = session.lower(selection)
    key = _step_key(graph, selection.layer, part)
    vertex = graph.definition[key]
    request = SolveRequest(
        session.project.name,
        graph.definition,
        tuple(edge.vertex for edge in vertex.inputs),
        options=SolveOptions(options.jobs, options.memory, offline=options.offline),
        secrets=options.secrets,
    )
    outcome = session.engine().solve(request, sink)
    results = {name: item.result for name, item in outcome.vertices.items()}
    resolver = Resolver(graph.definition, session.parts.tree, session.parts.host, session.parts.lookup)
    for name in graph.definition.needed(request.targets):
        resolver.immediate(name)
    parts = resolver.parts(key, results)
    if parts is None or not isinstance(vertex.op, ExecOp):
        raise IntegrityError(f"an input of {vertex.info.name} is not in the store any more", hint="build again")
    shared, steps = make_parts(session)
    try:
        work = Work(key, vertex, parts, results, request, resolver, sink.emit)
        if gone := absent_inputs(work, session.store, shared.restorer, shared.unpack):
            _make_again(session, graph, gone, options, sink)
        text = f"a shell where {vertex.info.name} runs; exit leaves it"
        sink.emit(Message(session.clock.monotonic(), "info", text))
        return steps.runner.shell(steps.maker.step_spec(work, vertex.op))
    finally:
        shared.close()


def _step_key(graph: BuildGraph, layer: str, part: str) -> str:
    """The step of a layer: that of a part's name, else the last one."""
    steps = {
        key: vertex.info.name
        for key, vertex in graph.definition.vertices.items()
        if vertex.info.layer == layer and isinstance(vertex.op, ExecOp) and vertex.op.commands
    }
    if not steps:
        raise ConfigError(f"layer {layer!r} runs no step, so there is no place for a shell", hint="see: lamella plan")
    if not part:
        return list(steps)[-1]
    found = [key for key, name in steps.items() if name == part]
    if not found:
        raise ConfigError(
            f"layer {layer!r} has no step {part!r}", hint=f"it has {', '.join(dict.fromkeys(steps.values()))}"
        )
    return found[-1]
