from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import pytest

from lamella.canonical import digest_bytes
from lamella.errors import ConfigError, HostileInputError, IntegrityError
from lamella.store import MissingBlobError, Store
from lamella.testing.clock import FixedClock
from tests.unit.store.samples import open_store

DATA = b"some content" * 1000


def quarantined(store: Store) -> list[str]:
    return sorted(os.listdir(store.layout.folder("quarantine")))


def overwrite(store: Store, digest: str, data: bytes) -> None:
    """What no program of ours does: other bytes under the name of a blob."""
    path = store.blobs.path(digest)
    path.chmod(0o644)
    path.write_bytes(data)


def test_bytes_come_back_by_their_digest(store: Store) -> None:
    digest = store.blobs.put_bytes(DATA)
    assert digest == digest_bytes(DATA)
    assert store.blobs.read(digest) == DATA
    with store.blobs.open(digest) as file:
        assert file.read() == DATA
    assert store.blobs.size(digest) == len(DATA)
    assert store.blobs.has(digest, len(DATA))
    assert not store.blobs.has(digest, len(DATA) - 1)
    assert list(store.blobs.all()) == [(digest, len(DATA))]


def test_putting_twice_keeps_one(store: Store) -> None:
    digest = store.blobs.put_bytes(DATA)
    inode = store.blobs.path(digest).stat().st_ino
    assert store.blobs.put_bytes(DATA) == digest
    assert store.blobs.put_file(io.BytesIO(DATA)) == (digest, len(DATA))
    assert store.blobs.path(digest).stat().st_ino == inode


def test_files_streams_and_writers_give_the_same(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(DATA)
    expected = (digest_bytes(DATA), len(DATA))
    assert store.blobs.put_file(tmp_path / "file", *expected) == expected
    assert store.blobs.put_stream(iter([DATA[:5], DATA[5:]])) == expected
    with store.blobs.writer() as out:
        for byte in (DATA[:3], DATA[3:]):
            out.write(byte)
        assert (out.digest, out.size) == expected
        assert out.commit(*expected) == expected


def test_sha512_is_kept_under_its_algorithm(store: Store) -> None:
    digest = f"sha512:{hashlib.sha512(DATA).hexdigest()}"
    assert store.blobs.put_file(io.BytesIO(DATA), digest) == (digest, len(DATA))
    assert store.blobs.read(digest) == DATA
    assert store.blobs.path(digest).parent.name == "sha512"


@pytest.mark.parametrize(("expected", "size"), [(digest_bytes(b"x"), None), ("", 3)])
def test_unexpected_bytes_are_not_stored(store: Store, expected: str, size: int | None) -> None:
    with pytest.raises(IntegrityError):
        store.blobs.put_file(io.BytesIO(DATA), expected, size)
    assert list(store.blobs.all()) == []
    assert os.listdir(store.layout.staging) == []


def test_a_writer_that_is_left_leaves_nothing(store: Store) -> None:
    with store.blobs.writer() as out:
        out.write(DATA)
    assert list(store.blobs.all()) == []


@pytest.mark.parametrize(
    "digest", ["sha256:../../etc/passwd", "md5:00", "sha256:" + "A" * 64, "", "sha256:" + "a" * 63]
)
def test_what_is_no_digest_is_no_path(store: Store, digest: str) -> None:
    with pytest.raises(HostileInputError):
        store.blobs.has(digest)


def test_a_missing_blob_is_said_to_be_missing(store: Store) -> None:
    assert not store.blobs.has(digest_bytes(b"x"))
    with pytest.raises(MissingBlobError, match="is not in the store"):
        store.blobs.open(digest_bytes(b"x"))


CORRUPTIONS = {
    "one bit": bytes([DATA[0] ^ 1]) + DATA[1:],
    "truncated": DATA[:-1],
    "grown": DATA + b"x",
    "zeroed": bytes(len(DATA)),
    "empty": b"",
}


@pytest.mark.parametrize("corruption", CORRUPTIONS)
@pytest.mark.parametrize("way", ["open", "read"])
def test_a_corrupt_blob_is_found_on_reading_put_aside_and_made_anew(store: Store, corruption: str, way: str) -> None:
    digest = store.blobs.put_bytes(DATA)
    overwrite(store, digest, CORRUPTIONS[corruption])
    with pytest.raises(IntegrityError, match="does not hold the bytes of its digest") as caught:
        getattr(store.blobs, way)(digest)
    assert caught.value.exit_code == 3
    assert not store.blobs.has(digest)
    assert quarantined(store)[0].startswith("blob-")
    store.blobs.put_bytes(DATA)
    assert store.blobs.read(digest) == DATA


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_putting_over_a_corrupt_blob_heals_it(store: Store, corruption: str) -> None:
    digest = store.blobs.put_bytes(DATA)
    overwrite(store, digest, CORRUPTIONS[corruption])
    store.blobs.put_bytes(DATA)
    assert store.blobs.read(digest) == DATA
    overwrite(store, digest, CORRUPTIONS[corruption])
    store.blobs.put_file(io.BytesIO(DATA))
    assert store.blobs.read(digest) == DATA
    assert len(quarantined(store)) == 2


@pytest.mark.parametrize("kind", ["symlink", "dangling", "fifo", "directory"])
def test_what_is_no_regular_file_is_refused_and_replaced(store: Store, tmp_path: Path, kind: str) -> None:
    digest = digest_bytes(DATA)
    path = store.blobs.path(digest)
    (tmp_path / "canary").write_bytes(DATA)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / ("canary" if kind == "symlink" else "nowhere"))
    assert not store.blobs.has(digest)
    with pytest.raises(IntegrityError, match="no regular file"):
        store.blobs.open(digest)
    assert list(store.blobs.all()) == []
    assert store.blobs.put_bytes(DATA) == digest
    assert store.blobs.read(digest) == DATA
    assert (tmp_path / "canary").read_bytes() == DATA


