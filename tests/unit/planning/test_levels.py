"""Records are asked for a level at a time, so that a cache repository answers all of it in one round trip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from lamella.build.parts import lower
from lamella.engines.base import SolveRequest
from lamella.graph.events import NullSink
from lamella.graph.record import Record
from lamella.planning.plan import PlanOptions, make_plan
from lamella.testing.engine import FakeEngine, MemoryLookup
from tests.unit.planning.project_mixed import MIXED


@dataclass
class Watched(MemoryLookup):
    """A lookup that remembers what was asked for at once, and what had to be asked for alone."""

    together: list[tuple[str, ...]] = field(default_factory=list)
    alone: list[str] = field(default_factory=list)

    worthless: list[str] = field(default_factory=list)

    def prefetch(self, keys: tuple[str, ...], worth: Callable[[str], bool]) -> None:
        self.together.append(keys)
        self.worthless += [key for key in keys if not worth(key)]

    def record(self, key: str) -> Record | None:
        if not any(key in keys for keys in self.together):
            self.alone.append(key)
        return super().record(key)


def planned(lookup: Watched, origin: str = "") -> tuple[list[str], list[str]]:
    """Statuses and reasons, in the order of the plan."""
    parts = MIXED.parts(lookup)
    graph = lower(parts, MIXED.selection)
    plan = make_plan(
        graph,
        project="p",
        tree=parts.tree,
        host=parts.host,
        lookup=lookup,
        options=PlanOptions(),
        origin=lambda key: origin,
    )
    order = graph.definition.needed(graph.targets)
    assert [item.vertex for item in plan.vertices] == [key for key in order if key in {v.vertex for v in plan.vertices}]
    assert plan.has_work == any(item.status in ("build", "expected") for item in plan.vertices)
    return [item.status for item in plan.vertices], [item.why for item in plan.vertices]


def built() -> Watched:
    lookup = Watched()
    parts = MIXED.parts(lookup)
    graph = lower(parts, MIXED.selection)
    engine = FakeEngine(parts.tree, parts.host, lookup)
    engine.solve(SolveRequest("p", graph.definition, graph.targets), NullSink())
    lookup.alone.clear()
    return lookup


def test_no_record_is_asked_for_alone_and_none_twice() -> None:
    lookup = built()
    statuses, _ = planned(lookup)
    assert set(statuses) == {"reused"}
    assert not lookup.alone
    asked = [key for keys in lookup.together for key in keys]
    assert len(asked) == len(set(asked)) == len(lookup.records)
    assert len(lookup.together) < len(asked) / 2, "a level has several vertices"


def test_what_came_from_a_repository_is_restored() -> None:
    statuses, reasons = planned(built(), origin="registry.example/acme/shop-cache")
    assert set(statuses) == {"restored"}
    assert set(reasons) == {"from registry.example/acme/shop-cache"}


def test_unknown_keys_are_not_asked_for() -> None:
    """What stands on something that is missing has no key yet."""
    lookup = Watched()
    statuses, _ = planned(lookup)
    assert set(statuses) == {"build", "expected"}
    assert sum(map(len, lookup.together)) == statuses.count("build")


def test_files_that_took_no_time_are_not_worth_a_request() -> None:
    """Only where they were laid out here before, and quickly; steps and what stands on products are asked for."""
    never = Watched()
    planned(never)
    assert not never.worthless, "a fresh machine asks for everything"
    quick, slow = built(), built()
    for lookup, seconds in ((quick, "0.050"), (slow, "0.900")):
        lookup.records.update({key: replace(record, seconds=seconds) for key, record in lookup.records.items()})
    planned(quick)
    names = {quick.records[key].name for key in quick.worthless}
    assert "config -> /etc/api" in names
    assert not any(name in names for name in ("api", "api:deps", "ui", "tools", "api -> /app/api", "base:users"))
    planned(slow)
    assert not slow.worthless
