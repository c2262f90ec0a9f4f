"""What a builder exports is foreign input: what is kept of it, and what is refused."""

from __future__ import annotations

import io
import json
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamella.clock import SystemClock
from lamella.engines.buildkit.importing import import_product, import_rootfs, read_packages
from lamella.engines.buildkit.trees import merged
from lamella.errors import HostileInputError
from lamella.graph.fileset import Entry, EntryType
from lamella.images.variants import layer_variant
from lamella.layers.decompress import open_decompressed
from lamella.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store", clock=SystemClock()) as opened:
        yield opened


Item = tuple[str, bytes | str | None, int]
"""Name, content (text: a symlink's target, None: a directory), mode."""


def archive(path: Path, *items: Item, links: dict[str, str] | None = None, uid: int = 0) -> Path:
    """A tar as BuildKit's exporter writes it."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, content, mode in items:
            member = tarfile.TarInfo(name)
            member.mode, member.uid, member.gid = mode, uid, uid
            member.type = tarfile.DIRTYPE if content is None else tarfile.SYMTYPE if isinstance(content, str) else b"0"
            member.linkname = content if isinstance(content, str) else ""
            data = content if isinstance(content, bytes) else b""
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mode = tarfile.LNKTYPE, target, 0o644
            tar.addfile(member)
    return path


def test_a_product_has_the_owners_and_modes_that_every_engine_gives(store: Store, tmp_path: Path) -> None:
    items: tuple[Item, ...] = (
        ("product/", None, 0o700), ("product/bin/", None, 0o775), ("product/bin/tool", b"x", 0o4711),
        ("product/data", b"y", 0o600), ("product/link", "data", 0o777), ("evidence/", None, 0o755),
        ("evidence/0", b"said", 0o600), ("wrote", b"/lamella/src/b\0/lamella/src/a\0", 0o600),
    )  # fmt: skip
    found = import_product(store, archive(tmp_path / "x.tar", *items, uid=1234), {"messages": "evidence/0"})
    assert [(entry.path, entry.type.value, entry.mode, entry.uid) for entry in found.fileset] == [
        ("bin", "d", 0o755, 0), ("bin/tool", "f", 0o755, 0), ("data", "f", 0o644, 0), ("link", "l", 0o777, 0),
    ]  # fmt: skip
    assert (dict(found.evidence), found.wrote) == ({"messages": b"said"}, ("/lamella/src/a", "/lamella/src/b"))
    snapshot = store.snapshots.find(found.fileset.digest)
    assert snapshot is not None
    assert stat.S_IMODE((snapshot.path / "bin/tool").stat().st_mode) == 0o755
    assert store.blobs.has(found.fileset.digest), "the planner reads file sets from blobs"


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ((("product", "/etc", 0o777), ("product/passwd", b"x", 0o644)), "is no directory|no product"),
        ((("product", "/etc", 0o777),), "no product"),
        ((("other/", None, 0o755),), "no product"),
        ((("product/", None, 0o755), ("product/../../x", b"x", 0o644)), "leads out"),
    ],
)
def test_a_product_that_no_export_of_ours_can_be_is_refused(
    items: tuple[Item, ...], message: str, store: Store, tmp_path: Path
) -> None:
    with pytest.raises(HostileInputError, match=message):
        import_product(store, archive(tmp_path / "x.tar", *items), {})


def below(*entries: Entry) -> dict[str, Entry]:
    """A chain's tree."""
    return {entry.path: entry for entry in entries}


def file(path: str, digest: str, *, size: int = 1, mode: int = 0o644) -> Entry:
    """A regular file's entry."""
    return Entry(path, EntryType.FILE, mode, size=size, digest=digest)


X = "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
"""Digest of the one byte ``x``."""


