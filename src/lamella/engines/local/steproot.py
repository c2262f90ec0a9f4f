"""The tree that a step sees: root file system, inputs, states, secrets, put together and taken apart again."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lamella.engines.local import certificates, kernel
from lamella.engines.local.jobs import StepJob
from lamella.engines.local.mounts import (
    Bind,
    MountOp,
    Overlay,
    Tmpfs,
    execute,
    lay_file,
    lay_stubs,
    mount_overlay,
    normalise,
    outer_targets,
    retarget,
    unmount_all,
    view_of,
)
from lamella.engines.local.stage import stage_input
from lamella.engines.local.unchanged import drop_unchanged
from lamella.errors import HostileInputError
from lamella.graph.fileset import FileSet
from lamella.host.rooted import Rooted
from lamella.layers.snapshot import scan_upper

__all__ = ["StepRoot"]

_OWN_PLACES = ("/proc", "/dev")
"""Where bubblewrap mounts: the directories have to be there, or it would make them in the upper directory."""

_HOSTS = "127.0.0.1 localhost\n::1 localhost\n"
_EMPTY_ROOT = (("root", 0o700), ("run", 0o755), ("tmp", 0o1777), ("var", 0o755), ("var/tmp", 0o1777))
"""Directories that programs expect although the host's own are not shown."""


