"""Mounts of a step as values: planned by a pure function, then carried out by handle.

A root file system must not show that something was mounted on it. So the places for mounts (stubs) live in a
directory of their own that is the topmost *lower* directory of the overlay: they are there while the step runs, and
never in its upper directory, whatever the step does to them. Nothing has to be cleaned up afterwards, which is where
others had their holes (CVE-2024-23652).
"""

from __future__ import annotations

import errno
import itertools
import os
import posixpath
import re
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from lamella.engines.local import kernel
from lamella.errors import HostileInputError, InternalError, SandboxError
from lamella.host.resolve import O_PATH
from lamella.host.rooted import Rooted
from lamella.values import dataclass, replace

__all__ = [
    "Bind",
    "MountOp",
    "Overlay",
    "Stubs",
    "Tmpfs",
    "describe",
    "execute",
    "lay_file",
    "lay_stubs",
    "mount_overlay",
    "normalise",
    "outer_targets",
    "overlay_data",
    "retarget",
    "unmount_all",
    "view_of",
]

_O_PATH = O_PATH | os.O_CLOEXEC
_OCTAL = re.compile(r"\\([0-7]{3})")
_BUSY_TRIES = 100
RESERVED = ("/proc", "/dev", "/sys")
"""What the sandbox itself puts there; no mount of a step may."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """An overlay at ``target``: ``lowers`` topmost first, writes in ``upper``; ``work`` is in the same file system."""

    target: str
    lowers: tuple[str, ...]
    upper: str
    work: str


@dataclass(frozen=True, slots=True)
class Bind:
    """A directory or file of the host at ``target``, with what is mounted below it."""

    target: str
    source: str
    read_only: bool = False
    file: bool = False


@dataclass(frozen=True, slots=True)
class Tmpfs:
    """An empty directory in memory; ``size`` in bytes, 0 for the kernel's default."""

    target: str
    size: int = 0


MountOp = Overlay | Bind | Tmpfs


def normalise(ops: Iterable[MountOp]) -> tuple[MountOp, ...]:
    """The mounts with clean targets, outer ones first.

    Raises HostileInputError for a target that is relative, the root, reserved, or used twice.
    """
    cleaned = [replace(op, target=_clean(op.target)) for op in ops]
    ordered = sorted(cleaned, key=lambda op: op.target.split("/"))
    for before, after in itertools.pairwise(ordered):
        if before.target == after.target:
            raise HostileInputError(f"two mounts have the target {after.target}")
    return tuple(ordered)


def _clean(target: str) -> str:
    path = posixpath.normpath(target)
    if not target.startswith("/") or "\0" in target or ".." in target.split("/"):
        raise HostileInputError(f"mount target {target!r} is not an absolute path without '..'")
    path = "/" + path.lstrip("/")
    if path == "/" or any(path == name or path.startswith(f"{name}/") for name in RESERVED):
        raise HostileInputError(f"mount target {target!r} belongs to the sandbox itself")
    return path


def describe(ops: Iterable[MountOp]) -> tuple[str, ...]:
    """One line per mount, for logs and tests."""
    return tuple(_line(op) for op in ops)


def _line(op: MountOp) -> str:
    match op:
        case Overlay():
            return f"overlay {op.target} upper={op.upper} lower={':'.join(op.lowers)}"
        case Bind():
            return f"bind {op.target} from {op.source}{' read-only' if op.read_only else ''}"
        case Tmpfs():
            return f"tmpfs {op.target}{f' size={op.size}' if op.size else ''}"


def overlay_data(
    lowers: Iterable[str], upper: str = "", work: str = "", *, rootless: bool, volatile: bool = False
) -> str:
    """Options of an overlay mount (kernel document filesystems/overlayfs); without ``upper`` it is read-only.

    ``redirect_dir`` and ``metacopy`` would put content where a scan of the upper directory does not see it.
    ``volatile`` leaves out syncs: an upper directory is thrown away, or synced whole at its commit.
    """
    options = [f"lowerdir={':'.join(lowers)}"]
    options += [f"upperdir={upper}", f"workdir={work}"] if upper else []
    options += ["index=off", "metacopy=off", "userxattr" if rootless else "redirect_dir=off"]
    return ",".join([*options, "volatile"] if volatile else options)


