"""Differential tests against GNU tar: it reads what we write, we read what it writes, damaged archives included."""

from __future__ import annotations

import io
import os
import random
import re
import string
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lamella.canonical import EMPTY_MAP, FrozenMap, digest_bytes
from lamella.errors import HostileInputError
from lamella.graph.fileset import Entry, EntryType, FileSet
from lamella.layers.content import bytes_content
from lamella.layers.policy import Devices, UnpackMode, UnpackPolicy
from lamella.layers.reader import LayerReader, Member, MemberKind
from lamella.layers.snapshot import ScanOptions, scan_tree
from lamella.layers.tar import write_layer
from lamella.layers.unpack import unpack_layer
from tests.integration.components.presence import require_program
from tests.unit.layers.trees import make_tree

MODES_ONLY = ScanOptions(owners=True, modes=False)
AS_USER = UnpackPolicy(Devices.SKIP, owners=False, capabilities=False)
LETTERS = string.ascii_letters + string.digits + "._-+ üß漢"


@pytest.fixture(scope="module")
def gnu_tar() -> str:
    path = require_program("tar")
    if "GNU tar" not in subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout:
        pytest.skip("tar is not GNU tar")
    return path


def run_tar(tar: str, *arguments: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    return subprocess.run([tar, *arguments], input=data, capture_output=True, check=False, env=environment, timeout=60)


LINE = re.compile(
    rb"([-dlhcbp])(\S{9}) (\d+)/(\d+)\s+(\S+) \d{4}-\d\d-\d\d \d\d:\d\d (.*?)(?: -> (.*)| link to (.*))?", re.DOTALL
)
KIND = {
    MemberKind.FILE: "-",
    MemberKind.DIRECTORY: "d",
    MemberKind.SYMLINK: "l",
    MemberKind.HARD_LINK: "h",
    MemberKind.CHAR_DEVICE: "c",
    MemberKind.BLOCK_DEVICE: "b",
    MemberKind.FIFO: "p",
}


def listed_by_tar(tar: str, archive: bytes) -> list[tuple[str, bytes]] | None:
    """(kind, name) of each member by GNU tar; None when it complains."""
    done = run_tar(
        tar, "-tv", "--numeric-owner", "--quoting-style=literal", "--show-transformed", "-f", "-", data=archive
    )
    if done.returncode or done.stderr:
        return None
    found = []
    for line in done.stdout.split(b"\n")[:-1]:
        match = LINE.fullmatch(line)
        assert match, line
        found.append((match[1].decode(), match[6].rstrip(b"/").removeprefix(b"./")))
    return found


def listed_by_us(archive: bytes) -> list[tuple[str, bytes]]:
    return [
        (KIND[m.kind], os.fsencode(m.name).rstrip(b"/").removeprefix(b"./")) for m in LayerReader(io.BytesIO(archive))
    ]


# -- file sets that nobody would think of --------------------------------------------------------------------------

names = st.text(LETTERS, min_size=1, max_size=40).filter(
    lambda name: name not in (".", "..") and not name.startswith(".wh.")
)
long_names = st.integers(90, 260).map(lambda size: ("x" * size)[:250])
contents = st.binary(max_size=1300)


@st.composite
def layers(draw: st.DrawFn, *, plain: bool) -> tuple[FileSet, dict[str, bytes]]:
    """A legal file set with contents; ``plain`` leaves out what an ordinary user cannot unpack."""
    directories = [""]
    entries: dict[str, Entry] = {}
    data: dict[str, bytes] = {}
    for _ in range(draw(st.integers(0, 12))):
        parent = draw(st.sampled_from(directories))
        name = draw(st.one_of(names, long_names))
        path = f"{parent}/{name}" if parent else name
        if path in entries:
            continue
        kinds = ["file", "file", "directory", "symlink", "fifo"] + ([] if plain else ["device", "whiteout", "opaque"])
        kind = draw(st.sampled_from(kinds))
        owner = 0 if plain else draw(st.sampled_from([0, 1000, 8**7 - 1, 8**7, 2**31]))
        mode = draw(st.sampled_from([0o644, 0o755, 0o600])) if plain else draw(st.integers(0, 0o7777))
        entry = Entry(path, EntryType.FILE, mode, owner, owner)
        if kind == "file":
            body = draw(contents)
            data[path] = body
            xattrs = EMPTY_MAP if plain else draw(st.sampled_from([EMPTY_MAP, FrozenMap({"user.x": "00ff0a3d"})]))
            entry = replace(entry, size=len(body), digest=digest_bytes(body), xattrs=xattrs)
        elif kind in ("directory", "opaque"):
            entry = replace(entry, type=EntryType(kind[0]), mode=mode | (0o700 if plain else 0))
            directories.append(path)
        elif kind == "symlink":
            entry = replace(entry, type=EntryType.SYMLINK, mode=0o777, link=draw(st.one_of(names, long_names)))
        elif kind == "fifo":
            entry = replace(entry, type=EntryType.FIFO)
        elif kind == "device":
            entry = replace(entry, type=EntryType.CHAR_DEVICE, device=draw(st.sampled_from([(1, 3), (4095, 255)])))
        else:
            entry = Entry(path, EntryType.WHITEOUT, 0)
        entries[path] = entry
    return FileSet.of(entries.values()), data


def written(fileset: FileSet, data: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    write_layer(fileset, bytes_content(data), out)
    return out.getvalue()


def entry_of(member: Member, body: bytes) -> Entry:
    """A member of our own archive as an entry again."""
    entry_type = EntryType[{"HARD_LINK": "FILE"}.get(member.kind.name, member.kind.name)]
    entry = Entry(member.path, entry_type, member.mode, member.uid, member.gid, link=member.link)
    if member.kind is MemberKind.FILE:
        entry = replace(entry, size=len(body), digest=digest_bytes(body))
    if member.kind in (MemberKind.CHAR_DEVICE, MemberKind.BLOCK_DEVICE):
        entry = replace(entry, device=member.device)
    xattrs = {name: value.hex() for name, value in member.xattrs.items()}
    return replace(entry, xattrs=FrozenMap(xattrs)) if xattrs else entry


def read_back(archive: bytes) -> FileSet:
    """The file set of an archive, by our reader and the image spec's names for removal."""
    entries: dict[str, Entry] = {}
    reader = LayerReader(io.BytesIO(archive))
    for member in reader:
        entry = entry_of(member, b"".join(reader.chunks()))
        parent, _, name = member.path.rpartition("/")
        if name == ".wh..wh..opq":
            entries[parent] = replace(entries[parent], type=EntryType.OPAQUE)
        elif name.startswith(".wh."):
            path = f"{parent}/{name[4:]}" if parent else name[4:]
            entries[path] = Entry(path, EntryType.WHITEOUT, 0)
        else:
            entries[member.path] = entry
    return FileSet.of(entries.values())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layer=layers(plain=False))
def test_what_we_write_we_read_as_the_same_file_set(layer: tuple[FileSet, dict[str, bytes]]) -> None:
    assert read_back(written(*layer)) == layer[0]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layer=layers(plain=False))
