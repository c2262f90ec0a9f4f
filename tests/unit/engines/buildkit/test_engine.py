"""The walk around the bake calls: what goes together, what waits, what a failure leaves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamella.canonical import FrozenMap
from lamella.clock import SystemClock
from lamella.engines.base import SolveOptions, SolveOutcome, SolveRequest
from lamella.engines.buildkit.engine import BuildkitEngine
from lamella.engines.buildkit.work import select_steps
from lamella.engines.solving import EngineParts, Solving
from lamella.engines.work import Made, Work
from lamella.errors import LamellaError, RegistryError, StepError
from lamella.graph.definition import Definition, DefinitionBuilder
from lamella.graph.events import NullSink
from lamella.graph.facts import EMPTY_FACTS
from lamella.graph.facts_format import facts_to_bytes
from lamella.graph.fileset import Entry, EntryType, FileSet
from lamella.graph.keys import rootfs_identity
from lamella.graph.mount import BindMount, Mount, StateMount
from lamella.graph.op import BootstrapOp, Command, ExecOp, OutputPath
from lamella.graph.record import LayerResult, Result
from lamella.graph.vertex import AllPaths, Input, RootfsOf, Vertex, VertexInfo
from lamella.store.store import Store
from lamella.testing.engine import FakeHost
from lamella.testing.tree import MemoryTree

AMD64, ARM64 = "linux/amd64", "linux/arm64"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store", clock=SystemClock()) as opened:
        yield opened


class Builder:
    """Phases without a daemon: each step's product names the step, its toolchain is a package set of one version.

    ``calls`` are the names of each call's steps, ``failing`` the steps that fail, ``made`` what maker-made vertices
    were called.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.calls: list[set[str]] = []
        self.failing: set[str] = set()
        self.checked: list[str] = []
        self.made: list[str] = []
        self.gone = False
        self.meeting: threading.Barrier | None = None

    def check(self, platform: str) -> None:
        self.checked.append(platform)
        if self.gone:
            raise RegistryError("nobody answers")

    def run(
        self, solving: Solving, wanted: tuple[str, ...], nonce: str, cancelled: threading.Event
    ) -> dict[str, LamellaError]:
        if self.meeting is not None:
            self.meeting.wait(20)
        definition = solving.request.definition
        chosen = select_steps(solving, wanted, definition[wanted[0]].execution, nonce)
        self.calls.append({definition[key].info.name for key in chosen.steps})
        failed = next((key for key in chosen.steps if definition[key].info.name in self.failing), "")
        left = chosen.without(solving, failed, None).steps if failed else chosen.steps
        for key in left:
            work = solving.work(key)
            solving.done(key, solving.finish(work, Made(self.result(work)), 1.0))
        return {failed: StepError(f"{definition[failed].info.name} failed")} if failed else {}

    def result(self, work: Work) -> Result:
        if isinstance(work.vertex.op, ExecOp) and not work.vertex.op.outputs:
            packages = self.store.blobs.put_bytes(b"{}")
            facts = self.store.blobs.put_bytes(facts_to_bytes(EMPTY_FACTS))
            return Result(
                work.resolved, identity=rootfs_identity(work.resolved, packages), packages=packages, facts=facts
            )
        with self.store.snapshots.stage() as staged:
            (staged.path / "name").write_text(work.vertex.info.name)
            data = work.vertex.info.name.encode()
            digest = self.store.blobs.put_bytes(data)
            fileset = FileSet.of([Entry("name", EntryType.FILE, 0o644, size=len(data), digest=digest)])
            staged.commit(self.store.blobs.put_bytes(fileset.to_bytes()), fileset)
        return Result(work.resolved, tree=fileset.digest)

    def make(self, work: Work) -> Made:
        """The bootstrapped base of this machine."""
        self.made.append(work.vertex.info.name)
        with self.store.snapshots.stage() as staged:
            staged.commit(work.resolved, FileSet(()))
        packages = self.store.blobs.put_bytes(b"{}")
        facts = self.store.blobs.put_bytes(facts_to_bytes(EMPTY_FACTS))
        identity = rootfs_identity(work.resolved, packages)
        return Made(Result(work.resolved, identity=identity, snapshot=work.resolved, packages=packages, facts=facts))


def base(builder: DefinitionBuilder, platform: str = AMD64) -> str:
    op = BootstrapOp("debian", "trixie", platform.split("/")[1])
    return builder.add(Vertex(op, (), platform, platform, VertexInfo("base")))


def step(
    builder: DefinitionBuilder, name: str, root: str, *needs: str, outputs: bool = True, state: bool = False
) -> str:
    mounts: tuple[Mount, ...] = tuple(BindMount(n + 1, f"/in/{n}") for n in range(len(needs)))
    mounts += (StateMount("s", "/state"),) if state else ()
    op = ExecOp((Command(("make", name)),), mounts=mounts, outputs=(OutputPath("/out", ""),) if outputs else ())
    inputs = (Input(root, RootfsOf(), "rootfs"), *(Input(need, AllPaths(), "need") for need in needs))
    platform = builder[root].execution
    return builder.add(Vertex(op, inputs, platform, platform, VertexInfo(name)))