def test_of_a_root_file_system_only_the_difference_is_kept(store: Store, tmp_path: Path) -> None:
    """Content that is the same under another mode or name comes from the archive too."""
    before = below(
        Entry("a", EntryType.DIRECTORY, 0o755), file("a/same", X), file("a/mode", X), file("a/gone", X), file("y", X)
    )
    items: tuple[Item, ...] = (
        ("./", None, 0o755), ("a/", None, 0o755), ("a/same", b"x", 0o644), ("a/mode", b"x", 0o600),
        ("y", b"x", 0o644), ("proc/", None, 0o755), ("lamella/", None, 0o755), ("lamella/src/", None, 0o755),
    )  # fmt: skip
    export = archive(tmp_path / "x.tar", *items, links={"a/second": "y"})
    found = import_rootfs(store, export, before, ("/lamella/src", "/proc"))
    assert [(entry.path, entry.type.value) for entry in found.fileset] == [
        ("a", "d"), ("a/gone", "w"), ("a/mode", "f"), ("a/second", "f"),
    ]  # fmt: skip
    descriptor = layer_variant(store, found.layer.diff_id)
    with store.blobs.open(descriptor.digest) as blob:
        plain = open_decompressed(blob, descriptor.media_type)
        with tarfile.open(fileobj=io.BytesIO(plain.read(1 << 20))) as tar:
            names = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]
    assert names == {"a/.wh.gone": b"", "a/mode": b"x", "a/second": b"x"}


@pytest.mark.parametrize("compressor", ["gzip", "zstd", "none"])
def test_a_layer_is_written_in_the_form_that_was_asked_for_and_in_no_other(
    store: Store, tmp_path: Path, compressor: str
) -> None:
    found = import_rootfs(store, archive(tmp_path / "x.tar", ("one", b"x", 0o644)), {}, (), compressor)
    assert [variant.compressor for variant in store.variants.of(found.layer.diff_id)] == [compressor]
    assert len(list(store.blobs.all())) == 1


def test_hard_links_stay_one_file(store: Store, tmp_path: Path) -> None:
    export = archive(tmp_path / "x.tar", ("one", b"x", 0o644), links={"two": "one"})
    found = import_rootfs(store, export, {}, ())
    descriptor = layer_variant(store, found.layer.diff_id)
    with store.blobs.open(descriptor.digest) as blob:
        plain = open_decompressed(blob, descriptor.media_type).read(1 << 20)
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        assert [(member.name, member.islnk()) for member in tar] == [("one", False), ("two", True)]


@pytest.mark.parametrize(
    ("items", "links"),
    [
        ((("a", "/etc", 0o777), ("a/passwd", b"x", 0o644)), {}),
        ((), {"b": "nothing"}),
        ((("d/", None, 0o755),), {"b": "d"}),
    ],
)
def test_a_tree_that_no_file_system_can_be_is_refused(
    items: tuple[Item, ...], links: dict[str, str], store: Store, tmp_path: Path
) -> None:
    with pytest.raises(HostileInputError):
        import_rootfs(store, archive(tmp_path / "x.tar", *items, links=links), {}, ())


def test_an_archive_that_is_cut_is_refused(store: Store, tmp_path: Path) -> None:
    whole = archive(tmp_path / "x.tar", ("product/", None, 0o755), ("product/a", b"x" * 4000, 0o644))
    whole.write_bytes(whole.read_bytes()[:3000])
    with pytest.raises(HostileInputError, match="ends in the middle"):
        import_product(store, whole, {})
    with pytest.raises(HostileInputError, match="ends in the middle"):
        import_rootfs(store, whole, merged(()), ())


def test_databases_become_the_package_set_that_identifies_a_toolchain(tmp_path: Path) -> None:
    status = (
        b"Package: b\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:2-3\n\n"
        b"Package: a\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\n"
    )
    export = archive(
        tmp_path / "x.tar",
        ("packages/", None, 0o755), ("packages/dpkg-status", status, 0o644),
        ("packages/dpkg-status.d/c", b"Package: c\nVersion: 4\nArchitecture: all\n", 0o644),
        ("packages/apk-installed", b"P:musl\nV:1.2\nA:x86_64\n\n", 0o644),
        ("packages/rpm", b"bash 0:5.1-9 x86_64\ngpg-pubkey junk\n", 0o644),
    )  # fmt: skip
    assert json.loads(read_packages(export)) == {
        "format": 1,
        "packages": {
            "apk:musl:x86_64": "1.2", "dpkg:b:amd64": "1:2-3", "dpkg:c:all": "4", "rpm:bash:x86_64": "0:5.1-9",
        },
    }  # fmt: skip
