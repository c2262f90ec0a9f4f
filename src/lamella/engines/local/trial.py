"""Tries once what every step needs of the kernel, so that what is missing is named with its remedy (8)."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from lamella.engines.local import kernel
from lamella.engines.local.mounts import overlay_data
from lamella.errors import SandboxError
from lamella.host.probes import has_file_system, user_namespaces_refused
from lamella.host.rooted import Rooted

__all__ = ["try_overlay"]

_MODULE = "load it as root: modprobe overlay; in a container the host has to"


def try_overlay(scratch: str, *, rootless: bool) -> None:
    """Mounts an overlay in the store's file system and copies a file up in it.

    Raises SandboxError for a kernel without overlayfs or without its rootless form, for a file system that cannot
    hold an upper directory, and for a kernel without mount_setattr(2).
    """
    with tempfile.TemporaryDirectory(prefix="lamella-trial-", dir=scratch) as name:
        home = Path(name)
        for part in ("lower", "upper", "work", "merged"):
            (home / part).mkdir()
        (home / "lower" / "file").write_bytes(b"x")
        paths = (str(home / "upper"), str(home / "work"))
        data = overlay_data([str(home / "lower")], *paths, rootless=rootless)
        try:
            kernel.mount("overlay", str(home / "merged"), "overlay", 0, data)
        except OSError as error:
            raise _refused(error, scratch, rootless) from error
        try:
            _use(home / "merged", scratch)
        finally:
            kernel.unmount(str(home / "merged"), lazily=True)
            with Rooted(home) as root:
                root.remove_tree("work")


def _use(merged: Path, scratch: str) -> None:
    try:
        with open(merged / "file", "ab") as file:
            file.write(b"y")
        os.unlink(merged / "file")
    except OSError as error:
        raise SandboxError(
            f"overlayfs cannot change files on the file system of {scratch}: {error.strerror}",
            hint="put the store on ext4, xfs, btrfs or tmpfs: set XDG_CACHE_HOME",
        ) from error
    try:
        tree = kernel.clone_tree(str(merged))
        try:
            kernel.set_tree_attributes(tree, kernel.ATTR_RDONLY)
        finally:
            os.close(tree)
    except OSError as error:
        raise SandboxError(
            f"this kernel cannot make mounts read-only by handle: {error.strerror}", hint="Linux 5.12 or newer can"
        ) from error


def _refused(error: OSError, scratch: str, rootless: bool) -> SandboxError:
    if error.errno == errno.ENODEV:
        return SandboxError("this kernel has no overlayfs", hint=_MODULE)
    if error.errno in (errno.EPERM, errno.EACCES):
        reason, remedy = user_namespaces_refused() if rootless else ("", "")
        return SandboxError(
            f"overlayfs cannot be mounted: {reason or error.strerror}",
            hint=remedy or "Linux 5.11 or newer lets ordinary users mount overlays; in a container allow mounts",
        )
    if not has_file_system("overlay"):
        return SandboxError("this kernel has no overlayfs", hint=_MODULE)
    return SandboxError(
        f"the file system of {scratch} cannot hold an overlay's changes: {error.strerror}",
        hint="put the store on ext4, xfs, btrfs or tmpfs: set XDG_CACHE_HOME",
    )