def solve(builder: Builder, definition: Definition, *targets: str, keep_going: bool = False) -> SolveOutcome:
    store = builder.store

    def export(work: Work, result: Result) -> tuple[LayerResult, ...]:
        return ()

    parts = EngineParts(
        store, MemoryTree({}), FakeHost(), SystemClock(), lambda vertex: builder, export, lambda layer: layer.diff_id
    )
    request = SolveRequest(
        "p", definition, targets, options=SolveOptions(jobs=2, keep_going=keep_going), secrets=FrozenMap({})
    )
    return BuildkitEngine(parts, builder).solve(request, NullSink())


def test_steps_that_stand_on_each_other_go_in_one_call_and_a_second_solve_makes_none(store: Store) -> None:
    graph = DefinitionBuilder()
    root = base(graph)
    tools = step(graph, "tools", root, outputs=False)
    first = step(graph, "first", tools)
    last = step(graph, "last", tools, first)
    builder = Builder(store)
    outcome = solve(builder, graph.build(), last)
    assert (builder.made, builder.calls) == (["base"], [{"tools", "first", "last"}])
    assert outcome.vertices[last].outcome == "built"
    again = solve(builder, graph.build(), last)
    assert len(builder.calls) == 1
    assert {item.outcome for item in again.vertices.values()} == {"reused"}


def test_a_state_waits_until_its_toolchain_is_known(store: Store) -> None:
    """Its id holds the root file system's identity: a cold call must fill the directory that the next one looks in."""
    graph = DefinitionBuilder()
    tools = step(graph, "tools", base(graph), outputs=False)
    last = step(graph, "compile", tools, state=True)
    builder = Builder(store)
    solve(builder, graph.build(), last)
    assert builder.calls == [{"tools"}, {"tools", "compile"}], "the toolchain's bytes are the builder's alone"


def test_calls_of_two_platforms_run_at_the_same_time(store: Store) -> None:
    graph = DefinitionBuilder()
    targets = [step(graph, "a", base(graph)), step(graph, "b", base(graph, ARM64))]
    builder = Builder(store)
    builder.meeting = threading.Barrier(2)
    assert set(solve(builder, graph.build(), *targets).vertices) >= set(targets)


def test_each_platform_has_calls_of_its_own(store: Store) -> None:
    graph = DefinitionBuilder()
    targets = [step(graph, f"on {name}", base(graph, name)) for name in (AMD64, ARM64)]
    builder = Builder(store)
    solve(builder, graph.build(), *targets)
    assert sorted(builder.calls, key=str) == [{"on linux/amd64"}, {"on linux/arm64"}]


def test_a_failure_is_raised_and_what_ended_well_is_not_run_again(store: Store) -> None:
    graph = DefinitionBuilder()
    root = base(graph)
    good, bad = step(graph, "good", root), step(graph, "bad", root)
    last = step(graph, "last", root, good, bad)
    builder = Builder(store)
    builder.failing = {"bad"}
    with pytest.raises(StepError, match="bad failed"):
        solve(builder, graph.build(), last)
    builder.failing = set()
    solve(builder, graph.build(), last)
    assert builder.calls[1] == {"bad", "last"}


def test_keep_going_names_what_failed_and_what_stands_on_it(store: Store) -> None:
    graph = DefinitionBuilder()
    root = base(graph)
    good, bad = step(graph, "good", root), step(graph, "bad", root)
    last = step(graph, "last", root, bad)
    builder = Builder(store)
    builder.failing = {"bad"}
    outcome = solve(builder, graph.build(), good, last, keep_going=True)
    assert dict(outcome.failed) == {bad: "bad failed", last: "stands on bad"}
    assert outcome.vertices[good].outcome == "built"


def test_without_a_builder_no_base_is_made(store: Store) -> None:
    graph = DefinitionBuilder()
    last = step(graph, "last", base(graph))
    builder = Builder(store)
    builder.gone = True
    with pytest.raises(RegistryError, match="nobody answers"):
        solve(builder, graph.build(), last)
    assert (builder.made, builder.checked) == ([], [AMD64])


def test_a_product_whose_bytes_are_gone_is_made_in_the_call_that_reads_it(store: Store) -> None:
    graph = DefinitionBuilder()
    root = base(graph)
    first = step(graph, "first", root)
    last = step(graph, "last", root, first)
    builder = Builder(store)
    outcome = solve(builder, graph.build(), first)
    store.snapshots.remove(outcome.vertices[first].result.tree)
    solve(builder, graph.build(), last)
    assert builder.calls[1] == {"first", "last"}
