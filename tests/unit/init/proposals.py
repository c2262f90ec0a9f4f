"""What ``init`` writes for a tree in memory, and whether that file works. As a program it writes the golden texts.

python -m tests.unit.init.proposals
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lamella.build.lock import lock_project
from lamella.build.selection import Selection
from lamella.canonical import FrozenMap
from lamella.init.evidence import is_foreign
from lamella.init.hosttools import HostSight
from lamella.init.propose import Asked, propose
from lamella.init.render import render_proposal
from lamella.init.values import Proposal
from lamella.planning.plan import Plan
from lamella.project.later import later_features
from lamella.project.load import parse_project
from lamella.stacks.table import StackTable
from lamella.testing.engine import MemoryLookup
from lamella.testing.resolvers import FakeResolvers
from lamella.testing.scenarios import Scenario, planned, solve
from lamella.testing.tree import MemoryTree
from tests.unit.init.kinds import KINDS, Files

GOLDEN = Path(__file__).parents[2] / "golden" / "init"

RUSTC = "rustc 1.92.0\nrelease: 1.92.0\nhost: x86_64-unknown-linux-gnu"
HOST = HostSight(
    frozenset({"cargo", "rustc", "cc", "node", "npm", "bun", "pnpm", "python3"}),
    FrozenMap({"rustc": "rustup, default stable", "rustc stable": RUSTC, "node": "v20.19.2"}),
    (2, 36),
    "debian/bookworm",
)
"""A Debian 12 with every tool."""
BARE = HostSight(glibc=(2, 36), suite="debian/bookworm")
"""A Debian 12 without any."""


def proposal(files: Files, host: HostSight = HOST, asked: Asked = Asked()) -> Proposal:  # noqa: B008 - frozen value
    """What ``init`` proposes for a tree in a folder called shop."""
    foreign = {
        path: data.encode() if isinstance(data, str) else data for path, data in files.items() if is_foreign(path)
    }
    return propose(MemoryTree(files), "shop", StackTable(), host, replace(asked, foreign=foreign))


def first_plan(text: str, files: Files) -> Plan:
    """Takes a written file through load, lock, plan, build and a second plan, which has nothing left to do."""
    assert later_features(parse_project(text.encode(), file="lamella.toml")) == ()
    scenario = Scenario(text, files, selection=Selection(all=True))
    lock, _ = lock_project(scenario.parts(MemoryLookup()), FakeResolvers(tools={"bun": "1.3.14"}))
    scenario, lookup = replace(scenario, lock=lock), MemoryLookup()
    plan = planned(scenario, lookup)
    solve(scenario, lookup)
    assert not planned(scenario, lookup).has_work
    return plan


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for name, files in KINDS.items():
        (GOLDEN / f"{name}.toml").write_text(render_proposal(proposal(files)), encoding="utf-8")