def test_gnu_tar_lists_what_we_write(gnu_tar: str, layer: tuple[FileSet, dict[str, bytes]]) -> None:
    archive = written(*layer)
    listed = listed_by_tar(gnu_tar, archive)
    assert listed is not None
    assert listed == listed_by_us(archive)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layer=layers(plain=True))
def test_gnu_tar_unpacks_what_we_write_to_the_same_tree(
    gnu_tar: str, tmp_path_factory: pytest.TempPathFactory, layer: tuple[FileSet, dict[str, bytes]]
) -> None:
    theirs, ours = tmp_path_factory.mktemp("theirs"), tmp_path_factory.mktemp("ours")
    archive = written(*layer)
    done = run_tar(gnu_tar, "-xp", "-C", str(theirs), "-f", "-", data=archive)
    assert (done.returncode, done.stderr) == (0, b"")
    unpacked = unpack_layer(io.BytesIO(archive), ours, mode=UnpackMode.MERGED, policy=AS_USER)
    assert scan_tree(theirs, MODES_ONLY) == scan_tree(ours, MODES_ONLY) == unpacked.fileset == layer[0]


# -- archives of GNU tar -------------------------------------------------------------------------------------------


def rich_tree(root: Path) -> Path:
    draw = random.Random(5)
    files: dict[str, bytes | str | None] = {"empty": None, "short": b"s", "link": "short", "long-link": "t" * 150}
    for number in range(40):
        depth = draw.randint(0, 4)
        parts = [draw.choice(["dir", "d" * 60, "ünï", "space in it"]) for _ in range(depth)]
        files["/".join([*parts, f"f{number}-{'n' * draw.randint(1, 110)}"])] = draw.randbytes(draw.randint(0, 3000))
    make_tree(root, files)
    os.link(root / "short", root / "hard")
    os.mkfifo(root / "fifo")
    return root


