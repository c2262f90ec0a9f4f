"""A cargo layer as a stage: sources, products it needs, one build with cache mounts.

The step that compiles third-party packages alone has no counterpart: the target directory of the cache mount keeps
them. Paths are those of Lamella's own steps, because they end up in the binary.
"""

from __future__ import annotations

import posixpath

from lamella.canonical import FrozenMap
from lamella.eject.roots import root_of
from lamella.eject.values import Arg, Copy, Env, Instruction, Mount, Part, Remark, Run, Script, Stage, Workdir
from lamella.eject.work import OUT, Product, Work
from lamella.graph.mount import BindMount, CacheMount, SecretMount, StateMount
from lamella.graph.op import ExecOp, InlineOp, SourceOp
from lamella.graph.vertex import Vertex
from lamella.stacks.base import SRC

__all__ = ["cargo_product"]

_FOR_OUR_STEP = ("--offline", "--message-format=json-render-diagnostics")
"""Arguments that only make sense where fetching is a command of its own and messages are read by a program."""

_NOT_WANTED = ("CARGO_TERM_PROGRESS_WHEN",)


def cargo_product(work: Work, vertex: Vertex, op: ExecOp) -> Product:
    """The stage of a cargo layer; its binary is left at ``/out/NAME``."""
    layer = vertex.info.layer
    root = root_of(work, vertex.inputs[0].vertex)
    (output,) = op.outputs
    build = next(command for command in op.commands if command.argv[:2] == ("cargo", "build"))
    env = {name: value for name, value in op.env.items() if root.env.get(name) != value and name not in _NOT_WANTED}
    items: list[Instruction] = [Workdir(SRC)]
    items += [Env(FrozenMap(env))] if env else []
    items += _sources(work, vertex)
    items += needed_copies(work, vertex, op, SRC)
    prepared = Stage(root.stage, tuple(items), f"layer {layer}: sources and settings of every profile")
    base = work.stages.add_first_part(f"{layer}-sources", prepared, work.cell)
    items = []
    place = f"{OUT}/{output.target}"
    argv = tuple(word for word in build.argv if word not in _FOR_OUR_STEP)
    folder = posixpath.normpath(build.cwd or SRC)
    items += [Workdir(folder)] if folder != SRC else []
    items.append(Arg("TARGETARCH"))
    items.append(
        Remark(
            "The target directory outlives this build, and Cargo trusts file times: touch tells it that all of our own "
            "sources are new. Third-party crates are compiled again only when Cargo.lock, features or flags change."
        )
    )
    items.append(
        Run(
            (
                Script(f"find {SRC} -type f -exec touch {{}} +"),
                argv,
                ("install", "-D", output.source, place),
            ),
            _mounts(work, op, layer),
        )
    )
    remark = f"layer {layer}: Cargo builds {output.target}"
    number = work.stages.add(f"{layer}-build", Stage(base, tuple(items), remark), work.cell)
    return ((output.target, Part(number, place, folder=False)),)


def _sources(work: Work, vertex: Vertex) -> list[Instruction]:
    """The top folders of the workspace, whole, so that a new crate or module is never forgotten."""
    paths: list[str] = []
    for edge in vertex.inputs[1:]:
        op = work.definition[edge.vertex].op
        if isinstance(op, SourceOp):
            paths += work.context.tree.paths(op.patterns)
        elif isinstance(op, InlineOp):
            paths += [file.path for file in op.files if not file.directory and work.context.tree.exists(file.path)]
    roots = {posixpath.dirname(path) for path in paths if posixpath.basename(path) == "Cargo.lock"}
    for folder in roots:  # a workspace names members that this binary does not need, and Cargo wants to see them
        paths += work.context.tree.paths((posixpath.join(folder, "**/Cargo.toml"),))
    found = work.context.tops(tuple(dict.fromkeys(paths)))
    files = tuple(item.path for item in found if not item.folder)
    items: list[Instruction] = [Copy(files, "./")] if files else []
    return [*items, *(Copy((item.path,), f"{item.path}/") for item in found if item.folder)]


def needed_copies(work: Work, vertex: Vertex, op: ExecOp, cwd: str) -> list[Instruction]:
    """Products of other layers that a step needs, at their places below the sources; the stage works in ``cwd``."""
    items: list[Instruction] = []
    for mount in op.mounts:
        if not isinstance(mount, BindMount) or not vertex.inputs[mount.input].name.startswith("needs "):
            continue
        for inner, part in work.product(vertex.inputs[mount.input].vertex):
            source = f"{part.path}/{mount.source}" if mount.source and not inner else part.path
            target = f"{mount.target}/{inner}" if inner and not mount.source else mount.target
            if target.startswith(f"{SRC}/"):
                work.context.leave_out(target.removeprefix(f"{SRC}/"))
                target = posixpath.relpath(target, cwd)
            items.append(Copy((source,), f"{target}/" if part.folder else target, part.stage))
    return items


def _mounts(work: Work, op: ExecOp, layer: str) -> tuple[Mount, ...]:
    found: list[Mount] = []
    for mount in op.mounts:
        if isinstance(mount, StateMount):
            profile = op.observed.get("profile", "") or work.cell.get("profile", "")
            name = f"{layer}-target-{profile}" if profile else f"{layer}-target"
            found.append(work.cache(name, mount.target, by_arch=True, locked=True))
        elif isinstance(mount, CacheMount):
            found.append(work.cache(mount.id, mount.target))
        elif isinstance(mount, SecretMount):
            found.append(work.secret(mount.id, target=mount.target, env=mount.env))
    return tuple(found)