def test_checked_once_is_checked_for_this_boot_also_for_other_processes(clock: FixedClock, tmp_path: Path) -> None:
    with open_store(tmp_path / "store", clock) as store:
        digest = store.blobs.put_bytes(DATA)
        clock.advance(60)
        store.blobs.open(digest).close()
        status = store.blobs.path(digest).stat()
        mark = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        assert store.index().known(digest, mark)
    with open_store(tmp_path / "store", clock) as other:
        assert other.index().known(digest, mark)
        overwrite(other, digest, CORRUPTIONS["one bit"])
        with pytest.raises(IntegrityError):
            other.blobs.open(digest)


def test_a_file_that_has_just_changed_is_not_trusted_by_its_times(store: Store) -> None:
    digest = store.blobs.put_bytes(DATA)
    store.blobs.open(digest).close()
    status = store.blobs.path(digest).stat()
    mark = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    assert not store.index().known(digest, mark)


def test_a_store_that_can_only_be_read_refuses_to_write(store: Store) -> None:
    store._context.read_only = True
    with pytest.raises(ConfigError, match="can only be read"):
        store.blobs.put_bytes(DATA)


def read_all(store: Store, digest: str, piece: int = 1000) -> bytes:
    with store.blobs.open_checking(digest) as file:
        return b"".join(iter(lambda: file.read(piece), b""))


def test_a_blob_can_be_checked_while_it_is_read(store: Store) -> None:
    digest = store.blobs.put_bytes(DATA)
    assert read_all(store, digest) == DATA
    overwrite(store, digest, DATA[:-1] + b"X")
    with store.blobs.open_checking(digest) as file:
        assert file.read(len(DATA) - 1) == DATA[:-1]
        with pytest.raises(IntegrityError, match="does not hold the bytes"):
            file.read(1)
    assert not store.blobs.has(digest)
    assert len(quarantined(store)) == 1


def test_who_reads_a_part_again_gets_the_same_verdict(store: Store) -> None:
    for data, wrong in ((DATA, False), (DATA + b"tail", True)):
        digest = store.blobs.put_bytes(data)
        if wrong:
            overwrite(store, digest, data[:-1] + b"X")
        with store.blobs.open_checking(digest) as file:
            assert file.read(6000) == data[:6000]
            assert file.seek(2000) == 2000
            assert file.read(5000) == data[2000:7000]
            if wrong:
                with pytest.raises(IntegrityError):
                    file.read()
            else:
                assert file.read() == data[7000:]


def test_a_blob_found_right_while_it_was_read_is_not_hashed_again(tmp_path: Path) -> None:
    clock = FixedClock(4_000_000_000)  # long after every file's last change
    with open_store(tmp_path / "store", clock) as store:
        digest = store.blobs.put_bytes(DATA)
        read_all(store, digest)
        with store.blobs.open_checking(digest) as file:
            assert type(file) is io.BufferedReader


def test_a_staged_file_is_adopted_as_it_is(store: Store, tmp_path: Path) -> None:
    staged = store.layout.staging / "layer"
    staged.write_bytes(DATA)
    store.blobs.adopt(staged, digest_bytes(DATA), len(DATA))
    store.blobs.adopt(staged, digest_bytes(DATA), len(DATA))
    assert store.blobs.read(digest_bytes(DATA)) == DATA
    assert store.blobs.path(digest_bytes(DATA)).samefile(staged)


def test_what_is_adopted_displaces_a_corrupt_blob(store: Store) -> None:
    digest = store.blobs.put_bytes(DATA)
    overwrite(store, digest, b"rotten")
    staged = store.layout.staging / "layer"
    staged.write_bytes(DATA)
    store.blobs.adopt(staged, digest, len(DATA))
    assert store.blobs.read(digest) == DATA
    assert len(quarantined(store)) == 1


def test_only_a_regular_file_of_the_promised_size_is_adopted(store: Store) -> None:
    staged = store.layout.staging / "layer"
    staged.write_bytes(DATA[1:])
    link = store.layout.staging / "link"
    link.symlink_to(staged)
    for path in (staged, link):
        with pytest.raises(IntegrityError, match="is not the file"):
            store.blobs.adopt(path, digest_bytes(DATA), len(DATA))
    assert list(store.blobs.all()) == []
