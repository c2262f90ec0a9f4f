"""What records say of a chain of steps is what a look at the whole of it finds: facts, packages, identity."""

from __future__ import annotations

import os
from pathlib import Path

from lamella.canonical import FrozenMap
from lamella.engines.local.runner import LocalRunner
from lamella.engines.local.values import Chain, RunnerSettings
from lamella.graph.facts_format import facts_to_bytes, parse_facts
from lamella.graph.keys import rootfs_identity
from lamella.store.store import Store
from tests.integration.e2e.conftest import Cli, write_tree

STEPS = (
    '["true"]',
    '["sh", "-c", "useradd -u 1234 app && mkdir -m 700 /srv/app && ln -s srv/app /app"]',
    '["true"]',
    '["chmod", "750", "/"]',
    '["touch", "/tmp"]',
    '["sh", "-c", "rm -r /usr/share/doc /app && mkdir /app && dpkg --purge --force-all mawk && echo > /usr/bin/new"]',
    '["chmod", "755", "/usr/bin/new"]',
)
HEAD = """
[project]
schema = 1
name = "chained"

[layer.base]
bootstrap = "debian/bookworm"

[image.chained]
"""


def project(folder: Path) -> Path:
    names = ", ".join(f'"s{number}"' for number in range(len(STEPS)))
    steps = "".join(f"\n[layer.s{number}]\nrun = [{step}]\n" for number, step in enumerate(STEPS))
    return write_tree(folder, {"lamella.toml": f'{HEAD}layers = ["base", {names}]\n{steps}'})


def test_a_chain_of_steps_is_recorded_as_a_look_at_the_whole_finds_it(cli: Cli, tmp_path: Path) -> None:
    built = cli.built(project(tmp_path / "p"))
    assert {f"s{number}" for number in range(len(STEPS))} <= built
    environ = FrozenMap(dict(os.environ))
    with Store.open(cli.store) as store:
        runner = LocalRunner(store, RunnerSettings(env=environ))
        try:
            seen = []
            chain = Chain((snapshot_of(store, "base", project="base"),))
            for number in range(len(STEPS)):
                chain = Chain((*chain.snapshots, snapshot_of(store, f"s{number}")))
                seen.append(check(store, runner, chain, f"s{number}"))
        finally:
            runner.close()
    assert seen[0] != seen[1] == seen[2] != seen[3]
    tools = [parse_facts(data).tools for data in seen]
    assert ["new" in found for found in tools] == [False] * (len(STEPS) - 1) + [True]
    assert ("mawk" in tools[4], "mawk" in tools[5]) == (True, False)


def snapshot_of(store: Store, name: str, project: str = "chained") -> str:
    """The snapshot of a step; the base's record is of the project that every test's store begins with."""
    record = store.records.latest(project, name)
    assert record is not None, name
    return record.result.snapshot


def check(store: Store, runner: LocalRunner, chain: Chain, name: str) -> bytes:
    """The recorded facts of a step, which are those that a walk of the mounted chain finds; its packages as well."""
    record = store.records.latest("chained", name)
    assert record is not None
    recorded = store.blobs.read(record.result.facts)
    facts = parse_facts(recorded)
    assert recorded == facts_to_bytes(runner.facts(chain, facts.platform, facts.runtime)), name
    packages = store.blobs.read(record.result.packages)
    assert packages == runner.packages(chain), name
    assert record.result.identity == rootfs_identity(record.key, record.result.packages)
    return recorded
