"""Runs an image's program inside the helper: ``lamella run`` without a daemon.

The root file system is an overlay of the image's layers whose writes are thrown away, or none at all when it is
read-only. The network is the host's: ports are the program's own. The program is a child of bubblewrap's reaper, so
signals have their usual meaning, as with ``docker run --init``.
"""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from time import monotonic

from lamella.engines.local.accounts import Account, user_groups, user_ids
from lamella.engines.local.bubblewrap import BubblewrapCall
from lamella.engines.local.identity import take_on
from lamella.engines.local.limits import limit_argv, make_group
from lamella.engines.local.mounts import (
    Bind,
    MountOp,
    Overlay,
    Tmpfs,
    execute,
    lay_stubs,
    mount_overlay,
    normalise,
    outer_targets,
    retarget,
    unmount_all,
    view_of,
)
from lamella.engines.local.sandbox import Sandbox, Started
from lamella.errors import HostileInputError, SandboxError, StepError
from lamella.host.rooted import Rooted
from lamella.process import which
from lamella.values import dataclass

__all__ = ["ContainerBind", "ContainerJob", "run_container"]

_POLL = 0.1
_OWN_PLACES = ("/proc", "/dev", "/sys")
_NETWORK_FILES = ("/etc/hosts", "/etc/resolv.conf")


@dataclass(frozen=True, slots=True)
class ContainerBind:
    """A directory or file of the host at ``target``. With ``adopt`` an empty directory takes on owner and mode of
    what the image has there, as a named volume does.
    """

    target: str
    path: str
    read_only: bool = False
    file: bool = False
    adopt: bool = False


@dataclass(frozen=True, slots=True)
class ContainerJob:
    """One container. ``folder`` is private to it; ``lowers`` are unpacked layers, lowest first.

    Without ``network`` it has a loopback of its own only. ``memory`` in bytes and ``processes`` are limits, 0: none.
    ``stop`` is the signal that asks the program to end, after ``grace`` seconds it is killed. ``terminal`` gives it
    this terminal and standard input.
    """

    folder: str
    lowers: tuple[str, ...]
    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str = "/"
    user: str = ""
    binds: tuple[ContainerBind, ...] = ()
    tmpfs: tuple[str, ...] = ()
    read_only: bool = False
    network: bool = True
    hostname: str = "lamella"
    memory: int = 0
    processes: int = 0
    stop: int = signal.SIGTERM
    grace: float = 10.0
    terminal: bool = False


def run_container(job: ContainerJob, sandbox: Sandbox, cancelled: Event, *, rootless: bool) -> int:
    """Runs the program to its end, or to that of ``cancelled``; its exit status (128 + signal as shells count)."""
    root = _Root(job, rootless)
    group = make_group(f"{os.getpid()}-{Path(job.folder).name}", job.memory, job.processes)
    try:
        with root.mounted():
            account = user_ids(root.merged, job.user or "0")
            identity = take_on(account, user_groups(root.merged, job.user or "0"), bind_ports=True)
            limits = () if group else limit_argv(job.memory, job.processes, which("prlimit"))
            if limits:
                raise SandboxError(
                    "a memory limit for a whole container needs a control group, which cannot be made here",
                    hint="leave out --memory, become root, or use --engine docker",
                )
            call = BubblewrapCall(
                root.merged,
                (*identity.prefix, *job.argv),
                root.working_directory(account),
                network=job.network,
                hostname=job.hostname,
                terminal=job.terminal,
                shown=(*((path, path) for path in ("/sys",) if os.path.isdir(path)), *identity.shown),
            )
            with sandbox.start(call, env={"HOME": account.home, **job.env}, group=group) as started:
                code = _wait(started, job, cancelled)
            if group is not None and group.exhausted() == "memory":
                raise StepError("the container was killed: it used up its memory", hint="raise --memory")
            return code
    finally:
        root.clean()
        if group is not None:
            group.remove()


