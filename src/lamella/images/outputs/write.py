"""Checks destinations before a build starts, and writes images to them after it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lamella.commit import StagedFile, commit_directory
from lamella.errors import ConfigError, InternalError
from lamella.images.outputs.archive import write_archive
from lamella.images.outputs.docker import docker_files
from lamella.images.outputs.folders import is_free, staged_folder
from lamella.images.outputs.layout import is_layout, make_layout, write_layout
from lamella.images.outputs.rootfs import merge_layers, restore_modes, write_rootfs_tar
from lamella.images.outputs.spec import Output
from lamella.images.stored import StoredImage
from lamella.layers.tar import ByteSink
from lamella.store.store import Store

__all__ = ["check_outputs", "write_output"]

Warn = Callable[[str], None]


def check_outputs(outputs: Sequence[Output], *, images: int = 0, stdout_usable: bool = True) -> None:
    """Finds out before an hour is spent whether every destination can be written.

    ``images`` is the number of images of the build, 0 while it is not known. Raises ConfigError.
    """
    seen: set[str] = set()
    for output in outputs:
        place = output.dest if output.to_stdout else str(_absolute(output.dest))
        if place in seen:
            raise ConfigError(f"--output: {output.dest} is written twice", hint="give each output a place of its own")
        seen.add(place)
        if output.kind == "tar" and images > 1:
            raise ConfigError(
                f"--output type=tar writes one image, and this build has {images}",
                hint="name one image, or write type=oci",
            )
        if output.to_stdout:
            if not stdout_usable:
                raise ConfigError(
                    f"--output type={output.kind} would write an archive to the terminal",
                    hint="name a file with dest=, or send standard output to a file or program",
                )
        else:
            _check_place(output, _absolute(output.dest))


def _absolute(dest: str) -> Path:
    return Path(dest).absolute()


def _check_place(output: Output, place: Path) -> None:
    if output.packed:
        if place.is_dir():
            hint = "add tar=false for a directory" if output.kind == "oci" else "name a file"
            raise ConfigError(f"--output: {place} is a directory, and type={output.kind} writes one file", hint=hint)
        if not place.parent.is_dir():
            raise ConfigError(f"--output: there is no folder {place.parent}", hint="make it first")
        _check_writable(place.parent)
        return
    if not is_free(place) and not (output.kind == "oci" and is_layout(place)):
        raise ConfigError(
            f"--output: {place} is there already and is not empty",
            hint="nothing is deleted that somebody else may want: remove it, or name another folder",
        )
    above = place.parent
    while not above.exists():
        above = above.parent
    if not above.is_dir():
        raise ConfigError(f"--output: {above} is no folder")
    _check_writable(above)


def _check_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"--output: the folder {folder} may not be written")


def write_output(
    store: Store,
    images: Sequence[StoredImage],
    output: Output,
    *,
    mtime: int = 0,
    stdout: ByteSink | None = None,
    warn: Warn = lambda text: None,
    as_root: bool | None = None,
) -> None:
    """Writes images as one output; it appears whole or not at all.

    ``mtime`` is the time of every member of an archive, in seconds. ``as_root`` says whether owners can be given,
    found out when it is None. Raises ConfigError for what the form cannot hold.
    """
    check_outputs((output,), images=len(images))
    root = os.geteuid() == 0 if as_root is None else as_root
    match output.kind:
        case "oci":
            layout = make_layout(store, images, output.compressor)
            if not output.packed:
                write_layout(layout, _absolute(output.dest))
                return
            with _file(output, stdout) as out:
                write_archive(layout.files(), out, mtime=mtime)
        case "docker-archive":
            files = docker_files(store, images)
            with _file(output, stdout) as out:
                write_archive(files, out, mtime=mtime)
        case "tar":
            _write_tar(store, images[0], output, mtime, stdout, warn, root=root)
        case "dir":
            for image, place in zip(images, _places(images, _absolute(output.dest)), strict=True):
                _write_directory(store, image, place, warn, root=root)
        case _:
            raise InternalError(f"output of unknown kind {output.kind!r}")


@contextmanager
def _file(output: Output, stdout: ByteSink | None) -> Iterator[ByteSink]:
    """Where an archive goes: a file that gets its name at the end, or standard output."""
    if output.to_stdout:
        if stdout is None:
            raise ConfigError(
                f"--output type={output.kind}: there is no standard output to write to", hint="add dest=PATH"
            )
        yield stdout
        return
    target = _absolute(output.dest)
    with StagedFile(target.parent, what=f"writing {target}") as staged:
        yield staged
        staged.commit(target, mode=0o644, replace=True)


def _write_tar(
    store: Store, image: StoredImage, output: Output, mtime: int, stdout: ByteSink | None, warn: Warn, *, root: bool
) -> None:
    with store.snapshots.stage() as staged:
        merged = merge_layers(store, image, staged.path, as_root=root)
        for warning in merged.warnings:
            warn(warning)
        with _file(output, stdout) as out:
            write_rootfs_tar(merged, staged.path, out, mtime=mtime)


def _write_directory(store: Store, image: StoredImage, place: Path, warn: Warn, *, root: bool) -> None:
    with staged_folder(place) as staged:
        merged = merge_layers(store, image, staged, as_root=root)
        for warning in merged.warnings:
            warn(warning)
        if not root:
            restore_modes(staged, merged.fileset)
            strangers = sum(1 for entry in merged.fileset if (entry.uid, entry.gid) != (os.geteuid(), os.getegid()))
            if strangers:
                warn(
                    f"{place} belongs to you: {strangers} of {len(merged.fileset)} files have another owner in the "
                    "image, and only root can give files away (type=tar keeps owners)"
                )
        if not commit_directory(staged, place, {}, what=f"folder {place}"):
            raise ConfigError(f"{place} appeared while it was written, and is not empty")


def _places(images: Sequence[StoredImage], dest: Path) -> tuple[Path, ...]:
    """One folder for one image; for several one below it each, named like the image."""
    if len(images) == 1:
        return (dest,)
    return tuple(dest / image.names[0].replace("/", "_").replace(":", "_") for image in images)