def mount_overlay(op: Overlay, target: str | int, *, rootless: bool) -> None:
    """Mounts an overlay on a path or handle. Raises SandboxError when the kernel refuses."""
    place = target if isinstance(target, str) else f"/proc/self/fd/{target}"
    with ExitStack() as stack:
        try:
            lowers = [_short(path, stack) for path in op.lowers]
            upper, work = (_short(path, stack) if path else "" for path in (op.upper, op.work))
            for volatile in (True, False) if upper else (False,):
                data = overlay_data(lowers, upper, work, rootless=rootless, volatile=volatile)
                try:
                    return kernel.mount("overlay", place, "overlay", kernel.MS_NODEV, data)
                except OSError as error:
                    if error.errno != errno.EINVAL or not volatile:
                        raise
        except OSError as error:
            raise SandboxError(
                f"overlay for {op.target} cannot be mounted: {error.strerror}",
                hint="`lamella doctor` says what this machine lacks",
            ) from error


def _short(path: str, stack: ExitStack) -> str:
    """A name of few characters without colons: mount(2) takes one page of options."""
    handle = os.open(path, _O_PATH | os.O_DIRECTORY)
    stack.callback(os.close, handle)
    return f"/proc/self/fd/{handle}"


@contextmanager
def view_of(lowers: tuple[str, ...], place: str, *, rootless: bool) -> Iterator[str]:
    """What lower directories (topmost first) show together, mounted on ``place`` to be looked at, not written."""
    if not lowers:
        yield place
        return
    if len(lowers) > 1:
        mount_overlay(Overlay(place, lowers, "", ""), place, rootless=rootless)
    else:
        _execute_on(Bind(place, lowers[0], read_only=True), place, rootless)
    try:
        yield place
    finally:
        _unmount(place)


def execute(root: str, ops: Iterable[MountOp], *, rootless: bool) -> None:
    """Carries out mounts below ``root``, outer ones first, each on a handle of its place.

    No link on the way is followed. A place inside another mount is made when it is missing: what lies there is
    thrown away or belongs to the step. Raises HostileInputError when a link or something else is in the way.
    """
    with Rooted(root, links=False) as rooted:
        for op in ops:
            try:
                _make_place(rooted, op)
                with rooted.handle(op.target, _O_PATH) as place:
                    _execute(op, place, rootless)
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENOTDIR):
                    raise HostileInputError(f"a link or file is on the way to mount target {op.target}") from error
                raise SandboxError(f"{describe((op,))[0]} cannot be mounted: {error.strerror}") from error


def _make_place(rooted: Rooted, op: MountOp) -> None:
    if rooted.exists(op.target):
        return
    if isinstance(op, Bind) and op.file:
        directory = posixpath.dirname(op.target)
        rooted.mkdirs(directory)
        os.close(rooted.create(op.target, 0o644))
    else:
        rooted.mkdirs(op.target)


def _execute_on(op: MountOp, path: str, rootless: bool) -> None:
    handle = os.open(path, _O_PATH | os.O_DIRECTORY)
    try:
        _execute(op, handle, rootless)
    finally:
        os.close(handle)


def _execute(op: MountOp, place: int, rootless: bool) -> None:
    match op:
        case Overlay():
            mount_overlay(op, place, rootless=rootless)
        case Tmpfs():
            data = f"mode=0755{f',size={op.size}' if op.size else ''}"
            kernel.mount("tmpfs", f"/proc/self/fd/{place}", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, data)
        case Bind():
            tree = kernel.clone_tree(op.source)
            try:
                wanted = kernel.ATTR_NOSUID | kernel.ATTR_NODEV | (kernel.ATTR_RDONLY if op.read_only else 0)
                kernel.set_tree_attributes(tree, wanted)
                kernel.attach(tree, place)
            finally:
                os.close(tree)


def unmount_all(root: str) -> None:
    """Takes every mount on ``root`` and below away, the newest first, wherever a step has moved its place to.

    Raises InternalError when somebody still uses one: results must not be read before all processes are gone.
    """
    for point in reversed(_mount_points(root)):
        _unmount(point)


