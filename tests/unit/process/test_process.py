"""Starting programs: arguments, environment, output, failures, ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from lamella.errors import ConfigError, ResourceError, StepError
from lamella.process import LineSplitter, base_env, paste, run, spawn, which

ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie that waits for its reaper does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_gone(pid: int) -> bool:
    pause = threading.Event()
    return any(not alive(pid) or pause.wait(0.05) for _ in range(100))


def test_output_and_status_are_given() -> None:
    done = run(["sh", "-c", "echo out; echo err >&2; exit 3"], env=ENV, check=False)
    assert (done.code, done.stdout, done.stderr, done.text) == (3, b"out\n", b"err\n", "out")


def test_arguments_are_never_read_by_a_shell() -> None:
    assert run(["printf", "%s", "$HOME `id` ; x"], env=ENV).stdout == b"$HOME `id` ; x"


def test_the_environment_is_exactly_what_was_handed_over() -> None:
    text = run(["env"], env={**ENV, "ONLY": "this"}).text
    assert sorted(text.splitlines()) == ["ONLY=this", f"PATH={ENV['PATH']}"]


def test_base_env_keeps_names_and_prefixes_and_lays_extras_over() -> None:
    source = {"HOME": "/h", "CARGO_HOME": "/c", "CARGO_TOKEN": "t", "OTHER": "o"}
    assert base_env(source, ["HOME", "CARGO_*"], {"HOME": "/x"}) == {
        "HOME": "/x",
        "CARGO_HOME": "/c",
        "CARGO_TOKEN": "t",
    }
    assert base_env(source, []) == {}


def test_input_reaches_the_program_and_none_is_empty() -> None:
    assert run(["cat"], env=ENV, stdin=b"x" * 300_000).stdout == b"x" * 300_000
    assert run(["cat"], env=ENV).stdout == b""


def test_a_failure_carries_command_place_and_end_of_output(tmp_path: Path) -> None:
    with pytest.raises(StepError) as caught:
        run(["sh", "-c", "echo why >&2; exit 7"], env=ENV, cwd=tmp_path, hint="look there")
    assert caught.value.message == "sh failed with exit status 7"
    assert caught.value.hint == "look there"
    assert caught.value.details == (f"cd {tmp_path} && sh -c 'echo why >&2; exit 7'", "why")


def test_a_signal_is_named() -> None:
    with pytest.raises(StepError, match="signal SIGKILL"):
        run(["sh", "-c", "kill -9 $$"], env=ENV)


def test_a_missing_program_is_an_error_of_the_callers_class() -> None:
    with pytest.raises(ConfigError, match="no-such-program is not installed"):
        run(["no-such-program"], env=ENV, error=ConfigError)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="no such directory"):
        run(["true"], env=ENV, cwd=tmp_path / "gone")


def test_chunks_and_lines_are_handed_on_while_only_the_end_is_kept() -> None:
    script = "for i in $(seq 20000); do echo line $i; done; printf end >&2"
    lines: list[tuple[int, bytes]] = []
    done = run(["sh", "-c", script], env=ENV, on_line=lambda stream, line: lines.append((stream, line)))
    assert [line for stream, line in lines if stream == 1] == [b"line %d" % n for n in range(1, 20001)]
    assert (2, b"end") in lines
    assert len(done.stdout) <= 64 << 10
    assert done.stdout.endswith(b"line 20000\n")


def test_a_very_long_line_is_given_in_pieces() -> None:
    pieces: list[bytes] = []
    splitter = LineSplitter(lambda _, line: pieces.append(line))
    splitter(1, b"x" * 200_000)
    splitter(1, b"\n")
    splitter.close()
    assert b"".join(pieces) == b"x" * 200_000
    assert len(pieces) > 1


def test_a_time_limit_ends_the_program_and_its_children(tmp_path: Path) -> None:
    script = f"sleep 300 & echo $! > {tmp_path}/pid; trap '' TERM; wait; sleep 300"
    with pytest.raises(ResourceError, match="did not end within"):
        run(["sh", "-c", script], env=ENV, timeout=0.5)
    assert wait_gone(int((tmp_path / "pid").read_text(encoding="utf-8")))


def test_cancelling_ends_the_program_and_its_children(tmp_path: Path) -> None:
    stop = threading.Event()
    script = f"sleep 300 & echo $! > {tmp_path}/pid; echo ready; wait"
    done = run(["sh", "-c", script], env=ENV, cancelled=stop, check=False, on_line=lambda *_: stop.set())
    assert done.code == -signal.SIGTERM
    assert wait_gone(int((tmp_path / "pid").read_text(encoding="utf-8")))


def test_an_exception_in_a_callback_ends_the_program() -> None:
    pids: list[int] = []

    def stop(_: int, line: bytes) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(["sh", "-c", "echo $$; exec sleep 300"], env=ENV, on_line=stop)
    assert wait_gone(pids[0])


def test_a_daemon_that_keeps_the_pipe_does_not_hold_the_caller() -> None:
    done = run(["sh", "-c", "setsid sleep 20 & echo $!"], env=ENV)
    pid = int(done.stdout)
    assert alive(pid)
    os.kill(pid, signal.SIGKILL)


def test_leaving_the_block_ends_a_spawned_program() -> None:
    with spawn(["sleep", "300"], env=ENV) as process:
        assert process.poll() is None
        with pytest.raises(TimeoutError):
            process.wait(0.01)
    assert wait_gone(process.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_the_kernel_ends_a_program_whose_parent_died() -> None:
    code = (
        "import os, time; from lamella.process import spawn; "
        "p = spawn(['sleep', '300'], env={}, die_with_parent=True); time.sleep(0.3); print(p.pid, flush=True); "
        "os.kill(os.getpid(), 9)"
    )
    done = run([sys.executable, "-c", code], env={"PYTHONPATH": "src"}, check=False)
    assert done.code == -signal.SIGKILL
    assert wait_gone(int(done.stdout))


def test_which_looks_on_path_and_where_the_system_keeps_its_programs(tmp_path: Path) -> None:
    tool = tmp_path / "some-tool"
    tool.write_text("#!/bin/sh\n", encoding="utf-8")
    tool.chmod(0o755)
    assert which("some-tool", {"PATH": str(tmp_path)}) == str(tool)
    assert which("some-tool", {}) is None
    assert which("sh") in ("/usr/bin/sh", "/bin/sh")


def test_paste_quotes_for_a_shell() -> None:
    assert paste(["a b", "c'd"], cwd=Path("/x y")) == """cd '/x y' && 'a b' 'c'"'"'d'"""


def test_a_pipe_is_closed_by_its_reader_only() -> None:
    """Its number must not go to the next program's pipe while a thread may still read it."""
    before = _pipes()
    left_behind = "import os, time; os.setsid(); time.sleep(3)"
    program = f"import os, time\nif os.fork() == 0:\n    {left_behind}\nelse:\n    time.sleep(60)"
    cancelled = threading.Event()
    threading.Timer(0.5, cancelled.set).start()
    run([sys.executable, "-c", program], env={}, check=False, cancelled=cancelled)
    opened = _pipes() - before
    assert opened, "the left-behind process still holds them, so their readers do too"
    deadline = time.monotonic() + 120
    while opened & _pipes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not opened & _pipes()


def _pipes() -> set[str]:
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{number}")
            if target.startswith("pipe:"):
                found.add(f"{number} {target}")
    return found


SIGNALLED = """
import os, signal, threading, time
from lamella.process import run
def handler(*_):
    end = time.perf_counter() + 0.01
    while time.perf_counter() < end: pass
signal.signal(signal.SIGUSR1, handler)
def send():
    while True:
        time.sleep(0.03)
        os.kill(os.getpid(), signal.SIGUSR1)
threading.Thread(target=send, daemon=True).start()
cancelled = threading.Event()
threading.Timer(4, cancelled.set).start()
run(["sleep", "300"], env={"PATH": os.environ["PATH"]}, check=False, cancelled=cancelled)
os.write(1, b"cancelled")
os._exit(0)
"""
"""Waits for a program while signals come at all points of the wait; each handler takes its time."""


def test_a_wait_with_signals_can_still_be_cancelled() -> None:
    own = {**ENV, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    assert run([sys.executable, "-c", SIGNALLED], env=own, timeout=60).text == "cancelled"
