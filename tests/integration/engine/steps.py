"""Short ways to write steps in tests."""

from __future__ import annotations

import itertools
import os
import textwrap
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lamella.canonical import FrozenMap, digest_bytes
from lamella.engines.local.runner import LocalRunner
from lamella.engines.local.values import Chain, Rootfs, SourceInput, StepInput, StepOutcome, StepSpec
from lamella.graph.mount import Mount
from lamella.graph.op import Command, ExecOp, OutputPath
from lamella.host.probes import machine, platform_of
from lamella.layers.snapshot import scan_tree
from lamella.store.store import Store

_NUMBERS = itertools.count()


def sh(text: str, *, network: bool = False, capture: str = "", cwd: str = "", unless: tuple[str, ...] = ()) -> Command:
    """A command of the shell."""
    return Command(("sh", "-ec", text), network=network, capture=capture, cwd=cwd, unless=unless)


def py(text: str, *, network: bool = False, capture: str = "") -> Command:
    """A program in Python."""
    return Command(("python3", "-c", textwrap.dedent(text)), network=network, capture=capture)


def source(root: Path) -> SourceInput:
    """A directory as a source input."""
    return SourceInput(root, scan_tree(root))


@dataclass
class Ran:
    """A step that ended, and its output."""

    outcome: StepOutcome
    lines: list[str]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def paths(self) -> list[str]:
        return [entry.path for entry in self.outcome.fileset]


@dataclass
class Steps:
    """A runner with a base to run on. ``lines`` are the output of the last step, also of one that failed."""

    store: Store
    runner: LocalRunner
    base: Chain
    lines: list[str] = field(default_factory=list)

    def spec(
        self,
        *commands: Command | str,
        mounts: tuple[Mount, ...] = (),
        inputs: Mapping[int, StepInput] | None = None,
        outputs: tuple[tuple[str, str], ...] = (),
        rootfs: Rootfs | None = None,
        secrets: dict[str, bytes] | None = None,
        env: dict[str, str] | None = None,
        cwd: str = "/",
        user: str = "0:0",
        network: str = "none",
        scratch: tuple[str, ...] = (),
        fresh_states: bool = False,
    ) -> StepSpec:
        """A step; texts are for the shell."""
        op = ExecOp(
            commands=tuple(sh(command) if isinstance(command, str) else command for command in commands),
            env=FrozenMap(env or {}),
            cwd=cwd,
            user=user,
            mounts=mounts,
            network=network,
            outputs=tuple(OutputPath(*output) for output in outputs),
            scratch=scratch,
        )
        key = digest_bytes(f"{os.getpid()} {next(_NUMBERS)}".encode())
        return StepSpec(
            key,
            "test",
            op,
            platform_of(machine()),
            self.base if rootfs is None else rootfs,
            FrozenMap(inputs or {}),
            FrozenMap(secrets or {}),
            fresh_states,
        )

    def run(self, spec: StepSpec, cancelled: threading.Event | None = None) -> Ran:
        """Runs a step to its end."""
        self.lines = []
        outcome = self.runner.run_step(spec, lambda _, line: self.lines.append(line), cancelled)
        return Ran(outcome, self.lines)
