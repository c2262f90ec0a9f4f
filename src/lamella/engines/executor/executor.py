"""Makes vertices that only hold files: inline files, fetches, wheels, users, placements."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.engines.executor.fetching import Fetcher
from lamella.engines.executor.layers import LayerWriter
from lamella.engines.executor.products import Products
from lamella.engines.work import Made, Work
from lamella.errors import ConfigError, InternalError
from lamella.graph.facts import BaseFacts
from lamella.graph.facts_format import facts_to_bytes
from lamella.graph.fileset import FileSet
from lamella.graph.keys import rootfs_identity
from lamella.graph.op import FetchOp, PlaceOp, UsersOp, WheelsOp
from lamella.graph.record import Evidence, LayerResult, Result
from lamella.graph.vertex import Paths
from lamella.layers.content import bytes_content
from lamella.layers.place import add_users, place
from lamella.store.store import Store
from lamella.values import dataclass, replace

__all__ = ["FileExecutor"]

UnpackLayer = Callable[[LayerResult], str]
"""Makes a layer of the store a snapshot that a root file system can stand on; returns the snapshot's id."""


@dataclass(frozen=True, slots=True)
class FileExecutor:
    """A ``Maker`` for file vertices."""

    store: Store
    products: Products
    writer: LayerWriter
    fetcher: Fetcher
    unpack: UnpackLayer

    def make(self, work: Work) -> Made:
        """Makes one vertex by its op."""
        match work.vertex.op:
            case PlaceOp():
                return self._place(work, work.vertex.op)
            case UsersOp():
                return self._users(work, work.vertex.op)
            case FetchOp():
                return self._fetch(work, work.vertex.op)
            case WheelsOp():
                return self._wheels(work, work.vertex.op)
            case _:
                raise InternalError(f"vertex {work.vertex.info.name!r} is none of the executor's")

    def _place(self, work: Work, op: PlaceOp) -> Made:
        edge = work.vertex.inputs[0]
        facts = self._facts(work, 1)
        if facts.owner_ids(op.owner) is None:
            known = ", ".join(user.name for user in facts.users) or "none"
            raise ConfigError(
                f"layer {work.vertex.info.layer!r}: owner {op.owner!r} is not in the base, whose users are {known}",
                hint="add the user to a base layer's 'users', or write numbers",
            )
        with self.products.open(work, edge.vertex, work.input_result(0)) as (fileset, content):
            selected = fileset.select(edge.selection.patterns) if isinstance(edge.selection, Paths) else fileset
            placed = place(selected, op, facts)
            result, size = self.writer.write(
                placed.fileset, placed.content(content), compressor=work.request.options.compressor
            )
        warnings = tuple(f"replaces {path} of the base" for path in placed.replaced)
        if warnings and work.request.options.strict:
            raise ConfigError(f"layer {work.vertex.info.layer!r} {warnings[0]}, and --strict refuses that")
        manifest = self.store.blobs.put_bytes(placed.fileset.to_bytes())
        return Made(Result(work.resolved, tree=manifest, layers=(result,)), size=size, warnings=warnings)

    def _users(self, work: Work, op: UsersOp) -> Made:
        """A root file system's element: the layer, and its snapshot for steps that stand on it."""
        below = work.input_result(0)
        facts = self._facts(work, 0)
        added = add_users(op, facts)
        result, size = self.writer.write(
            added.fileset, bytes_content(added.files), compressor=work.request.options.compressor
        )
        stored = self.store.blobs.put_bytes(facts_to_bytes(added.facts))
        made = Result(
            work.resolved,
            identity=rootfs_identity(work.resolved, below.packages),
            snapshot=self.unpack(result),
            packages=below.packages,
            facts=stored,
            layers=(result,),
        )
        return Made(made, size=size)

    def _fetch(self, work: Work, op: FetchOp) -> Made:
        from lamella.layers.snapshot import scan_tree

        with self.store.snapshots.stage() as staged:
            source = self.fetcher.fetch(op, staged.path, work)
            fileset = scan_tree(staged.path)
            staged.commit(self.store.blobs.put_bytes(fileset.to_bytes()), fileset)
        evidence = Evidence((f"from {source.where}",))
        return Made(Result(work.resolved, tree=fileset.digest), evidence, hermetic=source.proven, size=fileset.size)

    def _wheels(self, work: Work, op: WheelsOp) -> Made:
        from lamella.layers.snapshot import scan_tree
        from lamella.layers.wheels import install_wheels

        with self.fetcher.wheels(op, work) as locked, self.store.snapshots.stage() as staged:
            wheels = (*locked, *self._built_wheels(work))
            warnings = install_wheels(wheels, staged.path, venv=op.venv, python=op.python)
            fileset = scan_tree(staged.path)
            staged.commit(self.store.blobs.put_bytes(fileset.to_bytes()), fileset)
        return Made(Result(work.resolved, tree=fileset.digest), size=fileset.size, warnings=tuple(warnings))

    def _built_wheels(self, work: Work) -> tuple[Path, ...]:
        """Wheels that steps built, in the order of the inputs, by name within one."""
        found: list[Path] = []
        for number in range(len(work.vertex.inputs)):
            snapshot = self.store.snapshots.find(work.input_result(number).tree)
            if snapshot is None:
                raise InternalError("a built wheel's snapshot is gone")
            found += [snapshot.path / entry.path for entry in snapshot.fileset() if entry.path.endswith(".whl")]
        return tuple(found)

    def _facts(self, work: Work, number: int) -> BaseFacts:
        facts = work.resolver.facts_of(work.vertex.inputs[number].vertex, work.input_result(number))
        if facts is None:
            raise InternalError(f"the base facts under {work.vertex.info.name!r} are gone")
        return facts


def source_filesets(work: Work, store: Store) -> FrozenMap[str, str]:
    """File sets of source inputs, stored so that a later change can be named by path: digest → blob."""
    out: dict[str, str] = {}
    for edge in work.vertex.inputs:
        digest = work.results[edge.vertex].tree
        fileset: FileSet | None = work.resolver.current_source(digest) if digest else None
        if fileset is not None:
            out[digest] = store.blobs.put_bytes(fileset.to_bytes())
    return FrozenMap(out) if out else EMPTY_MAP


def with_filesets(made: Made, work: Work, store: Store) -> Made:
    """``made`` with the file sets of its source inputs."""
    return replace(made, filesets=source_filesets(work, store))
