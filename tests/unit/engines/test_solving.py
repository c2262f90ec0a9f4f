"""Bytes on demand: a record may stand while the bytes it names are elsewhere, or nowhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from lamella.clock import SystemClock
from lamella.engines.base import Restorer, SolveOptions, SolveRequest
from lamella.engines.local.solver import LocalEngine
from lamella.engines.solving import EngineParts
from lamella.engines.work import Made, Work
from lamella.errors import IntegrityError, SandboxError
from lamella.graph.definition import Definition, DefinitionBuilder
from lamella.graph.events import Event, EventSink, Message, VertexStarted
from lamella.graph.fileset import FileSet
from lamella.graph.mount import BindMount
from lamella.graph.op import Command, ExecOp, OutputPath, ScratchOp
from lamella.graph.record import Record, Result
from lamella.graph.vertex import AllPaths, Input, RootfsOf, Vertex, VertexInfo
from lamella.layers.snapshot import scan_tree
from lamella.store.store import Store
from lamella.testing.engine import FakeHost
from lamella.testing.tree import MemoryTree


class Quiet:
    """An ``EventSink`` that keeps nothing."""

    def emit(self, event: Event) -> None:
        """Forgets."""


@dataclass
class Records:
    """A ``Lookup`` of records whose bytes are not asked for, as those of a cache repository are."""

    store: Store
    known: dict[str, Record] = field(default_factory=dict)

    def prefetch(self, keys: tuple[str, ...], worth: Callable[[str], bool]) -> None:
        """Everything is at hand."""

    def record(self, key: str) -> Record | None:
        return self.store.lookup.record(key) or self.known.get(key)

    def latest(self, project: str, name: str) -> Record | None:
        return self.store.lookup.latest(project, name)

    def fileset(self, digest: str) -> FileSet | None:
        return self.store.lookup.fileset(digest)

    def facts(self, digest: str) -> None:
        return None


@dataclass
class Maker:
    """Makes one file per product; ``content`` by vertex name says what is in it, the n-th time."""

    store: Store
    content: dict[str, list[str]]
    made: list[str] = field(default_factory=list)
    vanishing: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def make(self, work: Work) -> Made:
        name = work.vertex.info.name
        with self.lock:
            self.made.append(name)
            texts = self.content[name]
            text = texts.pop(0) if len(texts) > 1 else texts[0]
        for number in range(1, len(work.vertex.inputs)):
            assert self.store.snapshots.find(work.input_result(number).tree) is not None, "read while absent"
        with self.store.snapshots.stage() as staged:
            (staged.path / "out").write_text(text)
            fileset = scan_tree(staged.path)
            staged.commit(self.store.blobs.put_bytes(fileset.to_bytes()), fileset)
        if name == self.vanishing:
            lose_snapshot(self.store, fileset.digest)
        return Made(Result(work.resolved, tree=fileset.digest))


class Remote:
    """A ``Restorer`` whose products are written again from text."""

    def __init__(self, store: Store, products: dict[str, str]) -> None:
        self.store, self.products, self.brought = store, products, list[str]()

    def origin(self, key: str) -> str:
        return "registry.example/cache"

    def layer(self, diff_id: str) -> bool:
        return False

    def product(self, tree: str) -> bool:
        text = self.products.get(tree)
        if text is None:
            return False
        self.brought.append(tree)
        with self.store.snapshots.stage() as staged:
            (staged.path / "out").write_text(text)
            staged.commit(tree, scan_tree(staged.path))
        return True


def step(builder: DefinitionBuilder, name: str, root: str, *inputs: str, say: str = "") -> str:
    mounts = tuple(BindMount(number, f"/in/{number}") for number in range(1, len(inputs) + 1))
    op = ExecOp((Command(("make", name, say)),), mounts=mounts, outputs=(OutputPath("/out", "out"),))
    edges = (Input(root, RootfsOf(), "root"), *(Input(one, AllPaths(), one) for one in inputs))
    return builder.add(Vertex(op, edges, info=VertexInfo(name)))


def two_steps(say: str = "") -> tuple[Definition, str, str]:
    """``user`` reads the product of ``maker``."""
    builder = DefinitionBuilder()
    root = builder.add(Vertex(ScratchOp(), ()))
    made = step(builder, "maker", root)
    used = step(builder, "user", root, made, say=say)
    return builder.build(), made, used


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as opened:
        yield opened


def solve(
    store: Store,
    maker: Maker,
    lookup: Records,
    definition: Definition,
    target: str,
    restorer: Restorer | None = None,
    sink: EventSink | None = None,
    check: Callable[[str], None] | None = None,
) -> dict[str, str]:
    """Outcomes by vertex name."""
    parts = EngineParts(
        store,
        MemoryTree({}),
        FakeHost(),
        SystemClock(),
        lambda vertex: maker,
        lambda work, result: (),
        lambda layer: layer.diff_id,
        lookup=lookup,
    )
    parts = replace(parts, restorer=restorer) if restorer is not None else parts
    request = SolveRequest("p", definition, (target,), options=SolveOptions(jobs=2))
    outcome = LocalEngine(parts, check or (lambda platform: None), "nobody asked").solve(request, sink or Quiet())
    assert (outcome.engine is not None) == any(item.outcome == "built" for item in outcome.vertices.values())
    return {definition[key].info.name: item.outcome for key, item in outcome.vertices.items() if item.record}


def lose_snapshot(store: Store, identity: str) -> None:
    """As a collection by another process does."""
    found = store.snapshots.find(identity)
    assert found is not None
    found.folder.rename(found.folder.with_name(f"gone-{identity[-8:]}"))


def forget_bytes(store: Store, lookup: Records, name: str) -> Record:
    """Keeps a record and loses the snapshot that it names, as when only a repository knows it."""
    record = store.lookup.latest("p", name)
    assert record is not None
    lookup.known[record.key] = record
    lose_snapshot(store, record.result.tree)
    store.records.drop(record.key)
    return record


def test_nothing_is_made_for_bytes_that_nobody_reads(store: Store) -> None:
    definition, _, used = two_steps()
    maker, lookup = Maker(store, {"maker": ["1"], "user": ["2"]}), Records(store)
    assert solve(store, maker, lookup, definition, used) == {"maker": "built", "user": "built"}
    forget_bytes(store, lookup, "maker")
    assert solve(store, maker, lookup, definition, used) == {"maker": "reused", "user": "reused"}
    assert maker.made == ["maker", "user"]


def test_a_step_brings_what_it_reads_from_where_the_record_came(store: Store) -> None:
    definition, _, used = two_steps()
    maker, lookup = Maker(store, {"maker": ["1"], "user": ["2"]}), Records(store)
    solve(store, maker, lookup, definition, used)
    record = forget_bytes(store, lookup, "maker")
    changed, _, used = two_steps("again")
    remote = Remote(store, {record.result.tree: "1"})
    assert solve(store, maker, lookup, changed, used, remote) == {"maker": "restored", "user": "built"}
    assert remote.brought == [record.result.tree]
    assert maker.made == ["maker", "user", "user"]


def test_what_can_be_had_nowhere_is_made_again(store: Store) -> None:
    definition, _, used = two_steps()
    maker, lookup = Maker(store, {"maker": ["1"], "user": ["2"]}), Records(store)
    solve(store, maker, lookup, definition, used)
    forget_bytes(store, lookup, "maker")
    changed, _, used = two_steps("again")
    assert solve(store, maker, lookup, changed, used) == {"maker": "built", "user": "built"}
    assert maker.made == ["maker", "user", "maker", "user"]


def test_another_result_the_second_time_gives_another_key(store: Store) -> None:
    """What was made again came out differently: the user's key must be of the new product, not of the lost one."""
    definition, _, used = two_steps()
    maker, lookup = Maker(store, {"maker": ["1", "other"], "user": ["2"]}), Records(store)
    solve(store, maker, lookup, definition, used)
    lost = forget_bytes(store, lookup, "maker")
    changed, _, used = two_steps("again")
    solve(store, maker, lookup, changed, used)
    made = {record.result.tree for record in store.records.all() if record.name == "maker"}
    users = [record for record in store.records.all() if record.name == "user" and "again" in record.parts.op]
    read = {digest for record in users for _, selection, digest in record.parts.inputs if '"all"' in selection}
    assert read == made
    assert lost.result.tree not in read


