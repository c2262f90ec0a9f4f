"""Travelling states: what makes compilers fast, as one artifact per state id under the tag ``s1-<64 hex digits>``.

The simple way: the whole directory as one archive, the times of its files beside it, and the latest one counts. A state
is restored where there is none and where bringing it is predicted to be quicker than what it saves: the seconds that
its step took when it began with nothing. A state changes no result and is in no key; one that is wrong or gone is a
slow step, nothing else.
"""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from lamella.cache.artifact import described
from lamella.cache.domains import Place
from lamella.cache.repository import CacheRepository, Say
from lamella.cache.small import compress_small, expand_small
from lamella.canonical import canonical_json, digest_bytes
from lamella.errors import AuthError, HostileInputError, IntegrityError, RegistryError
from lamella.graph.fileset import EntryType, check_path
from lamella.host.rooted import Rooted
from lamella.layers.compress import CompressingWriter
from lamella.layers.content import directory_content
from lamella.layers.decompress import open_decompressed
from lamella.layers.policy import MERGED_POLICY, UnpackMode
from lamella.layers.snapshot import hard_links, scan_tree
from lamella.layers.tar import write_layer
from lamella.layers.unpack import unpack_layer
from lamella.oci import media
from lamella.oci.manifest import Descriptor, Manifest, parse_manifest
from lamella.store.layout import id_name
from lamella.store.store import Store
from lamella.values import dataclass

if TYPE_CHECKING:
    from lamella.registry.remote import RemoteRepository

__all__ = [
    "STATE_ARCHIVE_TYPE",
    "STATE_TIMES_TYPE",
    "STATE_TYPE",
    "StateInfo",
    "push_state",
    "restore_seconds",
    "restore_state",
    "state_tag",
]

STATE_FORMAT = 1
"""Major version, in the tag; states of another one are not found."""

STATE_TYPE = "application/vnd.lamella.state.v1+json"
STATE_ARCHIVE_TYPE = "application/vnd.lamella.state.v1.tar+zstd"
STATE_TIMES_TYPE = "application/vnd.lamella.state-times.v1+zstd"

_LEVEL = 1
"""Of zstd: a state is read a few times at most."""

_FETCH, _UNPACK = 40e6, 200e6
"""Bytes in a second that are assumed for the network, and for unpacking (230 MB measured on one thread)."""

_TROUBLE = (RegistryError, AuthError, IntegrityError, HostileInputError)


@dataclass(frozen=True, slots=True)
class StateInfo:
    """What is known of a stored state: ``seconds`` that its step takes without it, bytes of its files."""

    id: str
    label: str
    seconds: float
    size: int

    def to_bytes(self) -> bytes:
        """The config of its artifact."""
        document = {"format": STATE_FORMAT, "id": self.id, "label": self.label, "seconds": f"{self.seconds:.3f}"}
        return canonical_json({**document, "size": self.size})


def state_tag(identity: str, prefix: str = "") -> str:
    """The tag of a state.

    >>> state_tag("target")[:6]
    's1-34a'
    """
    return f"{prefix}s{STATE_FORMAT}-{id_name(identity)}"


def restore_seconds(archive: int, size: int) -> float:
    """What bringing a state is predicted to take, from the bytes of its archive and of its files."""
    return archive / _FETCH + size / _UNPACK


def push_state(
    store: Store, place: Place, remote: RemoteRepository, identity: str, label: str, seconds: float, now: int
) -> int | None:
    """Pushes a state as it is now, in place of what is there; bytes of its archive, None when the state is empty.

    ``now`` is in seconds since the epoch. ``seconds`` is what its step took; the largest value that is known counts,
    for a step that began with a warm state says little about what the state saves. Raises RegistryError, AuthError,
    IntegrityError.
    """
    if store.states.is_empty(identity):
        return None
    tag = state_tag(identity, place.prefix)
    document = remote.manifest(tag)
    known = _read_info(identity, document.manifest) if document and document.manifest else None
    with store.snapshots.stage() as staged:
        path = staged.folder / "state"
        with store.states.hold(identity, label=label) as folder:
            if not os.listdir(folder):
                return None
            archive, times, size = _pack(folder, path)
        info = StateInfo(identity, label, max(seconds, known.seconds if known else 0.0), size).to_bytes()
        config = Descriptor(STATE_TYPE, digest_bytes(info), len(info), data=info)
        stamps = Descriptor(STATE_TIMES_TYPE, digest_bytes(times), len(times))
        blobs: list[tuple[Descriptor, Callable[[], BinaryIO]]] = [
            (config, lambda: io.BytesIO(info)),
            (archive, lambda: _open(path)),
            (stamps, lambda: io.BytesIO(times)),
        ]
        for descriptor, open_ in blobs:
            remote.push_blob(descriptor, open_)
    manifest = Manifest(config, (archive, stamps), annotations=described(label, now), artifact_type=STATE_TYPE)
    remote.push_manifest(manifest.to_bytes(), manifest.media_type, tags=(tag,))
    return archive.size


