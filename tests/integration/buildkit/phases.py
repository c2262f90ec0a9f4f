"""Runs hand-made phases on real builders: what a phase is handed is staged, bake is called, exports are read."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lamella.engines.buildkit.levels import Level
from lamella.engines.buildkit.lower import lower
from lamella.engines.buildkit.phase import Lowered, LowerOptions, Phase
from lamella.engines.buildkit.progress import RawJsonParser
from lamella.graph.events import Event

APPLETS = (
    "cat", "chmod", "chown", "cp", "cut", "echo", "env", "false", "find", "id", "ln", "mkdir", "mv", "printf", "rm",
    "sh", "sort", "test", "touch", "tr", "true", "wc",
)  # fmt: skip
SECRET = "hunter2"  # harmless
CAPABILITY = "SCHILY.xattr.security.capability"


@dataclass(frozen=True, slots=True)
class RealBuilder:
    """A builder of buildx: the plugin, its environment, what the daemon can do, and the network with a way out."""

    buildx: str
    env: Mapping[str, str]
    name: str
    level: Level
    network: str = "host"

    @property
    def open(self) -> LowerOptions:
        """For phases with steps that have the network."""
        return LowerOptions(network=self.network, allow_network=True)


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of an exported tar."""

    mode: int
    uid: int
    gid: int
    data: bytes = b""
    link: str = ""
    kind: bytes = tarfile.REGTYPE
    capability: str = ""


@dataclass(frozen=True, slots=True)
class Built:
    """What a call gave: exit status, progress as read, events, exports by (kind, definition key)."""

    code: int
    lowered: Lowered
    progress: RawJsonParser
    events: tuple[Event, ...]
    exports: Mapping[tuple[str, str], Mapping[str, Member]]
    said: str


def busybox_tar(program: str, path: Path, files: Mapping[str, bytes]) -> None:
    """A root file system of a static BusyBox and a few files, as a tar with an odd owner in it."""
    with tarfile.open(path, "w") as archive:
        for name in ("bin", "etc", "tmp", "usr", "usr/bin", "odd"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            entry.uid, entry.gid = (1234, 2345) if name == "odd" else (0, 0)
            archive.addfile(entry)
        archive.add(os.path.realpath(program), "bin/busybox", filter=_plain)
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
        for name, data in {"etc/passwd": b"root:x:0:0::/root:/bin/sh\n", **files}.items():
            add_file(archive, name, data)


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.mode = 0o755
    return entry


def add_file(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """A file of root's."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o644
    archive.addfile(entry, io.BytesIO(data))


def build(
    builder: RealBuilder, folder: Path, phase: Phase, files: Mapping[str, bytes | Path], options: LowerOptions
) -> Built:
    """One bake call in ``folder``; ``files`` are laid into the context."""
    lowered = lower(phase, builder.level, options)
    for name, data in {**files, **lowered.files}.items():
        path = folder / options.context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.read_bytes())
    (folder / options.exports).mkdir(exist_ok=True)
    allowed = [word for value in lowered.allow for word in ("--allow", value)]
    done = subprocess.run(
        [builder.buildx, "bake", "--builder", builder.name, "--progress", "rawjson", *allowed, "-f", "-"],
        cwd=folder,
        env={**os.environ, **builder.env, **dict.fromkeys(lowered.secrets.values(), SECRET)},
        input=json.dumps(lowered.bake).encode(),
        capture_output=True,
        check=False,
        timeout=300,
    )
    parser = RawJsonParser(lowered.stages, {}, lambda: 0.0)
    events: list[Event] = []
    said: list[str] = []
    for line in done.stderr.splitlines():
        found = parser.feed(line)
        events += found or ()
        said += [line.decode("utf-8", "replace")] if found is None else []
    events += parser.finish()
    exports = {
        (target.kind, target.vertex): _members(folder / options.exports / target.file)
        for target in (lowered.targets if not done.returncode else ())
    }
    return Built(done.returncode, lowered, parser, tuple(events), exports, "\n".join(said))


def _members(path: Path) -> dict[str, Member]:
    found: dict[str, Member] = {}
    with tarfile.open(path) as archive:
        for entry in archive:
            file = archive.extractfile(entry) if entry.isfile() else None
            data = b"" if file is None else file.read()
            capability = entry.pax_headers.get(CAPABILITY, "")
            member = Member(entry.mode, entry.uid, entry.gid, data, entry.linkname, entry.type, capability)
            found[entry.name.rstrip("/")] = member
    return found