def test_results_that_never_agree_are_an_error(store: Store) -> None:
    """Something clears the product at once, each time, and each time it comes out differently."""
    definition, _, used = two_steps()
    numbers = [str(n) for n in range(50)]
    maker, lookup = Maker(store, {"maker": numbers, "user": ["2"]}, vanishing="maker"), Records(store)
    with pytest.raises(IntegrityError, match="other results each time"):
        solve(store, maker, lookup, definition, used)
    assert "user" not in maker.made


@dataclass
class Kept:
    """An ``EventSink`` that keeps everything."""

    events: list[Event] = field(default_factory=list)

    def emit(self, event: Event) -> None:
        """Keeps one event."""
        self.events.append(event)


def test_the_engine_is_said_once_and_only_when_a_step_runs(store: Store) -> None:
    definition, _, used = two_steps()
    maker, sink = Maker(store, {"maker": ["a"], "user": ["b"]}), Kept()
    solve(store, maker, Records(store), definition, used, sink=sink)
    assert isinstance(sink.events[0], Message), "before the first step"
    said = [event.text for event in sink.events if isinstance(event, Message)]
    assert said == ["engine: embedded, because nobody asked"]
    again = Kept()
    solve(store, maker, Records(store), definition, used, sink=again)
    assert not [event for event in again.events if isinstance(event, Message)]


def test_a_machine_without_a_sandbox_starts_no_step(store: Store) -> None:
    definition, _, used = two_steps()
    maker, sink = Maker(store, {"maker": ["a"], "user": ["b"]}), Kept()

    def refuse(platform: str) -> None:
        raise SandboxError(f"no sandbox for {platform}")

    with pytest.raises(SandboxError):
        solve(store, maker, Records(store), definition, used, sink=sink, check=refuse)
    assert not [event for event in sink.events if isinstance(event, Message | VertexStarted)]
