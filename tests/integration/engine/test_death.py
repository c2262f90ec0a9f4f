"""Nothing survives a killed runner, helper or first process of a step, nor an interrupt (rows 4, 5, 6)."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamella.engines.local.runner import LocalRunner
from lamella.engines.local.values import RunnerSettings
from lamella.errors import StepError
from lamella.graph.op import Command
from lamella.process import PIPE, Process, spawn
from lamella.store.store import Store
from tests.integration.engine.conftest import ENV
from tests.integration.engine.steps import Steps, py

MARK = f"lamella-death-test-{os.getpid()}"
AGENT = "lamella.engines.local.agent"

BUILD = f"""
import sys, threading
from pathlib import Path
from lamella.canonical import FrozenMap
from lamella.engines.local.runner import LocalRunner
from lamella.engines.local.values import Chain, RunnerSettings, StepSpec
from lamella.graph.op import Command, ExecOp
from lamella.host.probes import machine, platform_of
from lamella.store.store import Store
root, base, key = sys.argv[1:]
store = Store.open(Path(root))
runner = LocalRunner(store, RunnerSettings(memory=1 << 30))
code = "import os, time; os.fork() or os.setsid(); print('up', flush=True); time.sleep(300)"
op = ExecOp(commands=(Command(("python3", "-c", code, "{MARK}")),))
spec = StepSpec(key, "sleeper", op, platform_of(machine()), Chain((base,)))
try:
    with store.lease("test"):
        runner.run_step(spec, lambda _, line: print(line, flush=True))
except KeyboardInterrupt:
    runner.close()
    sys.exit(130)
"""


def processes(word: str) -> list[int]:
    """Ids of processes (no zombies) with ``word`` among their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if word.encode() in arguments:
                found.append(int(entry.name))
    return found


def programs(word: str) -> list[int]:
    """Those of ``processes`` that are the command itself: whoever starts it has the word among its arguments too."""
    found = []
    for pid in processes(word):
        try:
            program = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
        except OSError:
            continue
        if program == b"python3":
            found.append(pid)
    return found


def mounts_below(folder: Path) -> list[str]:
    """Mounts in this namespace at or below a folder; other tests mount elsewhere."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.split()[4].startswith(str(folder))]


def processes_with(text: str) -> list[int]:
    """Ids of processes with ``text`` inside an argument."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if text.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    except FileNotFoundError:
        return 0


def soon(what: object, *, within: float = 60.0) -> bool:
    """Whether ``what()`` becomes true."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if what():  # type: ignore[operator]
            return True
        time.sleep(0.05)
    return False


def groups() -> set[str]:
    """Control groups of ours."""
    return {str(path) for path in Path("/sys/fs/cgroup").glob("*/lamella-*")} | {
        str(path) for path in Path("/sys/fs/cgroup").glob("lamella-*")
    }


@pytest.fixture
def sleeper(steps: Steps, run_folder: Path) -> Iterator[tuple[Process, str]]:
    """A process that runs a step which sleeps, and the step's key."""
    spec = steps.spec("true")
    argv = (sys.executable, "-c", BUILD, str(steps.store.root), steps.base.snapshots[0], spec.key)
    env = {**ENV, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with spawn(argv, env=env, stdout=PIPE, stderr=PIPE) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if line != b"up\n" and process.stderr is not None:
            pytest.fail(process.stderr.read().decode())
        yield process, spec.key


def test_a_killed_run_leaves_no_process_mount_or_group(steps: Steps, sleeper: tuple[Process, str]) -> None:
    process, key = sleeper
    assert processes(MARK)
    mounts = mounts_below(steps.store.root)
    starter = [pid for pid in processes_with(AGENT) if parent_of(pid) == process.pid]
    before = starter + [pid for pid in processes_with(AGENT) if parent_of(pid) in starter]
    assert len(before) == 2
    os.kill(process.pid, signal.SIGKILL)
    assert soon(lambda: not processes(MARK))
    assert soon(lambda: not any(pid in processes_with(AGENT) for pid in before))
    assert soon(lambda: not any(f"-{key[7:19]}" in group for group in groups()))
    assert mounts_below(steps.store.root) == mounts
    assert steps.store.snapshots.find(key) is None
    left = set(os.listdir(steps.store.layout.staging))
    with Store.open(steps.store.root) as again:
        assert set(os.listdir(again.layout.staging)) <= left
    assert steps.run(steps.spec("echo works")).lines == ["works"]


@pytest.mark.parametrize("victim", ["starter", "helper"])
def test_a_killed_helper_is_a_clear_error_and_the_next_step_gets_a_new_one(steps: Steps, victim: str) -> None:
    runner = LocalRunner(steps.store, RunnerSettings(env=ENV))
    own = Steps(steps.store, runner, steps.base)
    own.run(own.spec("true"))
    helper = runner._get_helper()
    pids = [helper.pid, *(pid for pid in processes_with(AGENT) if parent_of(pid) == helper.pid)]
    assert len(pids) == 2
    threading.Timer(0.5, lambda: os.kill(pids[victim == "helper"], signal.SIGKILL)).start()
    with pytest.raises(StepError, match="helper ended unexpectedly"):
        own.run(own.spec(py("import time; time.sleep(300)")))
    assert soon(lambda: not processes("import time; time.sleep(300)"))
    assert own.run(own.spec("echo again")).lines == ["again"]
    runner.close()


def test_a_killed_first_process_of_a_step_is_a_clear_error(steps: Steps) -> None:
    word = f"killed-{os.getpid()}"

    def kill() -> None:
        soon(lambda: programs(word), within=30)
        first = parent_of(programs(word)[0])  # bubblewrap's reaper: process 1 of the sandbox
        os.kill(first, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(StepError, match="exit status"):
        steps.run(steps.spec(Command(("python3", "-c", "import time; time.sleep(300)", word))))
    thread.join()
    assert soon(lambda: not processes(word))
    assert steps.run(steps.spec("echo works")).lines == ["works"]


def test_a_cancelled_step_ends_at_once_with_all_it_started(steps: Steps) -> None:
    word = f"cancelled-{os.getpid()}"
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    code = "import os, signal, time; signal.signal(15, signal.SIG_IGN); os.fork() or os.setsid(); time.sleep(300)"
    start = time.monotonic()
    with pytest.raises(StepError, match="cancelled"):
        steps.run(steps.spec(Command(("python3", "-c", code, word))), cancelled=stop)
    assert time.monotonic() - start < 60, "the step itself would go on for minutes"
    assert not processes(word)


def test_an_interrupt_ends_a_run_long_before_its_step_would(sleeper: tuple[Process, str]) -> None:
    process, _ = sleeper
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert soon(lambda: not processes(MARK), within=30)


def test_closing_the_runner_ends_its_steps(steps: Steps) -> None:
    runner = LocalRunner(steps.store, RunnerSettings(env=ENV))
    own = Steps(steps.store, runner, steps.base)
    word = f"closed-{os.getpid()}"
    errors: list[BaseException] = []

    def work() -> None:
        try:
            own.run(own.spec(Command(("python3", "-c", "import time; time.sleep(300)", word))))
        except BaseException as error:  # noqa: BLE001 - looked at below
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert soon(lambda: processes(word))
    runner.close()
    thread.join(5)
    assert not processes(word)
    assert [str(error) for error in errors] == ["the step was cancelled"]
