"""Copies a layer's product out of the store to where the user wants it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from lamella.commit import StagedFile, commit_directory
from lamella.errors import ConfigError, IntegrityError
from lamella.graph.fileset import Entry, EntryType, FileSet
from lamella.host.rooted import Rooted
from lamella.images.outputs.folders import is_free, staged_folder
from lamella.layers.content import Content

__all__ = ["check_export", "export_product"]


def check_export(target: Path, *, force: bool) -> None:
    """Whether a product may be written to ``target``, found out before it is built. Raises ConfigError.

    A symlink is never written through; a directory with something in it only gives way to ``force``.
    """
    if target.is_symlink():
        raise ConfigError(f"{target} is a symlink, and export never writes through one", hint="name what it points to")
    if target.exists() and not (target.is_file() or is_free(target) or force):
        raise ConfigError(
            f"{target} is there already and is not empty", hint="name another folder, or replace it with --force"
        )


def export_product(
    fileset: FileSet, content: Content, target: Path, *, folder: bool = False, force: bool = False
) -> int:
    """Writes a product as ``target``: one file as that file, or into an existing folder; a tree as that folder.

    With ``folder`` one file becomes a folder with that file too. It appears whole or not at all, everything belongs to
    the caller. Returns the bytes of its files. Raises ConfigError for a target that is taken, IntegrityError when the
    bytes are not those of the product.
    """
    check_export(target, force=force)
    files = [entry for entry in fileset if entry.type is not EntryType.DIRECTORY]
    one = len(fileset) == 1 and len(files) == 1 and files[0].type is EntryType.FILE
    if one and (target.is_dir() or not folder):
        place = target / files[0].path if target.is_dir() else target
        _write_file(files[0], content, place)
        return files[0].size
    with staged_folder(target) as staged:
        with Rooted(staged, links=False) as out:
            _write_tree(fileset, content, out)
        if force and not is_free(target):
            _swap(staged, target)
        elif not commit_directory(staged, target, {}, what=f"folder {target}"):
            raise ConfigError(f"{target} appeared while it was written, and is not empty")
    return fileset.size


def _write_file(entry: Entry, content: Content, place: Path) -> None:
    if place.is_symlink() or (place.exists() and not place.is_file()):
        raise ConfigError(f"{place} is there already and is no file", hint="name another place")
    place.parent.mkdir(parents=True, exist_ok=True)
    with StagedFile(place.parent, needed=entry.size, what=f"writing {place}") as staged:
        for chunk in content(entry):
            staged.write(chunk)
        staged.commit(place, digest=entry.digest, size=entry.size, mode=entry.mode, replace=True)


def _write_tree(fileset: FileSet, content: Content, out: Rooted) -> None:
    """All entries; directories get their modes at the end, when nothing is written into them any more."""
    directories: list[Entry] = []
    for entry in fileset:
        parent = entry.path.rpartition("/")[0]
        if parent:
            out.mkdirs(parent)
        match entry.type:
            case EntryType.DIRECTORY:
                out.mkdirs(entry.path)
                directories.append(entry)
            case EntryType.FILE:
                _copy(entry, content, out)
            case EntryType.SYMLINK:
                out.symlink(entry.link, entry.path)
            case EntryType.FIFO:
                out.mknod(entry.path, stat.S_IFIFO | entry.mode)
            case _:
                raise ConfigError(f"{entry.path} is a device or whiteout, which is not copied out")
    for entry in reversed(directories):
        out.chmod(entry.path, entry.mode)


def _copy(entry: Entry, content: Content, out: Rooted) -> None:
    import hashlib

    handle = out.create(entry.path, entry.mode)
    digest = hashlib.sha256()
    with os.fdopen(handle, "wb") as file:
        for chunk in content(entry):
            digest.update(chunk)
            file.write(chunk)
    if f"sha256:{digest.hexdigest()}" != entry.digest:
        raise IntegrityError(f"{entry.path} is not what the product promises", hint="run: lamella cache verify --deep")


def _swap(staged: Path, target: Path) -> None:
    """Puts a tree in the place of another one, which is removed by handles afterwards."""
    with staged_folder(target) as old:
        os.rename(target, old)
        os.rename(staged, target)
