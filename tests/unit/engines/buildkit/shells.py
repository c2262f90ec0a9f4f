"""Runs a step's script under a real shell, with the paths of a container moved into a temporary folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from lamella.engines.buildkit import script as scripts
from lamella.engines.buildkit.script import StepScript, step_script
from lamella.engines.local.certificates import BUNDLE_PLACES

SHELLS = ("dash", "busybox", "bash")
MARK = "mark:1"

_APPLETS = (
    "cat", "chmod", "chown", "cmp", "cp", "env", "false", "find", "kill", "ln", "mkdir", "mkfifo", "printf", "rm",
    "sh", "sleep", "stat", "test", "touch", "true",
)  # fmt: skip
_INHERITED = {"PATH": "/nowhere", "HOME": "/elsewhere", "EVIL": "1", "LD_LIBRARY_PATH": "/nowhere", "CDPATH": "/"}


@dataclass(frozen=True, slots=True)
class Ran:
    """How a script ended. ``marks`` are its words for the engine, ``out`` and ``err`` what its commands wrote."""

    code: int
    out: bytes
    err: str
    marks: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Shell:
    """A shell with the tools that go with it, and a folder that stands for a container's root."""

    name: str
    root: Path

    def at(self, path: str) -> Path:
        """Where an absolute path of the container is."""
        return self.root / path.lstrip("/")

    def inside(self, path: str) -> str:
        """An absolute path of the container as the script is told."""
        return str(self.at(path))

    def run(self, script: StepScript, **inherited: str) -> Ran:
        """Runs a step's script; ``inherited`` is what the builder has in its environment."""
        return self.execute(step_script(script), **inherited)

    def execute(self, data: bytes, **inherited: str) -> Ran:
        """Runs a script in the moved container."""
        place = self.root / "script"
        place.write_bytes(self._moved(data))
        env = {**_INHERITED, **inherited}
        done = subprocess.run([*self._argv(), str(place)], env=env, cwd="/", capture_output=True, check=False)
        lines = done.stderr.decode("utf-8", "surrogateescape").splitlines()
        marks = tuple(tuple(line.split()[1:]) for line in lines if line.startswith(f"{MARK} "))
        rest = "\n".join(line for line in lines if not line.startswith(f"{MARK} "))
        return Ran(done.returncode, done.stdout, rest, marks)

    def _argv(self) -> list[str]:
        program = shutil.which(self.name) or self.name
        return {"busybox": [program, "sh"], "bash": [program, "--posix"]}.get(self.name, [program])

    def _moved(self, data: bytes) -> bytes:
        """No path of the script may touch this machine: the bundle that it would add to is the system's own."""
        moves = [*BUNDLE_PLACES, scripts.OUT, "/lamella/secret-", scripts.CA_SOURCE, "/run/lamella"]
        for path in moves:
            elsewhere = b"(?<!" + re.escape(bytes(self.root)) + b")" + re.escape(path.encode())
            data = re.sub(elsewhere, self.inside(path).encode(), data)
        assert b"'/etc/" not in data
        if self.name == "busybox":
            tools = self.root / "tools"
            data = data.replace(scripts.TOOL_PATH.encode(), bytes(tools))
            data = data.replace(b"/bin/sh", bytes(tools / "sh"))
        return data


def open_shell(name: str, root: Path) -> Shell:
    """A shell for a test, which is skipped where it is not installed."""
    program = shutil.which(name)
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is missing in CI (Debian packages dash, busybox-static, bash)", pytrace=False)
        pytest.skip(f"{name} is not installed")
    if name == "busybox":
        (root / "tools").mkdir()
        for applet in _APPLETS:
            (root / "tools" / applet).symlink_to(program)
    for folder in ("lamella/src", "run/lamella"):
        (root / folder).mkdir(parents=True)
    return Shell(name, root)