def _wait(started: Started, job: ContainerJob, cancelled: Event) -> int:
    """Waits for the end; once cancelled asks the program to stop, and kills it when it does not in time."""
    deadline: float | None = None
    while True:
        with suppress(TimeoutError):
            code = started.process.wait(_POLL)
            return code if code >= 0 else 128 - code
        if cancelled.is_set() and deadline is None:
            deadline = monotonic() + job.grace
            _signal(started.child, job.stop)
        if deadline is not None and monotonic() > deadline:
            started.process.end(grace=0)


def _signal(first: int, number: int) -> None:
    """Sends a signal to the program: the children of the sandbox's first process (proc_pid_task(5))."""
    with suppress(OSError):
        for pid in Path(f"/proc/{first}/task/{first}/children").read_text(encoding="ascii").split():
            os.kill(int(pid), number)


class _Root:
    """The mounted tree of a container."""

    def __init__(self, job: ContainerJob, rootless: bool) -> None:
        self._job = job
        self._rootless = rootless
        self._home = Path(job.folder) / "container"
        self._lowers = tuple(reversed(job.lowers))
        self.merged = str(self._home / "merged")

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """The tree while it is there. Raises HostileInputError for an image that cannot take the mounts."""
        for name in ("", "stubs", "merged", "work", "upper", "view"):
            (self._home / name).mkdir(mode=0o755 if name else 0o700)
        try:
            ops = self._lay_places(normalise(self._wanted()))
            upper, work = ("", "") if self._job.read_only else (str(self._home / "upper"), str(self._home / "work"))
            lowers = (str(self._home / "stubs"), *self._lowers)
            mount_overlay(Overlay("/", lowers, upper, work), self.merged, rootless=self._rootless)
            execute(self.merged, ops, rootless=self._rootless)
            yield
        finally:
            unmount_all(str(self._home))

    def working_directory(self, account: Account) -> str:
        """The working directory, made when the image does not have it, as Docker does."""
        if not self._job.read_only:
            with Rooted(self.merged) as root:
                for path in root.mkdirs(self._job.cwd):
                    root.chown(path, account.uid, account.gid)
        return self._job.cwd

    def clean(self) -> None:
        """Removes what the container wrote: its files, and volumes that are in its folder."""
        inside = (Path(bind.path) for bind in self._job.binds)
        names = {path.name for path in inside if path.parent == Path(self._job.folder)}
        with Rooted(self._job.folder, links=False) as folder:
            for name in (self._home.name, *sorted(names)):
                with suppress(FileNotFoundError):
                    folder.remove_tree(name)

    def _wanted(self) -> list[MountOp]:
        ops: list[MountOp] = [Bind(bind.target, bind.path, bind.read_only, bind.file) for bind in self._job.binds]
        ops += [Tmpfs(target) for target in self._job.tmpfs]
        taken = {op.target for op in ops}
        ops += [
            Bind(path, path, read_only=True, file=True)
            for path in _NETWORK_FILES
            if path not in taken and os.path.isfile(path)
        ]
        return ops

    def _lay_places(self, ops: tuple[MountOp, ...]) -> tuple[MountOp, ...]:
        """Places for all mounts in the stubs, and the mounts at their real paths."""
        stubs = str(self._home / "stubs")
        with view_of(self._lowers, str(self._home / "view"), rootless=self._rootless) as view:
            own = lay_stubs(view, stubs, ((path, False) for path in _OWN_PLACES))
            moved = [path for path, real in own.real.items() if path != real]
            if moved:
                raise HostileInputError(f"{moved[0]} in the image is a link")
            laid = lay_stubs(view, stubs, outer_targets(ops))
            for bind in self._job.binds:
                if bind.adopt and not os.listdir(bind.path):
                    _adopt(view, laid.real.get(bind.target, bind.target), bind.path)
        return retarget(ops, laid.real)


def _adopt(view: str, target: str, path: str) -> None:
    with Rooted(view) as shown, suppress(OSError):
        like = shown.lstat(target)
        if stat.S_ISDIR(like.st_mode):
            os.chown(path, like.st_uid, like.st_gid)
            os.chmod(path, stat.S_IMODE(like.st_mode))
