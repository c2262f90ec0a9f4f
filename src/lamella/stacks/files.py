"""Layers that hold files, and ``run``: copies, products of other layers, fetched artefacts, models, commands."""

from __future__ import annotations

import posixpath

from lamella.graph.mount import BindMount, SecretMount
from lamella.graph.op import Command, ExecOp, FetchOp, FetchSource, OutputPath, SourceOp
from lamella.graph.patterns import literal_prefix
from lamella.graph.protocols import Tree
from lamella.graph.vertex import AllPaths, Input, Paths, RootfsOf, Vertex
from lamella.oci.platform import ANY
from lamella.project.spec import WHOLE, FetchItem, FetchSpec, FileItem, FilesSpec, ModelSpec, RunSpec
from lamella.stacks.base import (
    SRC,
    Detection,
    LowerContext,
    Lowered,
    NeededProduct,
    Observation,
    Placement,
    StepOutputs,
    layer_error,
    vertex_info,
)
from lamella.values import replace

__all__ = ["FetchStack", "FilesStack", "ModelStack", "RunStack", "need_mounts"]


class _Quiet:
    """What adapters share whose steps say nothing and whose layers nobody can detect."""

    def observe(self, outputs: StepOutputs) -> Observation:
        """Exit codes say it all."""
        return Observation()

    def detect(self, tree: Tree) -> tuple[Detection, ...]:
        """Nothing to detect."""
        return ()


class FilesStack(_Quiet):
    """Plain copies out of the project, and products of other layers, at absolute paths of the image."""

    name = "files"

    def lower(self, context: LowerContext) -> Lowered:
        """One source vertex per copy, one placement per copy and needed path."""
        spec = context.layer.spec
        items = spec.files if isinstance(spec, FilesSpec) else ()
        placements = [_copy(context, item) for item in items]
        for needed in context.needs:
            placements += [_needed(context, needed, source, to) for source, to in needed.need.paths.items()]
        product = placements[0].vertex if len(placements) == 1 else ""
        return Lowered(product=product, placements=tuple(placements))


def _copy(context: LowerContext, item: FileItem) -> Placement:
    source = item.from_.strip("/").removeprefix("./") or "."
    prefix = literal_prefix(source)
    patterns = ("**",) if source == "." else (source,)
    found = context.tree.paths(patterns)
    if not found:
        raise layer_error(
            context.layer,
            f"no file matches {item.from_!r}",
            hint="it does not exist, is empty, or .dockerignore, .gitignore or project.ignore leave it out",
        )
    one = found == (prefix,)
    strip = posixpath.dirname(prefix) if one else ("" if prefix == "." else prefix)
    op = SourceOp(patterns, strip=strip)
    vertex = context.graph.add(Vertex(op, (), ANY, ANY, vertex_info(context.layer, f"source {item.from_}")))
    target, rename = item.to, one and not item.to.endswith("/")
    return Placement(
        vertex,
        target.rstrip("/") or "/",
        item.owner,
        _mode(item.mode if item.mode is not None else context.layer.mode),
        rename=rename,
        name=item.to,
    )


def _mode(mode: int | None) -> str:
    return "" if mode is None else f"{mode:04o}"


def _needed(context: LowerContext, needed: NeededProduct, source: str, target: str) -> Placement:
    vertex, inner = needed.vertex, "" if source == WHOLE else source.strip("/")
    if needed.is_rootfs:
        vertex, inner = _cut_out(context, needed, source), ""
    return Placement(
        vertex,
        target.rstrip("/") or "/",
        context.layer.owner,
        _mode(context.layer.mode),
        source=inner,
        name=f"{needed.need.layer} {target}",
    )


def _cut_out(context: LowerContext, needed: NeededProduct, source: str) -> str:
    """A path of a root file system as a product."""
    if source == WHOLE:
        raise layer_error(
            context.layer,
            f"layer {needed.need.layer!r} is a root file system and cannot be needed as a whole",
            hint='name paths: needs = { toolchain = { "/usr/local/cargo" = "/usr/local/cargo" } }',
        )
    op = ExecOp(commands=(), outputs=(OutputPath(source, ""),))
    edge = Input(needed.vertex, RootfsOf(), needed.need.layer)
    info = vertex_info(context.layer, f"{needed.need.layer} {source}")
    return context.graph.add(Vertex(op, (edge,), context.platform, context.execution, info))


