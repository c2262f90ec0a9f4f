"""Brings the bytes that a vertex reads into the store, and says of which vertices they are gone."""

from __future__ import annotations

from collections.abc import Callable

from lamella.engines.base import Restorer
from lamella.engines.work import Work
from lamella.graph.op import ExecOp, HostOp, ImageOp, InlineOp, ScratchOp, SourceOp
from lamella.graph.record import LayerResult, Result
from lamella.graph.vertex import AllPaths, Paths, RootfsOf
from lamella.store.store import Store

__all__ = ["absent_inputs", "chain_snapshots"]

Unpack = Callable[[LayerResult], str]


def absent_inputs(work: Work, store: Store, restorer: Restorer, unpack: Unpack) -> tuple[str, ...]:
    """Input vertices whose bytes are neither in the store nor where their records came from, inputs first.

    Only a step needs the bytes of the root file system it stands on; everything else reads facts of it.
    """
    definition = work.request.definition
    absent: dict[str, None] = {}
    for edge in work.vertex.inputs:
        if isinstance(edge.selection, (AllPaths, Paths)):
            if not _bring_product(work, edge.vertex, store, restorer):
                absent[edge.vertex] = None
        elif isinstance(edge.selection, RootfsOf) and isinstance(work.vertex.op, ExecOp):
            for key in definition.chain(edge.vertex):
                if not _bring_element(work, key, store, restorer, unpack):
                    absent[key] = None
    return tuple(absent)


def chain_snapshots(work: Work, vertex: str, store: Store) -> tuple[str, ...]:
    """The snapshots of a root file system, lowest first: its own ones, or those of its layers by diff_id."""
    ids: list[str] = []
    for key in work.request.definition.chain(vertex):
        if not isinstance(work.request.definition[key].op, ScratchOp):
            ids += _element(work.results[key], store)
    return tuple(ids)


def _element(result: Result, store: Store) -> tuple[str, ...]:
    if result.snapshot and (not result.layers or store.snapshots.find(result.snapshot) is not None):
        return (result.snapshot,)
    return tuple(layer.diff_id for layer in result.layers)


def _bring_product(work: Work, key: str, store: Store, restorer: Restorer) -> bool:
    if isinstance(work.request.definition[key].op, (SourceOp, InlineOp)):
        return True
    tree = work.results[key].tree
    return store.snapshots.find(tree) is not None or restorer.product(tree)


def _bring_element(work: Work, key: str, store: Store, restorer: Restorer, unpack: Unpack) -> bool:
    op, result = work.request.definition[key].op, work.results[key]
    if isinstance(op, (ScratchOp, HostOp)):
        return True
    wanted = _element(result, store)
    if not wanted and not isinstance(op, ImageOp):  # an image may have no layers
        return False
    if all(store.snapshots.find(one) is not None for one in wanted):
        return True
    if wanted == (result.snapshot,):
        return False
    return all(_bring_layer(layer, store, restorer, unpack) for layer in result.layers)


def _bring_layer(layer: LayerResult, store: Store, restorer: Restorer, unpack: Unpack) -> bool:
    if store.snapshots.find(layer.diff_id) is not None:
        return True
    if not store.variants.of(layer.diff_id) and not restorer.layer(layer.diff_id):
        return False
    unpack(layer)
    return True
