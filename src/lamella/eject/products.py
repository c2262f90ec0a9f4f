"""Where products come from: one function per kind of vertex, and a plain one for steps of other adapters."""

from __future__ import annotations

from lamella.canonical import FrozenMap
from lamella.eject.cargo import cargo_product
from lamella.eject.fetched import fetch_product
from lamella.eject.node import node_product
from lamella.eject.roots import command_of, root_of, step_mounts
from lamella.eject.values import CONTEXT, Env, Instruction, Part, Run, Stage, Workdir
from lamella.eject.work import OUT, Product, Work, refused
from lamella.graph.op import ExecOp, FetchOp, SourceOp
from lamella.graph.vertex import Vertex

__all__ = ["make_product"]


def make_product(work: Work, key: str) -> Product:
    """Where the product of a vertex is: in a stage that makes it, or in the context."""
    vertex = work.definition[key]
    op = vertex.op
    match op:
        case FetchOp():
            return fetch_product(work, vertex, op)
        case SourceOp():
            return _source(work, op)
        case ExecOp() if op.observer == "cargo":
            return cargo_product(work, vertex, op)
        case ExecOp() if op.observer == "node":
            return node_product(work, vertex, op)
        case ExecOp():
            return _step_product(work, vertex, op)
        case _:
            hint = "let a 'files' layer or a 'run' layer of this project make what is needed"
            raise refused(vertex.info.layer, f"its product ({op.kind}) has no counterpart in a Dockerfile", hint)


def _source(work: Work, op: SourceOp) -> Product:
    found = []
    for item in work.context.cover(op.patterns):
        inner = item.path
        if op.strip:
            inner = "" if item.path == op.strip else item.path.removeprefix(f"{op.strip}/")
        found.append(("" if inner == "." else inner, Part(CONTEXT, item.path, item.folder)))
    return tuple(found)


def _step_product(work: Work, vertex: Vertex, op: ExecOp) -> Product:
    """Paths of a root file system, or the outputs of a step that this room knows nothing else of."""
    root = root_of(work, vertex.inputs[0].vertex)
    if not op.commands:
        return tuple((output.target, Part(root.stage, output.source, folder=True)) for output in op.outputs)
    fresh = {name: value for name, value in op.env.items() if root.env.get(name) != value}
    items: list[Instruction] = [Workdir(op.cwd)]
    items += [Env(FrozenMap(fresh))] if fresh else []
    kept = tuple(("cp", "-a", output.source, f"{OUT}/{number}") for number, output in enumerate(op.outputs))
    commands = (*(command_of(command) for command in op.commands), ("mkdir", "-p", OUT), *kept)
    items.append(Run(commands, step_mounts(work, vertex, op)))
    stage = Stage(root.stage, tuple(items), f"layer {vertex.info.layer}: {vertex.info.name}")
    number = work.stages.add(f"{vertex.info.layer}-build", stage, work.cell)
    return tuple(
        (output.target, Part(number, f"{OUT}/{index}", folder=not output.target))
        for index, output in enumerate(op.outputs)
    )