class FetchStack(_Quiet):
    """Artefacts from elsewhere, proven by a checksum where one is given; ways are tried in order."""

    name = "fetch"

    def lower(self, context: LowerContext) -> Lowered:
        """A file of the project that exists wins over later ways; the rest is one fetch vertex."""
        spec = context.layer.spec
        items = spec.fetch if isinstance(spec, FetchSpec) else ()
        target = next((item.to for item in items), context.layer.to or "")
        mode = next((item.mode for item in items if item.mode is not None), context.layer.mode)
        for index, item in enumerate(items):
            if item.file is None:
                vertex = self._fetch(context, items[index:], target, mode)
                break
            if context.tree.exists(item.file):
                op = SourceOp((item.file,), strip=posixpath.dirname(item.file))
                info = vertex_info(context.layer, f"source {item.file}")
                vertex = context.graph.add(Vertex(op, (), ANY, ANY, info))
                break
            if not item.optional:
                raise layer_error(context.layer, f"file {item.file!r} is not there", hint=context.layer.advice or "")
        else:
            raise layer_error(context.layer, "none of its files is there", hint=context.layer.advice or "")
        placed = Placement(vertex, target, context.layer.owner, _mode(mode), rename=True, name=target)
        return Lowered(product=vertex, placements=(placed,), entrypoints=((target,),) if mode and mode & 0o100 else ())

    def _fetch(self, context: LowerContext, items: tuple[FetchItem, ...], target: str, mode: int | None) -> str:
        sources = tuple(
            FetchSource(
                url=item.url or "",
                file=item.file or "",
                sha256=item.sha256 or "",
                sums=item.sums or "",
                extract=item.extract or "",
                secret=item.secret or "",
                optional=item.optional,
            )
            for item in items
        )
        op = FetchOp(sources, posixpath.basename(target), 0o644 if mode is None else mode)
        return context.graph.add(Vertex(op, (), context.platform, ANY, vertex_info(context.layer)))


class ModelStack(_Quiet):
    """A model's files in a layer of their own, the same for every platform."""

    name = "model"

    def lower(self, context: LowerContext) -> Lowered:
        """A project file, a URL with checksum, or a hub repository at the commit that the lock holds."""
        spec, layer = context.layer.spec, context.layer
        assert isinstance(spec, ModelSpec)  # noqa: S101 - the planner's table pairs kind and adapter
        target = layer.to or "/app"
        if spec.file is not None:
            item = FileItem(spec.file, target, layer.owner, layer.mode)
            placement = _copy(context, item)
            return Lowered(product=placement.vertex, placements=(placement,))
        if spec.url is not None:
            name, source = posixpath.basename(target), FetchSource(url=spec.url, sha256=spec.sha256 or "")
        else:
            pin = context.lock.models.get(spec.hub or "")
            if pin is None:
                raise layer_error(layer, f"model {spec.hub!r} is not in lamella.lock", hint="run: lamella lock")
            name, source = "model", FetchSource(url=f"hub:{spec.hub}@{pin.commit}")
        op = FetchOp((source,), name)
        vertex = context.graph.add(Vertex(op, (), ANY, ANY, vertex_info(layer)))
        one = spec.url is not None
        return Lowered(
            product=vertex,
            placements=(Placement(vertex, target, layer.owner, _mode(layer.mode), rename=one, name=target),),
        )


class RunStack(_Quiet):
    """Commands on the image's base, or on what ``on`` names; their changes are a layer of the base's chain."""

    name = "run"

    def lower(self, context: LowerContext) -> Lowered:
        """One exec vertex. It sees its ``inputs`` and ``needs`` below the sources' path, nothing else."""
        spec, layer = context.layer.spec, context.layer
        assert isinstance(spec, RunSpec)  # noqa: S101 - the planner's table pairs kind and adapter
        if context.rootfs is None:
            raise layer_error(
                layer, "'run' needs a base to run on", hint="list a base layer before it, or name one in 'on'"
            )
        inputs, mounts = need_mounts(context, first=1)
        if layer.inputs:
            info = vertex_info(layer, "sources")
            source = context.graph.add(Vertex(SourceOp(layer.inputs), (), ANY, ANY, info))
            mounts = (BindMount(1 + len(inputs), SRC), *mounts)
            inputs = (*inputs, Input(source, AllPaths(), "sources"))
        secrets = tuple(SecretMount(name, target=f"/run/secrets/{name}") for name in layer.secrets)
        op = ExecOp(
            commands=tuple(Command(argv) for argv in spec.run),
            env=context.rootfs.env.with_items({name: str(value) for name, value in layer.env.items()}),
            cwd=SRC if layer.inputs or layer.needs else "/",
            mounts=(*mounts, *secrets),
            network="host" if layer.network else "none",
            scratch=layer.scratch,
        )
        edges = (Input(context.rootfs.vertex, RootfsOf(), "rootfs"), *inputs)
        vertex = context.graph.add(Vertex(op, edges, context.platform, context.execution, vertex_info(layer)))
        return Lowered(rootfs=replace(context.rootfs, vertex=vertex))


def need_mounts(context: LowerContext, *, first: int) -> tuple[tuple[Input, ...], tuple[BindMount, ...]]:
    """Input edges and mounts for ``needs`` of a step; ``first`` is the number of the first such input."""
    inputs: list[Input] = []
    mounts: list[BindMount] = []
    for needed in context.needs:
        for source, target in needed.need.paths.items():
            vertex, inner = needed.vertex, "" if source == WHOLE else source.strip("/")
            if needed.is_rootfs:
                vertex, inner = _cut_out(context, needed, source), ""
            where = target if target.startswith("/") else f"{SRC}/{target.strip('/')}"
            mounts.append(BindMount(first + len(inputs), where, inner))
            selection = Paths((inner,)) if inner else AllPaths()
            inputs.append(Input(vertex, selection, f"needs {needed.need.layer}"))
    return tuple(inputs), tuple(mounts)
