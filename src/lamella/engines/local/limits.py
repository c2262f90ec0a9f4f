"""Limits of a step: a control group where root may make one, else resource limits of each process.

A group counts all processes of a step together; a resource limit only one at a time, which is said as a warning.
"""

from __future__ import annotations

import errno
import os
import resource
import time
from contextlib import suppress
from pathlib import Path

from lamella.values import dataclass

__all__ = ["ControlGroup", "limit_argv", "make_group", "sweep_groups"]

_ROOT = Path("/sys/fs/cgroup")
_PREFIX = "lamella-"
_REMOVAL_TRIES = 50
_MEMORY_SWAP = "memory.memsw.limit_in_bytes"


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """A step's control group: one directory per hierarchy (version 1) or a single one (version 2)."""

    folders: tuple[Path, ...]
    memory: Path | None
    processes: Path | None

    def add(self, pid: int) -> None:
        """Takes a process in, with what it will start."""
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def exhausted(self) -> str:
        """Which limit was met: ``memory``, ``processes`` or empty."""
        if self.memory and _counter(self.memory, "oom_kill"):
            return "memory"
        return "processes" if self.processes and _counter(self.processes, "max") else ""

    def remove(self) -> None:
        """Removes the directories; the kernel needs a moment after the last process."""
        for folder in self.folders:
            _remove(folder)


def make_group(name: str, memory: int, processes: int) -> ControlGroup | None:
    """A new group with limits in bytes and processes (0: none); None where this process may not make one."""
    if os.geteuid() != 0 or not (memory or processes):
        return None
    try:
        return (
            _make_v2(name, memory, processes)
            if (_ROOT / "cgroup.controllers").exists()
            else _make_v1(name, memory, processes)
        )
    except OSError:
        return None


def _make_v1(name: str, memory: int, processes: int) -> ControlGroup:
    folders: list[Path] = []
    for hierarchy, wanted in (("memory", memory), ("pids", processes)):
        if wanted:
            folder = _ROOT / hierarchy / f"{_PREFIX}{name}"
            folder.mkdir()
            folders.append(folder)
            if hierarchy == "memory":
                _write(folder / "memory.limit_in_bytes", memory)
                with suppress(OSError):  # only where swap is accounted
                    _write(folder / _MEMORY_SWAP, memory)
            else:
                _write(folder / "pids.max", processes)
    by_name = {folder.parent.name: folder for folder in folders}
    memory_events = by_name["memory"] / "memory.oom_control" if memory else None
    return ControlGroup(tuple(folders), memory_events, by_name["pids"] / "pids.events" if processes else None)


def _make_v2(name: str, memory: int, processes: int) -> ControlGroup:
    folder = _ROOT / f"{_PREFIX}{name}"
    with suppress(OSError):
        (_ROOT / "cgroup.subtree_control").write_text("+memory +pids", encoding="ascii")
    folder.mkdir()
    try:
        if memory:
            _write(folder / "memory.max", memory)
            with suppress(OSError):
                _write(folder / "memory.swap.max", 0)
        if processes:
            _write(folder / "pids.max", processes)
    except OSError:
        folder.rmdir()
        raise
    return ControlGroup(
        (folder,), folder / "memory.events" if memory else None, folder / "pids.events" if processes else None
    )


def sweep_groups(folder: Path = _ROOT) -> None:
    """Removes groups without processes that a killed run left behind."""
    for hierarchy in (folder, folder / "memory", folder / "pids"):
        for group in hierarchy.glob(f"{_PREFIX}*"):
            with suppress(OSError):
                group.rmdir()


def limit_argv(memory: int, processes: int, prlimit: str | None) -> tuple[str, ...]:
    """What goes before a command where there is no control group (prlimit(1)): ids are counted per user namespace,
    memory is what one process may write to (RLIMIT_DATA: address space alone is often reserved and never used).
    """
    if prlimit is None or not (memory or processes):
        return ()
    argv = [prlimit, "--core=0"]
    if memory:
        argv.append(f"--data={memory}")
    if processes:
        argv.append(f"--nproc={min(processes, _hard_processes())}")
    return (*argv, "--")


def _hard_processes() -> int:
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    return (1 << 31) if hard == resource.RLIM_INFINITY else hard


def _counter(path: Path, name: str) -> int:
    with suppress(OSError, ValueError):
        for line in path.read_text(encoding="ascii").splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0


def _write(path: Path, value: int) -> None:
    path.write_text(str(value), encoding="ascii")


def _remove(folder: Path) -> None:
    for _ in range(_REMOVAL_TRIES):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY:
                return
            time.sleep(0.01)
        else:
            return