class StepRoot:
    """The mounts of one step below ``<folder>/job``.

    ``merged`` is where the root is mounted as the step sees it, and before and after that its layers alone, to be
    looked at. In between, ``overlays`` are the inputs whose writes are thrown away, ``places`` the targets of all
    mounts.
    """

    def __init__(self, job: StepJob, *, rootless: bool) -> None:
        self._job = job
        self._rootless = rootless
        self._home = Path(job.folder) / "job"
        self._lowers = tuple(reversed(job.rootfs.lowers))
        self._bundle = b""
        self._bundle_places: tuple[str, ...] = ()
        self._made: tuple[str, ...] = ()
        self.merged = str(self._home / "merged")
        self.overlays: tuple[Overlay, ...] = ()
        self.places: tuple[str, ...] = ()

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """The tree while it is there. Raises HostileInputError for a root file system that cannot take the mounts."""
        keeps_changes = not (self._job.outputs or self._job.terminal)
        more = ([] if keeps_changes else ["upper"]) + (["secrets"] if self._job.secrets else [])
        for name in ("", "stubs", "merged", "work", "files", *more):
            (self._home / name).mkdir(mode=0o755 if name else 0o700)
        try:
            self._mount_secrets()
            ops = self._lay_places(normalise(self._wanted()))
            upper = self._job.result if keeps_changes else str(self._home / "upper")
            root = Overlay("/", (str(self._home / "stubs"), *self._lowers), upper, str(self._home / "work"))
            mount_overlay(root, self.merged, rootless=self._rootless)
            execute(self.merged, ops, rootless=self._rootless)
            self.overlays = tuple(op for op in ops if isinstance(op, Overlay))
            self.places = tuple(op.target for op in ops)
            yield
        finally:
            unmount_all(str(self._home))

    def give_secrets(self, uid: int, gid: int) -> None:
        """Hands the secrets over to the user that the commands run as."""
        for number in range(len(self._job.secrets)):
            os.chown(self._home / "secrets" / str(number), uid, gid)

    def has_directory(self, path: str) -> bool:
        """Whether the step finds a directory at ``path``; nothing of procfs counts (CVE-2024-21626)."""
        try:
            with Rooted(self.merged) as root:
                return stat.S_ISDIR(root.stat(path).st_mode)
        except OSError:
            return False

    def changes(self) -> FileSet:
        """What the step changed in its root file system; only when nothing is mounted any more."""
        certificates.take_back(self._job.result, self._bundle_places, self._bundle)
        with Rooted(self._job.result, links=False) as upper:
            for path in reversed(self._made):
                _remove_if_empty(upper, path)
        if self._lowers:
            with view_of(self._lowers, self.merged, rootless=self._rootless) as below:
                drop_unchanged(self._job.result, below)
        return scan_upper(self._job.result, self._lowers)

    def is_unchanged(self, changes: FileSet) -> bool:
        """Whether the chain with the step's changes is the one below: nothing in it, and the same root directory."""
        if changes.entries or not self._lowers:
            return False
        now, before = os.stat(self._job.result), os.stat(self._lowers[0])
        return (now.st_mode, now.st_uid, now.st_gid) == (before.st_mode, before.st_uid, before.st_gid)

    @contextmanager
    def chain(self) -> Iterator[str]:
        """The root file system with the step's changes, to be looked at; only when nothing is mounted any more."""
        lowers = (self._job.result, *self._lowers)
        with view_of(lowers, self.merged, rootless=self._rootless) as place:
            yield place

    def clean(self) -> None:
        """Removes everything but the result."""
        with Rooted(self._job.folder, links=False) as folder, suppress(FileNotFoundError):
            folder.remove_tree("job")

    # -- what is mounted ---------------------------------------------------------------------------------------------

    def _wanted(self) -> list[MountOp]:
        ops: list[MountOp] = [self._input(number) for number in range(len(self._job.inputs))]
        ops += [Bind(mount.target, mount.path) for mount in self._job.directories]
        ops += [Tmpfs(mount.target, mount.size) for mount in self._job.tmpfs]
        for number, secret in enumerate(self._job.secrets):
            ops.append(Bind(secret.target, str(self._home / "secrets" / str(number)), read_only=True, file=True))
        ops += self._host_paths()
        taken = {op.target for op in ops}
        return ops + [op for op in self._network_files() if op.target not in taken]

    def _input(self, number: int) -> MountOp:
        mount = self._job.inputs[number]
        home = self._home / f"input-{number}"
        for name in ("", "lower", "upper", "work"):
            (home / name).mkdir(mode=0o755)
        staged = stage_input(mount, home / "lower")
        if staged.file:
            return Bind(mount.target, staged.path, file=True)
        return Overlay(mount.target, (staged.path,), str(home / "upper"), str(home / "work"))

    def _mount_secrets(self) -> None:
        """Secrets as files in memory, which goes with the mount (RELIABILITY B4)."""
        if not self._job.secrets:
            return
        place = self._home / "secrets"
        kernel.mount("tmpfs", str(place), "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=0700,size=16m")
        for number, secret in enumerate(self._job.secrets):
            handle = os.open(place / str(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
            with os.fdopen(handle, "wb") as file:
                file.write(secret.data)

    def _host_paths(self) -> list[MountOp]:
        """The host's own directories, read-only; links among them are made anew. Others are as in an empty root."""
        ops: list[MountOp] = []
        if not self._job.rootfs.host:
            return ops
        with Rooted(self._home / "stubs") as stubs:
            for path, mode in _EMPTY_ROOT:
                stubs.mkdir(path, mode)
            for path in sorted(self._job.rootfs.host):
                if os.path.islink(path):
                    stubs.mkdirs(posixpath.dirname(path))
                    stubs.symlink(os.readlink(path), path)
                elif os.path.exists(path):
                    ops.append(Bind(path, path, read_only=True, file=not os.path.isdir(path)))
        return ops

    def _network_files(self) -> list[MountOp]:
        """``hosts``, and where a command has the network the host's names and name servers, by copies."""
        networked = any(command.network for command in self._job.commands)
        files = {"hosts": _host_text("/etc/hosts") or _HOSTS} if networked else {"hosts": _HOSTS}
        if networked:
            files["resolv.conf"] = _host_text("/etc/resolv.conf")
        ops: list[MountOp] = []
        for name, text in files.items():
            source = self._home / "files" / name
            source.write_text(text, encoding="utf-8")
            source.chmod(0o644)
            ops.append(Bind(f"/etc/{name}", str(source), read_only=True, file=True))
        return ops

    def _lay_places(self, ops: tuple[MountOp, ...]) -> tuple[MountOp, ...]:
        """Places for all mounts in the stubs, and the mounts at their real paths."""
        stubs = str(self._home / "stubs")
        place = stubs if self._job.rootfs.host else self.merged
        with view_of(self._lowers, place, rootless=self._rootless) as view:
            own = lay_stubs(view, stubs, ((path, False) for path in _OWN_PLACES))
            moved = [path for path, real in own.real.items() if path != real]
            if moved:
                raise HostileInputError(f"{moved[0]} in the root file system is a link")
            ops = self._add_bundle(view, ops)
            laid = lay_stubs(view, stubs, outer_targets(ops))
        self._made = (*own.made, *laid.made)
        return retarget(ops, laid.real)

    def _add_bundle(self, view: str, ops: tuple[MountOp, ...]) -> tuple[MountOp, ...]:
        """The user's CA bundle, joined with what the root file system trusts, at its own place and the usual ones."""
        if not self._job.ca_bundle:
            return ops
        bundles = certificates.real_bundles("/" if self._job.rootfs.host else view)
        own = next(iter(bundles.values()), b"") or certificates.host_bundle()
        self._bundle = certificates.joined_bundle(self._job.ca_bundle, own)
        source = self._home / "files" / "ca-bundle.pem"
        source.write_bytes(self._bundle)
        source.chmod(0o644)
        if not self._job.rootfs.host:
            self._bundle_places = tuple(bundles)
            for path in bundles:
                lay_file(view, str(self._home / "stubs"), path, self._bundle)
        return normalise((*ops, Bind(self._job.ca_target, str(source), read_only=True, file=True)))


def _host_text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _remove_if_empty(upper: Rooted, path: str) -> None:
    """Removes a place for a mount that a recursive chmod or the like has brought up; only if it is still empty."""
    with suppress(OSError):
        status = upper.lstat(path)
        with upper.parent(path) as (directory, name):
            if stat.S_ISDIR(status.st_mode):
                os.rmdir(name, dir_fd=directory)
            elif stat.S_ISREG(status.st_mode) and not status.st_size:
                os.unlink(name, dir_fd=directory)