def _mount_points(root: str) -> list[str]:
    """Mount points on and below a path in the order they were made (proc_pid_mountinfo(5))."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        points = [_unescaped(line.split(" ", 5)[4]) for line in lines]
    real = os.path.realpath(root)
    return [point for point in points if point == real or point.startswith(f"{real}/")]


def _unescaped(field: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), field) if "\\" in field else field


def _unmount(path: str) -> None:
    for _ in range(_BUSY_TRIES):
        try:
            return kernel.unmount(path)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            time.sleep(0.01)
    kernel.unmount(path, lazily=True)
    raise InternalError(f"{path} is still in use after the step")


@dataclass(frozen=True, slots=True)
class Stubs:
    """Places for mounts: the ``real`` path of each target, and what was ``made`` that the view does not have."""

    real: Mapping[str, str]
    made: tuple[str, ...]


def outer_targets(ops: tuple[MountOp, ...]) -> tuple[tuple[str, bool], ...]:
    """Targets of normalised mounts that lie in no other one, each with whether a file goes there."""
    found: list[tuple[str, bool]] = []
    for op in ops:
        if not found or not op.target.startswith(f"{found[-1][0]}/"):
            found.append((op.target, isinstance(op, Bind) and op.file))
    return tuple(found)


def retarget(ops: tuple[MountOp, ...], real: Mapping[str, str]) -> tuple[MountOp, ...]:
    """The mounts at the real paths of their targets; what lies in another mount moves with it."""
    moved: list[MountOp] = []
    outer = ""
    for op in ops:
        if op.target in real:
            outer = op.target
        moved.append(replace(op, target=real[outer] + op.target[len(outer) :]))
    return normalise(moved)


def lay_stubs(view: str, stubs: str, targets: Iterable[tuple[str, bool]]) -> Stubs:
    """Makes places for mounts in ``stubs``, a lower directory on top of what ``view`` shows.

    ``targets`` are absolute paths and whether a file goes there. Links to directories on the way are followed
    inside the view. Raises HostileInputError for a link that leads nowhere and for something of the wrong kind.
    """
    made: list[str] = []
    with Rooted(view) as shown, Rooted(stubs, links=False) as out:
        real = {target: _lay_stub(shown, out, target, file, made) for target, file in targets}
    return Stubs(real, tuple(made))


def lay_file(view: str, stubs: str, path: str, data: bytes) -> None:
    """A file in ``stubs`` in place of one that the view has at ``path`` (absolute, without links), owned like it."""
    relative = path.strip("/")
    parts = relative.split("/")
    with Rooted(view) as shown, Rooted(stubs, links=False) as out:
        for count in range(1, len(parts)):
            _copy_directory(shown, out, "/".join(parts[:count]), [])
        like = shown.lstat(relative)
        with os.fdopen(out.create(relative, stat.S_IMODE(like.st_mode)), "wb") as file:
            file.write(data)
        out.chown(relative, like.st_uid, like.st_gid)


def _lay_stub(shown: Rooted, out: Rooted, target: str, file: bool, made: list[str]) -> str:
    real = _real_directory(shown, posixpath.dirname(target) if file else target)
    path = posixpath.join(real, posixpath.basename(target)) if file else real
    kind = _kind(shown, path)
    if kind == ("file" if file else "directory"):
        return f"/{path}"
    if kind and not (file and kind == "link"):
        raise HostileInputError(
            f"mount target {target} is no {'file' if file else 'directory'} in the root file system"
        )
    parts = path.split("/")
    for count in range(1, len(parts) + (0 if file else 1)):
        _copy_directory(shown, out, "/".join(parts[:count]), made)
    if file and not out.exists(path):
        os.close(out.create(path, 0o644))
        made.extend([path] if not kind else [])
    return f"/{path}"


def _real_directory(shown: Rooted, target: str) -> str:
    """``target`` as a relative path without links: what exists is resolved, the rest is appended."""
    parts = [part for part in target.split("/") if part]
    root = os.readlink(f"/proc/self/fd/{shown.fd}")
    for count in range(len(parts), -1, -1):
        path = "/".join(parts[:count])
        try:
            with shown.handle(path, _O_PATH | os.O_DIRECTORY, follow=True) as handle:
                real = os.readlink(f"/proc/self/fd/{handle}")
            break
        except FileNotFoundError as error:
            if _kind(shown, path) == "link":
                raise HostileInputError(f"mount target {target} goes through the dangling link /{path}") from error
        except OSError as error:
            raise HostileInputError(f"/{path} in the root file system is no directory") from error
    return posixpath.join(real[len(root) :].strip("/"), *parts[count:])


def _kind(root: Rooted, path: str) -> str:
    """``file``, ``directory``, ``link``, ``other``, or empty when nothing is there."""
    try:
        mode = root.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return ""
    if stat.S_ISREG(mode):
        return "file"
    return "directory" if stat.S_ISDIR(mode) else "link" if stat.S_ISLNK(mode) else "other"


def _copy_directory(shown: Rooted, out: Rooted, path: str, made: list[str]) -> None:
    """A directory as the view shows it, since a merged directory looks like its topmost one."""
    if out.exists(path):
        return
    out.mkdir(path)
    try:
        like = shown.lstat(path)
    except FileNotFoundError:
        made.append(path)
        return
    out.chown(path, like.st_uid, like.st_gid)
    out.chmod(path, stat.S_IMODE(like.st_mode))
