"""A shell where a step runs, on a terminal."""

from __future__ import annotations

import os
import pty
import select
import sys
import time
from pathlib import Path

import pytest

from tests.integration.engine.conftest import ENV
from tests.integration.engine.steps import Steps

SHELL = """
import sys
from pathlib import Path
from lamella.canonical import FrozenMap
from lamella.engines.local.runner import LocalRunner
from lamella.engines.local.values import Chain, RunnerSettings, SourceInput, StepSpec
from lamella.graph.mount import BindMount
from lamella.graph.op import Command, ExecOp, OutputPath
from lamella.host.probes import machine, platform_of
from lamella.layers.snapshot import scan_tree
from lamella.store.store import Store
root, base, project = sys.argv[1:]
runner = LocalRunner(Store.open(Path(root)), RunnerSettings())
op = ExecOp(commands=(Command(("false",), cwd="/lamella/src"),), mounts=(BindMount(0, "/lamella/src"),),
            outputs=(OutputPath("/x", "x"),))
given = SourceInput(Path(project), scan_tree(project))
spec = StepSpec("sha256:" + "0" * 64, "app:deps", op, platform_of(machine()), Chain((base,)), FrozenMap({0: given}))
code = runner.shell(spec)
runner.close()
sys.exit(code)
"""


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, argv: list[str], env: dict[str, str]) -> None:
        self.said = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(argv[0], argv, env)

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def wait_for(self, text: str, *, within: float = 120.0) -> None:
        deadline = time.monotonic() + within
        while text not in self.said:
            if time.monotonic() > deadline:
                pytest.fail(f"{text!r} did not come; it said: {self.said[-2000:]}")
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    self.said += os.read(self.fd, 4096).decode(errors="replace")
                except OSError:
                    pytest.fail(f"it ended without {text!r}: {self.said[-2000:]}")

    def end(self) -> int:
        """Its exit status."""
        while True:
            try:
                if not os.read(self.fd, 4096):
                    break
            except OSError:
                break
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def terminal(steps: Steps, tmp_path: Path) -> Terminal:
    (tmp_path / "project").mkdir()
    (tmp_path / "project/file").write_text("from the project", encoding="utf-8")
    argv = [sys.executable, "-c", SHELL, str(steps.store.root), steps.base.snapshots[0], str(tmp_path / "project")]
    env = {**ENV, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return Terminal(argv, env)


def test_a_shell_has_the_steps_mounts_and_its_end_is_ours(terminal: Terminal, steps: Steps) -> None:
    terminal.wait_for("app:deps:")
    terminal.type("cat file; echo; pwd; id -u; tty; echo w > /written\n")
    terminal.wait_for("from the project")
    terminal.wait_for("/lamella/src")
    terminal.type("exit 7\n")
    assert terminal.end() == 7
    assert steps.store.snapshots.find("sha256:" + "0" * 64) is None


def test_an_interrupt_goes_to_the_program_in_the_shell(terminal: Terminal) -> None:
    terminal.wait_for("app:deps:")
    terminal.type("sleep 100; echo after-$((40+2))\n")
    time.sleep(0.5)
    terminal.type("\x03")
    terminal.type("echo alive-$((40+2))\n")
    terminal.wait_for("alive-42")
    terminal.type("exit\n")
    terminal.end()
