"""One file or directory out of an archive; hostile archives leave nothing behind."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import zstandard

from lamella.errors import ConfigError, HostileInputError
from lamella.layers.reader import LayerReader
from lamella.sources.extract import extract_member

Member = tuple[str, bytes | str, int]
"""Name, content (bytes), link target (text) or nothing for a name ending in a slash; mode."""

TOOL: list[Member] = [
    ("tool-1.0/", "", 0o755),
    ("tool-1.0/bin/tool", b"\x7fELF", 0o755),
    ("tool-1.0/share/doc/README", b"read me", 0o600),
    ("tool-1.0/bin/alias", "tool", 0o777),
    ("other", b"no", 0o644),
]


def tar(members: Iterable[Member], kind: bytes = tarfile.SYMTYPE) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content, mode in members:
            info = tarfile.TarInfo(name.rstrip("/"))
            info.mode = mode
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            elif isinstance(content, str):
                info.type, info.linkname = kind, content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def zipped(members: Iterable[Member]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, mode in members:
            info = zipfile.ZipInfo(name)
            kind = stat.S_IFLNK if isinstance(content, str) and content else stat.S_IFREG
            info.external_attr = (kind | mode) << 16
            archive.writestr(info, content)
    return out.getvalue()


PACKERS: dict[str, Callable[[list[Member]], bytes]] = {
    "tar": tar,
    "tar.gz": lambda members: gzip.compress(tar(members)),
    "tar.bz2": lambda members: bz2.compress(tar(members)),
    "tar.xz": lambda members: lzma.compress(tar(members)),
    "tar.zst": lambda members: zstandard.ZstdCompressor(write_checksum=True).compress(tar(members)),
    "zip": zipped,
}


def extract(data: bytes, member: str, target: Path) -> None:
    extract_member(io.BytesIO(data), member, target, name="tool.archive", open_tar=LayerReader)


@pytest.mark.parametrize("packer", PACKERS.values(), ids=PACKERS.keys())
def test_one_file(packer: Callable[[list[Member]], bytes], tmp_path: Path) -> None:
    extract(packer(TOOL), "tool-1.0/bin/tool", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"\x7fELF"
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o755


@pytest.mark.parametrize("packer", PACKERS.values(), ids=PACKERS.keys())
def test_a_directory(packer: Callable[[list[Member]], bytes], tmp_path: Path) -> None:
    extract(packer(TOOL), "tool-1.0", tmp_path / "out")
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*")}
    assert found == {"bin", "bin/tool", "bin/alias", "share", "share/doc", "share/doc/README"}
    assert os.readlink(tmp_path / "out/bin/alias") == "tool"
    assert stat.S_IMODE((tmp_path / "out/share/doc/README").stat().st_mode) == 0o644


def test_a_hard_link_becomes_a_copy(tmp_path: Path) -> None:
    data = tar([("a/x", b"data", 0o755), ("a/y", "a/x", 0o755)], tarfile.LNKTYPE)
    extract(data, "a", tmp_path / "out")
    assert (tmp_path / "out/y").read_bytes() == b"data"
    assert not os.path.samefile(tmp_path / "out/x", tmp_path / "out/y")


@pytest.mark.parametrize("packer", PACKERS.values(), ids=PACKERS.keys())
def test_what_is_not_there_is_said(packer: Callable[[list[Member]], bytes], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tool\.archive has no bin/tool"):
        extract(packer(TOOL), "bin/tool", tmp_path / "out")
    assert not (tmp_path / "out").exists()


HOSTILE: dict[str, list[Member]] = {
    "link out": [("a/x", "../../etc/passwd", 0o777)],
    "absolute link": [("a/x", "/etc/passwd", 0o777)],
    "through a link": [("a/d", "e", 0o777), ("a/e/y", b"1", 0o644), ("a/d/x", b"2", 0o644)],
    "twice": [("a/x", b"1", 0o644), ("a/x", b"2", 0o644)],
    "file over link": [("a/b", b"1", 0o644), ("a/x", "b", 0o777), ("a/x", b"2", 0o644)],
    "file as directory": [("a/x", b"1", 0o644), ("a/x/y", b"2", 0o644)],
    "dots": [("a/../../x", b"1", 0o644)],
    "the member itself": [("a", "b", 0o777)],
}


@pytest.mark.parametrize("packer", [tar, zipped], ids=["tar", "zip"])
@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_hostile_members_are_refused(
    packer: Callable[[list[Member]], bytes], members: list[Member], tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(HostileInputError):
        extract(packer(members), "a", tmp_path / "in" / "out")
    assert list((tmp_path / "in").iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("source", ["a/z", "b/secret"], ids=["not extracted before", "outside of what is extracted"])
def test_a_hard_link_to_elsewhere_is_refused(source: str, tmp_path: Path) -> None:
    data = tar([("a/x", b"1", 0o644), ("a/y", source, 0o644)], tarfile.LNKTYPE)
    with pytest.raises(HostileInputError, match="hard link"):
        extract(data, "a", tmp_path / "out")


@pytest.mark.parametrize("packer", PACKERS.values(), ids=PACKERS.keys())
def test_a_damaged_archive_is_refused(packer: Callable[[list[Member]], bytes], tmp_path: Path) -> None:
    whole = packer([("a/x", os.urandom(20_000), 0o644)])
    for data in (whole[: len(whole) // 2], whole[:2000] + bytes([whole[2000] ^ 255]) * 200 + whole[2200:]):
        if packer is tar and len(data) == len(whole):
            continue  # a tar has no checksum of its content
        with pytest.raises(HostileInputError):
            extract(data, "a", tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_special_members_are_passed_over(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, kind in (("a/fifo", tarfile.FIFOTYPE), ("a/device", tarfile.CHRTYPE)):
            info = tarfile.TarInfo(name)
            info.type = kind
            archive.addfile(info)
        archive.addfile(tarfile.TarInfo("a/x"), io.BytesIO())
    extract(out.getvalue(), "a", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["x"]