def _open(path: Path) -> BinaryIO:
    return open(path, "rb")


def _pack(folder: Path, target: Path) -> tuple[Descriptor, bytes, int]:
    """Writes a directory as an archive: its descriptor, the times of its files as they travel, their bytes."""
    fileset = scan_tree(folder)
    with (
        open(target, "wb", buffering=1 << 20) as out,
        directory_content(folder) as content,
        CompressingWriter(out, "zstd", _LEVEL) as compressing,
    ):
        write_layer(fileset, content, compressing, links=hard_links(folder, fileset))
    made = compressing.result.descriptor
    kept = [entry.path for entry in fileset if entry.type in (EntryType.FILE, EntryType.DIRECTORY)]
    files = [[path, os.lstat(folder / path).st_mtime_ns] for path in kept]
    times = canonical_json({"root": os.lstat(folder).st_mtime_ns, "files": files})
    return Descriptor(STATE_ARCHIVE_TYPE, made.digest, made.size), compress_small(times), fileset.size


def restore_state(store: Store, readers: Sequence[CacheRepository], identity: str, label: str, say: Say) -> str:
    """Brings a state that is not here from the first place that has it, when that is worth it.

    The name of that place; empty when the state is here, is nowhere, or is quicker made again.
    """
    if store.read_only or not store.states.is_empty(identity):
        return ""
    for reader in readers:
        try:
            data = reader.manifest(state_tag(identity, reader.place.prefix))
            if data is None:
                continue
            return reader.name if _restore(store, reader, parse_manifest(data), identity, label) else ""
        except _TROUBLE as error:
            say(f"state of {label} could not be had from {reader.name}: {error.message}")
    return ""


def _restore(store: Store, reader: CacheRepository, manifest: Manifest, identity: str, label: str) -> bool:
    info = _read_info(identity, manifest)
    parts = {descriptor.media_type: descriptor for descriptor in manifest.layers}
    if info is None or not {STATE_ARCHIVE_TYPE, STATE_TIMES_TYPE} <= parts.keys():
        raise HostileInputError("what is stored there is something else")
    archive = parts[STATE_ARCHIVE_TYPE]
    if restore_seconds(archive.size, info.size) >= info.seconds:
        return False
    with store.snapshots.stage() as staged, store.states.hold(identity, label=label) as folder:
        if os.listdir(folder):  # another build was faster
            return False
        path = staged.folder / "state"
        reader.fetch_file(archive, path)
        with open(path, "rb") as file:
            stream = open_decompressed(file, media.LAYER_ZSTD)
            unpack_layer(stream, staged.path, mode=UnpackMode.MERGED, policy=MERGED_POLICY)
        _set_times(staged.path, expand_small(reader.small(parts[STATE_TIMES_TYPE])))
        os.rename(staged.path, folder)  # onto an empty directory: all of it or nothing
    return True


def _set_times(folder: Path, data: bytes) -> None:
    """Gives files and folders the times that they had; raises HostileInputError for what is no list of theirs.

    The root's is when the last step ended: what is staged for the next one has to be newer (ADR 7).
    """
    try:
        document = json.loads(data)
        rows = [(check_path(path), int(when)) for path, when in document["files"]]
        last = int(document["root"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise HostileInputError(f"the times of a state cannot be read: {error}") from error
    try:
        with Rooted(folder, links=False) as rooted:
            for path, when in rows:
                rooted.utime(path, when)
        os.utime(folder, ns=(last, last))
    except (OSError, OverflowError) as error:
        raise HostileInputError(f"the times of a state do not fit its files: {error}") from error


def _read_info(identity: str, manifest: Manifest) -> StateInfo | None:
    """What a state's config says; None when it is not of this state."""
    try:
        document: Any = json.loads(manifest.config.data)
        if document["format"] != STATE_FORMAT or document["id"] != identity:
            return None
        found = StateInfo(identity, str(document["label"]), float(document["seconds"]), int(document["size"]))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return found if math.isfinite(found.seconds) else None
