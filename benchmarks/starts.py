"""How long a command of a step takes to start: from asking for the step to the first clock that the command reads.

``measure`` needs a store that has the base of :mod:`benchmarks.core`. What comes after the command (changes, facts,
commit) is no part of it.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from lamella.canonical import FrozenMap, digest_bytes
from lamella.engines.local.runner import LocalRunner
from lamella.engines.local.values import Chain, RunnerSettings, StepSpec
from lamella.graph.op import Command, ExecOp
from lamella.host.probes import machine, platform_of
from lamella.process import SYSTEM_PATH
from lamella.store.store import Store

CLOCK = ("date", "+%s%N")
BARE = ("bwrap", "--bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-all", "--", *CLOCK)
"""Bubblewrap alone, on the host's own root."""


def measure(store: Path, project: str, base: str, runs: int) -> tuple[list[float], list[float]]:
    """Seconds of our starts on the base of a project and of bubblewrap's own, alternating."""
    ours, theirs = [], []
    settings = RunnerSettings(env=FrozenMap(dict(os.environ)))
    with Store.open(store) as opened:
        record = opened.records.latest(project, base)
        if record is None:
            raise SystemExit(f"{store} has no {base} of {project}")
        runner = LocalRunner(opened, settings)
        try:
            runner.probe()
            for number in range(runs):
                ours.append(_ours(runner, record.result.snapshot, number))
                theirs.append(_bare())
        finally:
            runner.close()
    return ours, theirs


def _ours(runner: LocalRunner, base: str, number: int) -> float:
    op = ExecOp((Command(CLOCK),), FrozenMap({"PATH": SYSTEM_PATH}))
    key = digest_bytes(f"{os.getpid()} {number}".encode())
    said: list[str] = []
    asked = time.time_ns()
    runner.run_step(
        StepSpec(key, "start", op, platform_of(machine()), Chain((base,))), lambda _, line: said.append(line)
    )
    return (int(said[0]) - asked) / 1e9


def _bare() -> float:
    asked = time.time_ns()
    done = subprocess.run(BARE, capture_output=True, check=True)
    return (int(done.stdout) - asked) / 1e9
