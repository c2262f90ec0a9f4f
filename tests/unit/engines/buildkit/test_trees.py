"""Chains become trees, and two trees a layer."""

from __future__ import annotations

import pytest

from lamella.engines.buildkit.trees import check_tree, difference, merged, without_stubs
from lamella.errors import HostileInputError
from lamella.graph.fileset import Entry, EntryType, FileSet

FILE, DIRECTORY, WHITEOUT, OPAQUE = EntryType.FILE, EntryType.DIRECTORY, EntryType.WHITEOUT, EntryType.OPAQUE


def tree(text: str) -> dict[str, Entry]:
    """``a/ a/b=1``: directories end in a slash, files have their content after the sign."""
    return {entry.path: entry for entry in entries(text)}


def entries(text: str) -> list[Entry]:
    """The same with ``-a`` for a whiteout and ``!a/`` for an opaque directory."""
    found = []
    for word in text.split():
        if word.startswith("-"):
            found.append(Entry(word[1:], WHITEOUT, 0))
        elif word.startswith("!"):
            found.append(Entry(word[1:-1], OPAQUE, 0o755))
        elif word.endswith("/"):
            found.append(Entry(word[:-1], DIRECTORY, 0o755))
        else:
            path, _, content = word.partition("=")
            found.append(Entry(path, FILE, 0o644, size=len(content), digest=content))
    return found


def shown(made: FileSet) -> str:
    """The notation of :func:`entries`, sorted by path."""
    forms = {WHITEOUT: "-{0}", OPAQUE: "!{0}/", DIRECTORY: "{0}/", FILE: "{0}={1}"}
    return " ".join(forms[entry.type].format(entry.path, entry.digest) for entry in made)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (("a/ a/b=1", "c=2"), "a/ a/b=1 c=2"),
        (("a/ a/b=1", "a/b=2"), "a/ a/b=2"),
        (("a/ a/b=1 ab=1", "-a"), "ab=1"),
        (("a/ a/b/ a/b/c=1 a/bb=1", "a/ -a/b"), "a/ a/bb=1"),
        (("a/ a/b=1 a/c/ a/c/d=1", "!a/ a/e=2"), "a/ a/e=2"),
        (("a/ a/b=1", "a=2"), "a=2"),
        (("a=1", "a/ a/b=2"), "a/ a/b=2"),
        (("a/ a/b=1", "-a", "a/ a/c=3"), "a/ a/c=3"),
        (("a/ a/b=1", "-gone"), "a/ a/b=1"),
    ],
)
def test_layers_are_applied_as_the_image_spec_says(layers: tuple[str, ...], expected: str) -> None:
    made = merged(FileSet.of(entries(layer)) for layer in layers)
    assert shown(FileSet.of(made.values())) == expected


@pytest.mark.parametrize(
    ("below", "above", "expected"),
    [
        ("a/ a/b=1", "a/ a/b=1", ""),
        ("a/ a/b=1", "a/ a/b=2", "a/ a/b=2"),
        ("a/ a/b=1", "a/ a/b=1 c/ c/d=1", "c/ c/d=1"),
        ("a/ a/b/ a/b/c=1 a/d=1", "a/ a/d=1", "a/ -a/b"),
        ("a/ a/b=1", "a=1", "a=1"),
        ("a=1", "a/ a/b=1", "a/ a/b=1"),
        ("dev/ dev/null=1 proc/ x=1", "dev/ dev/pts=1 proc/ proc/1/ x=1", ""),
        ("dev/", "dev/ device=1", "device=1"),
        ("a=1", "", "-a"),
    ],
)
def test_the_difference_holds_changes_with_their_parents(below: str, above: str, expected: str) -> None:
    made = difference(tree(below), tree(above))
    assert shown(made) == expected
    again = merged((FileSet.of(tree(below).values()), made))
    wanted = {path: entry for path, entry in tree(above).items() if path.partition("/")[0] not in ("dev", "proc")}
    assert {path: e for path, e in again.items() if path.partition("/")[0] not in ("dev", "proc")} == wanted


def test_a_mode_alone_is_a_change() -> None:
    before = tree("a/ a/b=1")
    after = {**before, "a/b": Entry("a/b", FILE, 0o600, size=1, digest="1")}
    assert [entry.path for entry in difference(before, after)] == ["a", "a/b"]


def test_places_for_mounts_are_left_out_only_when_they_are_empty_and_new() -> None:
    below = tree("etc/ etc/hosts=")
    made = tree("etc/ etc/hosts= etc/resolv.conf= lamella/ lamella/src/ lamella/kept/ lamella/kept/a=1 run/ run/x=1")
    stubs = ("/etc/hosts", "/etc/resolv.conf", "/lamella/src", "/lamella/kept", "/run/x", "/proc")
    assert sorted(without_stubs(made, below, stubs)) == [
        "etc", "etc/hosts", "lamella", "lamella/kept", "lamella/kept/a", "run", "run/x",
    ]  # fmt: skip
    assert "lamella" not in without_stubs(tree("lamella/ lamella/src/"), {}, ("/lamella/src",))


@pytest.mark.parametrize("text", ["a/b=1", "a=1 a/b=1"])
def test_an_entry_below_no_directory_is_refused(text: str) -> None:
    with pytest.raises(HostileInputError, match="below something that is no directory"):
        check_tree(tree(text))
