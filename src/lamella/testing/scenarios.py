"""Scenario x Modification x Expectation: what a change of one input rebuilds (CONVENTIONS 21).

A :class:`Scenario` is a project with its tree. It is built once with the fake engine; a modification edits it; the
plan then says what would run again. The same tables run against real engines.
"""

from __future__ import annotations

from collections.abc import Mapping

from lamella.build.parts import Parts, lower, plan
from lamella.build.selection import Selection
from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.engines.base import SolveOptions, SolveRequest
from lamella.graph.events import NullSink
from lamella.planning.plan import Plan, PlanOptions
from lamella.project.load import parse_project
from lamella.project.lock import EMPTY_LOCK, Lock
from lamella.project.template import TemplateFacts
from lamella.stacks.table import StackTable
from lamella.testing.clock import FixedClock
from lamella.testing.engine import FakeEngine, FakeHost, MemoryLookup
from lamella.testing.tree import MemoryTree
from lamella.values import dataclass, field, replace

__all__ = ["Scenario", "planned", "rebuilt", "solve"]


@dataclass(frozen=True)
class Scenario:
    """A project as values. ``edited`` and ``changed`` give modified copies."""

    toml: str
    files: Mapping[str, bytes | str]
    lock: Lock = EMPTY_LOCK
    host: FakeHost = FakeHost()
    facts: TemplateFacts = TemplateFacts("1.2.3", "0" * 40, 0, "/project", 1000, "linux/amd64")
    arguments: FrozenMap[str, str] = EMPTY_MAP
    selection: Selection = Selection()
    executable: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)

    def edited(self, files: Mapping[str, bytes | str | None]) -> Scenario:
        """With files added, replaced or (None) removed."""
        left = {path: data for path, data in self.files.items() if files.get(path, b"") is not None}
        return replace(self, files={**left, **{path: data for path, data in files.items() if data is not None}})

    def toml_changed(self, before: str, after: str) -> Scenario:
        """With a piece of the project file replaced; it must be there exactly once."""
        if self.toml.count(before) != 1:
            raise AssertionError(f"{before!r} is in the project file {self.toml.count(before)} times")
        return replace(self, toml=self.toml.replace(before, after))

    def tree(self) -> MemoryTree:
        """The source tree."""
        return MemoryTree(self.files, executable=self.executable, links=self.links)

    def parts(self, lookup: MemoryLookup) -> Parts:
        """The parts of the use cases, over ``lookup``."""
        return Parts(
            parse_project(self.toml.encode(), file="lamella.toml"),
            self.lock,
            self.tree(),
            self.host,
            lookup,
            FixedClock(0),
            StackTable(),
            self.facts,
            self.arguments,
        )


def solve(scenario: Scenario, lookup: MemoryLookup, **engine: object) -> None:
    """Builds everything of a scenario that ``lookup`` has no record of."""
    parts = scenario.parts(lookup)
    graph = lower(parts, scenario.selection)
    fake = FakeEngine(parts.tree, parts.host, lookup, **engine)  # type: ignore[arg-type]
    fake.solve(SolveRequest("p", graph.definition, graph.targets, options=SolveOptions()), NullSink())


def planned(scenario: Scenario, lookup: MemoryLookup) -> Plan:
    """The plan of a scenario."""
    return plan(scenario.parts(lookup), scenario.selection, PlanOptions())


def rebuilt(before: Scenario, after: Scenario) -> frozenset[str]:
    """Names of the vertices that really run again when ``before`` was built and became ``after``.

    What a plan calls expected counts only if its key turns out new once its inputs are made.
    """
    lookup = MemoryLookup()
    solve(before, lookup)
    known = set(lookup.records)
    solve(after, lookup)
    return frozenset(record.name for key, record in lookup.records.items() if key not in known)