@pytest.mark.parametrize("form", ["gnu", "oldgnu", "pax", "ustar", "v7"])
def test_archives_of_gnu_tar_are_read_and_unpacked_as_it_does(gnu_tar: str, tmp_path: Path, form: str) -> None:
    tree = rich_tree(tmp_path / "tree")
    if form in ("ustar", "v7"):
        for path in sorted(tree.rglob("*"), reverse=True):
            inside = str(path.relative_to(tree))
            if len(os.fsencode(inside)) > 90 or len(os.fsencode(path.readlink()) if path.is_symlink() else b"") > 90:
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        (tree / "fifo").unlink()
    made = run_tar(gnu_tar, "-c", f"--format={form}", "-C", str(tree), "-f", "-", ".")
    assert (made.returncode, made.stderr) == (0, b"")
    assert listed_by_us(made.stdout) == listed_by_tar(gnu_tar, made.stdout)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    unpack_layer(io.BytesIO(made.stdout), ours, mode=UnpackMode.MERGED, policy=AS_USER)
    assert run_tar(gnu_tar, "-xp", "-C", str(theirs), "-f", "-", data=made.stdout).returncode == 0
    assert scan_tree(ours, MODES_ONLY) == scan_tree(theirs, MODES_ONLY)


def test_a_sparse_archive_of_gnu_tar_is_refused(gnu_tar: str, tmp_path: Path) -> None:
    with (tmp_path / "hole").open("wb") as stream:
        stream.truncate(1 << 20)
        stream.seek(1 << 19)
        stream.write(b"data")
    for form in ("gnu", "pax"):
        made = run_tar(gnu_tar, "-cS", f"--format={form}", "-C", str(tmp_path), "-f", "-", "hole")
        with pytest.raises(HostileInputError, match="sparse"):
            listed_by_us(made.stdout)


# -- row 30: damaged archives --------------------------------------------------------------------------------------


def small_archive(form: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, body in (("dir/", None), ("dir/one", b"1" * 600), ("n" * 120, b"2"), ("two", b"")):
            info = tarfile.TarInfo(name.rstrip("/"))
            info.type = tarfile.DIRTYPE if body is None else tarfile.REGTYPE
            info.size = len(body or b"")
            archive.addfile(info, io.BytesIO(body or b""))
    return out.getvalue()


SAMPLES = [small_archive(form) for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT) if form]


def with_right_checksums(archive: bytearray) -> bytes:
    """The damaged archive with the checksum of each whole block that looks like a header put right."""
    for at in range(0, len(archive) - 511, 512):
        block = archive[at : at + 512]
        if block[257:262] == b"ustar":
            total = sum(block) - sum(block[148:156]) + 8 * 0x20
            archive[at + 148 : at + 156] = b"%06o\0 " % total
    return bytes(archive)


FIELDS = (0, 99, 100, 107, 108, 124, 135, 136, 156, 157, 257, 263, 329, 345, 500)
"""Where fields of a header begin or end."""

places = st.tuples(st.integers(0, 9), st.sampled_from(FIELDS)).map(lambda at: at[0] * 512 + at[1])
edits = st.one_of(
    st.sampled_from(
        [b"\0", b"0", b"1", b"7", b"x", b"g", b"L", b"5", b"/", b"..", bytes(12), b"00000001000\0", b"\x80"]
    ),
    st.binary(min_size=1, max_size=12),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sample=st.sampled_from(range(len(SAMPLES))),
    edits=st.lists(st.tuples(st.one_of(places, st.integers(0, 4000)), edits), min_size=1, max_size=3),
    cut=st.one_of(st.just(0), st.integers(0, 3000)),
)
@example(sample=0, edits=[(124, b"00000000000\0")], cut=0)
def test_row30_a_damaged_archive_is_refused_or_read_like_gnu_tar_reads_it(
    gnu_tar: str, sample: int, edits: list[tuple[int, bytes]], cut: int
) -> None:
    damaged = bytearray(SAMPLES[sample])
    for at, data in edits:
        damaged[at : at + len(data)] = data
    archive = with_right_checksums(damaged)[: len(damaged) - cut]
    try:
        ours = listed_by_us(archive)
    except HostileInputError:
        return
    if any(b"\n" in name for _, name in ours):
        return
    theirs = listed_by_tar(gnu_tar, archive)
    if theirs is not None:
        assert ours == theirs
