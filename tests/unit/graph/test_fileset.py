"""File sets: order, selection, digests per directory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.canonical import FrozenMap, digest_bytes
from lamella.errors import HostileInputError
from lamella.graph.fileset import (
    EMPTY_FILESET,
    Entry,
    EntryType,
    FileSet,
    directory_digest,
    merkle_digest,
    parse_fileset,
)


def file(path: str, text: str = "", mode: int = 0o644) -> Entry:
    """A regular file."""
    return Entry(path, EntryType.FILE, mode, size=len(text), digest=digest_bytes(text.encode()))


NAMES = st.text(alphabet="ab.é-", min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@given(st.dictionaries(PATHS, st.text(max_size=3), max_size=8))
def test_stored_form_reads_back_as_the_same_value(files: dict[str, str]) -> None:
    """What is written is what is read."""
    fileset = FileSet.of(file(path, text) for path, text in files.items())
    assert parse_fileset(fileset.to_bytes()) == fileset


def test_all_fields_survive_storing() -> None:
    """Devices, xattrs, owners and links are kept."""
    fileset = FileSet.of(
        [
            Entry("dev/x", EntryType.CHAR_DEVICE, 0o600, 1, 2, device=(5, 1)),
            Entry("bin/ping", EntryType.FILE, 0o4755, 0, 0, 0, digest_bytes(b""), xattrs=FrozenMap({"user.a": "00ff"})),
            Entry("lib64", EntryType.SYMLINK, 0o777, link="usr/lib64"),
            Entry("gone", EntryType.WHITEOUT, 0),
        ]
    )
    assert parse_fileset(fileset.to_bytes()) == fileset


@pytest.mark.parametrize("path", ["", "/a", "a/../b", "a//b", "./a", "a/.", "a\0b"])
def test_a_path_that_could_leave_its_root_is_refused(path: str) -> None:
    """Paths become file names below a root."""
    with pytest.raises(HostileInputError):
        FileSet.of([file(path)])


def test_a_path_given_twice_is_refused() -> None:
    """Two owners of one path have no order."""
    with pytest.raises(HostileInputError, match="twice"):
        FileSet.of([file("a", "1"), file("a", "2")])


@pytest.mark.parametrize("data", [b"", b"{}", b'{"format":99,"entries":[]}', b'{"format":1,"entries":[[]]}'])
def test_malformed_stored_form_is_refused(data: bytes) -> None:
    """A broken blob is an error and no crash."""
    with pytest.raises(HostileInputError):
        parse_fileset(data)


def test_below_and_moved_undo_each_other() -> None:
    """Moving a tree changes its paths alone."""
    fileset = FileSet.of([file("a/b", "1"), file("c", "2")])
    assert fileset.moved("/x/y").below("x/y") == fileset
    assert fileset.moved("") is fileset


def test_select_takes_what_lies_below_a_match() -> None:
    """A directory's name stands for all in it; a later ``!`` takes away."""
    fileset = FileSet.of([file("src/a.rs"), file("src/gen/b.rs"), file("srcx")])
    assert [e.path for e in fileset.select(("src",))] == ["src/a.rs", "src/gen/b.rs"]
    assert [e.path for e in fileset.select(("src", "!src/gen"))] == ["src/a.rs"]


def test_merkle_digest_is_built_from_directories() -> None:
    """The rows of a directory are name, type, mode and content; a subdirectory counts by its own digest."""
    fileset = FileSet.of([file("a", "1"), file("d/b", "2", 0o755)])
    inner = directory_digest({"b": ["b", "f", 0o755, digest_bytes(b"2")]})
    outer = directory_digest({"a": ["a", "f", 0o644, digest_bytes(b"1")], "d": ["d", "d", inner]})
    assert merkle_digest(fileset) == outer


@given(st.dictionaries(PATHS, st.text(max_size=3), max_size=8))
def test_merkle_digest_differs_when_a_file_is_added(files: dict[str, str]) -> None:
    """No two different trees share a digest (up to collisions): one more file is another digest."""
    taken = [path for path in files if not any(other.startswith(f"{path}/") for other in files)]
    fileset = FileSet.of(file(path, files[path]) for path in taken)
    more = FileSet.of([*fileset.entries, file("zz/new")])
    assert merkle_digest(more) != merkle_digest(fileset)
    assert merkle_digest(EMPTY_FILESET) != merkle_digest(more)


def test_merkle_digest_does_not_count_owners() -> None:
    """Two users see the same tree."""
    one = Entry("a", EntryType.FILE, 0o644, 0, 0, 1, digest_bytes(b"x"))
    two = Entry("a", EntryType.FILE, 0o644, 1000, 1000, 1, digest_bytes(b"x"))
    assert merkle_digest(FileSet((one,))) == merkle_digest(FileSet((two,)))


def test_get_finds_each_entry_and_nothing_else() -> None:
    """Binary search over sorted paths."""
    fileset = FileSet.of([file(name) for name in ("a", "a-b", "a/b", "b", "é")])
    assert all(fileset.get(entry.path) is entry for entry in fileset)
    assert fileset.get("a/c") is None
