from __future__ import annotations

import errno
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lamella.canonical import digest_bytes
from lamella.commit import (
    TEMPORARY_PREFIX,
    StagedFile,
    commit_bytes,
    commit_directory,
    commit_stream,
    disk_errors,
    replace_file,
    sweep_temporary_files,
)
from lamella.errors import ConfigError, IntegrityError, ResourceError


@pytest.fixture(params=["unnamed", "named"])
def temporary(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways: with O_TMPFILE, and as on a file system (or kernel) that has none."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE")
    return str(request.param)


def test_a_commit_gives_bytes_a_name_and_leaves_nothing_else(tmp_path: Path, temporary: str) -> None:
    assert commit_bytes(tmp_path / "a", b"hello")
    assert (tmp_path / "a").read_bytes() == b"hello"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o444
    assert os.listdir(tmp_path) == ["a"]


def test_a_commit_never_replaces(tmp_path: Path, temporary: str) -> None:
    commit_bytes(tmp_path / "a", b"first")
    assert not commit_bytes(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["a"]


def test_a_pointer_is_replaced(tmp_path: Path, temporary: str) -> None:
    replace_file(tmp_path / "index.json", b"old")
    replace_file(tmp_path / "index.json", b"new", mode=0o640)
    assert (tmp_path / "index.json").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "index.json").stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["index.json"]


def test_until_the_commit_the_file_is_private_and_has_no_final_name(tmp_path: Path, temporary: str) -> None:
    with StagedFile(tmp_path) as staged:
        staged.write(b"x" * 100_000)
        names = os.listdir(tmp_path)
        assert all(name.startswith(TEMPORARY_PREFIX) for name in names)
        assert all(stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600 for name in names)
        assert len(names) == (0 if temporary == "unnamed" else 1)
    assert os.listdir(tmp_path) == []


def test_a_stream_is_placed_by_its_digest(tmp_path: Path, temporary: str) -> None:
    pieces = [b"a" * 70_000, b"", b"b" * 10, b"c" * 200_000]
    whole = b"".join(pieces)
    made = commit_stream(pieces, lambda digest: tmp_path / digest.partition(":")[2], tmp_path)
    assert (made.digest, made.size, made.new) == (digest_bytes(whole), len(whole), True)
    assert (tmp_path / made.digest.partition(":")[2]).read_bytes() == whole


@pytest.mark.parametrize(
    ("digest", "size"), [(digest_bytes(b"other"), None), ("", 4), ("", 6), (digest_bytes(b"hello"), 4)]
)
def test_wrong_bytes_are_never_committed(tmp_path: Path, temporary: str, digest: str, size: int | None) -> None:
    with pytest.raises(IntegrityError):
        commit_stream([b"hello"], lambda found: tmp_path / "target", tmp_path, digest=digest, size=size)
    assert os.listdir(tmp_path) == []


def test_a_stream_that_grows_past_its_size_is_cut_off(tmp_path: Path) -> None:
    taken = []

    def endless() -> Iterator[bytes]:
        while True:
            taken.append(1)
            yield b"x" * 1000

    with pytest.raises(IntegrityError, match="more than the 5000 bytes"):
        commit_stream(endless(), lambda found: tmp_path / "target", tmp_path, size=5000)
    assert len(taken) == 6


def test_sha512_is_hashed_when_it_is_promised(tmp_path: Path) -> None:
    import hashlib

    digest = f"sha512:{hashlib.sha512(b'x').hexdigest()}"
    assert commit_stream([b"x"], lambda found: tmp_path / "t", tmp_path, digest=digest).digest == digest


def test_a_directory_is_committed_with_its_description(tmp_path: Path) -> None:
    staged = tmp_path / "staged"
    (staged / "fs").mkdir(parents=True)
    (staged / "fs" / "file").write_bytes(b"x")
    assert commit_directory(staged, tmp_path / "final", {"manifest": b"m", "meta": b"{}"})
    assert (tmp_path / "final" / "meta").read_bytes() == b"{}"
    assert not staged.exists()


def test_a_directory_never_replaces_another(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "fs").mkdir(parents=True)
        (tmp_path / name / "fs" / name).write_bytes(b"")
    assert commit_directory(tmp_path / "one", tmp_path / "final", {"meta": b"1"})
    assert not commit_directory(tmp_path / "two", tmp_path / "final", {"meta": b"2"})
    assert (tmp_path / "final" / "meta").read_bytes() == b"1"
    assert (tmp_path / "final" / "fs" / "one").exists()


def test_leftovers_of_dead_writers_are_swept_and_live_ones_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_TMPFILE")
    (tmp_path / f"{TEMPORARY_PREFIX}dead").write_bytes(b"half")
    (tmp_path / "other").write_bytes(b"not ours")
    with StagedFile(tmp_path) as staged:
        staged.write(b"alive")
        assert sweep_temporary_files(tmp_path) == 1
        assert staged.commit(tmp_path / "final")
    assert sorted(os.listdir(tmp_path)) == ["final", "other"]


@contextmanager
def limit(kind: int, soft: int) -> Iterator[None]:
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def test_a_file_size_limit_is_reported_and_nothing_is_left(tmp_path: Path, temporary: str) -> None:
    with limit(resource.RLIMIT_FSIZE, 4096), pytest.raises(ResourceError, match="file size limit") as caught:
        commit_bytes(tmp_path / "a", b"x" * 10_000)
    assert caught.value.exit_code == 5
    assert os.listdir(tmp_path) == []


def test_no_file_descriptors_left_is_reported(tmp_path: Path) -> None:
    with limit(resource.RLIMIT_NOFILE, 3), pytest.raises(ResourceError, match="no file descriptor left"):
        commit_bytes(tmp_path / "a", b"x")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        (errno.ENOSPC, ResourceError, r"no space left .*123 bytes needed, \d+ bytes free"),
        (errno.EDQUOT, ResourceError, "quota .*123 bytes needed"),
        (errno.EIO, ResourceError, "input/output error"),
        (errno.ENOMEM, ResourceError, "memory"),
        (errno.EROFS, ConfigError, "cannot be written"),
        (errno.EACCES, ConfigError, "cannot be written"),
    ],
)
def test_errors_say_what_is_used_up(tmp_path: Path, code: int, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=f"writing.*{text}"), disk_errors("writing", tmp_path / "not" / "there", needed=123):
        raise OSError(code, "injected")


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        commit_bytes(tmp_path / "missing" / "a", b"x", staging=tmp_path)
    assert os.listdir(tmp_path) == []
