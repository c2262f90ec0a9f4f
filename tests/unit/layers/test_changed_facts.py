"""Facts that follow a layer's changes are those that a walk of the whole tree finds."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from lamella.canonical import FrozenMap
from lamella.engines.buildkit.trees import difference
from lamella.graph.facts import BaseFacts, DirectoryFact
from lamella.graph.facts_format import facts_to_bytes, parse_facts
from lamella.graph.fileset import Entry, EntryType, FileSet
from lamella.host.rooted import Rooted
from lamella.layers.facts import changed_facts, extract_facts, outline_facts
from lamella.layers.snapshot import KEEP, scan_tree
from lamella.oci.config import RuntimeConfig
from tests.unit.layers.trees import directory, file, make_tree, symlink

RUNTIME = RuntimeConfig(env=("PATH=/usr/bin:/bin",))
PASSWD = "root:x:0:0::/root:/bin/sh\n"
STATUS = "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36\n"
LIBC = "GNU C Library (Debian) stable release version 2.36.\n"

Step = tuple[str, str, str]
"""What happens to a path: ``file`` with a text, ``link`` to a target, ``directory`` with a mode, ``remove``."""

PATHS = (
    "etc", "etc/passwd", "etc/group", "etc/os-release", "bin", "bin/node", "usr/bin", "usr/bin/python3.11", "lib",
    "lib/x-linux-gnu", "lib/x-linux-gnu/libc.so.6", "proc", "dev", "dev/x", "a", "a-b", "a/b",
    "a/b/c", "a.b/c", "a0", "a/\udcff",
)  # fmt: skip
DATABASE = "var/lib/dpkg/status"
"""A file or nothing: with anything else in its place there are no facts."""

CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("file"), st.sampled_from(PATHS), st.sampled_from(("", PASSWD, LIBC, "x"))),
        st.tuples(st.just("file"), st.just(DATABASE), st.sampled_from(("", STATUS))),
        st.tuples(st.just("link"), st.sampled_from(PATHS), st.sampled_from(("usr/bin", "/etc/group", "a", "nowhere"))),
        st.tuples(st.just("directory"), st.sampled_from(("", *PATHS)), st.sampled_from(("700", "755", "1777"))),
        st.tuples(st.just("remove"), st.sampled_from((DATABASE, *PATHS)), st.just("")),
    ),
    max_size=12,
)


def clear(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def do(root: Path, steps: list[Step]) -> None:
    """Whatever is in the way of a step goes."""
    for kind, path, value in steps:
        place = root / path
        for above in reversed(place.relative_to(root).parents):
            if not (root / above).is_dir() or (root / above).is_symlink():
                clear(root / above)
                (root / above).mkdir()
        if kind != "directory":
            clear(place)
        if kind == "file":
            place.write_text(value)
            place.chmod(0o755)
        elif kind == "link":
            place.symlink_to(value)
        elif kind == "directory":
            if not place.is_dir() or place.is_symlink():
                clear(place)
                place.mkdir()
            place.chmod(int(value, 8))


def outline_of(root: Path) -> BaseFacts:
    with Rooted(root) as rooted:
        return parse_facts(facts_to_bytes(outline_facts(rooted, runtime=RUNTIME)))


def walked(root: Path) -> BaseFacts:
    return extract_facts(root, platform="", runtime=RUNTIME)


def tree_of(root: Path) -> dict[str, Entry]:
    return {entry.path: entry for entry in scan_tree(root, KEEP)}


@settings(max_examples=150, deadline=None)
@given(CHANGES, CHANGES)
@example([("file", "etc/passwd", PASSWD)], [("link", "etc", "usr/bin"), ("file", "usr/bin/passwd", PASSWD)])
@example([("link", "etc", "usr/bin"), ("file", "usr/bin/passwd", PASSWD)], [("remove", "usr/bin/passwd", "")])
@example([("file", "a/b/c", ""), ("file", "a-b", ""), ("file", "a0", "")], [("file", "a", "")])
@example([("file", "dev/x", ""), ("directory", "proc", "755")], [("link", "dev", "a"), ("file", "proc", "")])
def test_following_the_changes_is_as_good_as_a_walk(before: list[Step], after: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "root"
        root.mkdir()
        do(root, before)
        below, tree = parse_facts(facts_to_bytes(walked(root))), tree_of(root)
        do(root, after)
        changes = difference(tree, tree_of(root))
        assert facts_to_bytes(changed_facts(below, changes, outline_of(root))) == facts_to_bytes(walked(root))


def test_an_opaque_directory_hides_what_was_below_it_and_nothing_beside_it(tmp_path: Path) -> None:
    root = make_tree(tmp_path, {"a/old/deep": b"", "a/kept": b"", "a-b/x": b"", "a0": b""})
    below = walked(root)
    opaque = Entry("a", EntryType.OPAQUE, 0o700, 3, 4)
    facts = changed_facts(below, FileSet.of([opaque, file("a/new")]), outline_of(root))
    assert facts.directories["/a"] == DirectoryFact("/a", 0o700, 3, 4)
    assert {*facts.directories, *facts.files} == {"/", "/a", "/a/new", "/a-b", "/a-b/x", "/a0"}


def test_a_kind_that_changes_leaves_nothing_of_the_old_one(tmp_path: Path) -> None:
    root = make_tree(tmp_path, {"file": b"", "link": "file", "dir/below": b"", "gone": b""})
    changes = [directory("file"), symlink("dir", "file"), file("link"), Entry("gone", EntryType.WHITEOUT, 0)]
    facts = changed_facts(walked(root), FileSet.of(changes), outline_of(root))
    assert set(facts.directories) == {"/", "/file"}
    assert dict(facts.symlinks) == {"/dir": "file"}
    assert dict(facts.files) == {"/link": ""}


def test_nothing_changed_is_the_same_facts(tmp_path: Path) -> None:
    root = make_tree(tmp_path, {"etc/passwd": PASSWD.encode(), "bin": "usr/bin", "usr/bin/sh": b""})
    below = walked(root)
    assert changed_facts(below, FileSet(()), outline_of(root)) == below


def test_an_outline_has_the_root_directory_and_the_accounts_alone(tmp_path: Path) -> None:
    root = make_tree(tmp_path, {"etc/passwd": PASSWD.encode(), "etc/group": b"", "usr/bin/sh": b"", "link": "usr"})
    outline, whole = outline_of(root), walked(root)
    assert set(outline.directories) == {"/"}
    assert dict(outline.files) == {"/etc/passwd": PASSWD, "/etc/group": ""}
    assert outline.symlinks == FrozenMap()
    assert (outline.users, outline.tools, outline.libc) == (whole.users, whole.tools, whole.libc)
