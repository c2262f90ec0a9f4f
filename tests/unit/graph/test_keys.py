"""Definition keys, resolved keys, explanations: each single input of a key changes it, what is no input does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lamella.canonical import FrozenMap, digest_bytes, plain
from lamella.graph.definition import DefinitionBuilder, definition_key
from lamella.graph.explain import FileChange, diff_parts
from lamella.graph.fileset import Entry, EntryType, FileSet
from lamella.graph.keys import KeyParts, key_parts, parse_key_parts, rootfs_identity
from lamella.graph.mount import BindMount, CacheMount, SecretMount, StateMount
from lamella.graph.op import Command, ExecOp, FetchOp, FetchSource, ImageOp, OutputPath, Wheel, WheelsOp
from lamella.graph.vertex import AllPaths, Input, RootfsOf, Vertex, VertexInfo

ONE, TWO = digest_bytes(b"one"), digest_bytes(b"two")
STEP = ExecOp(
    commands=(Command(("cargo", "build")),),
    env=FrozenMap({"A": "1"}),
    cwd="/lamella/src",
    mounts=(BindMount(1, "/lamella/src"), StateMount("s", "/t")),
    outputs=(OutputPath("/t/bin", "bin"),),
)
EDGES = (Input(ONE, RootfsOf(), "rootfs"), Input(TWO, AllPaths(), "sources"))
VERTEX = Vertex(STEP, EDGES, "linux/amd64", "linux/amd64", VertexInfo("app"))
DIGESTS = (digest_bytes(b"root"), digest_bytes(b"src"))

CHANGES: dict[str, Any] = {
    "argv": {"commands": (Command(("cargo", "check")),)},
    "command network": {"commands": (Command(("cargo", "build"), network=True),)},
    "command cwd": {"commands": (Command(("cargo", "build"), cwd="/x"),)},
    "environment value": {"env": FrozenMap({"A": "2"})},
    "environment name": {"env": FrozenMap({"B": "1"})},
    "working directory": {"cwd": "/"},
    "user": {"user": "1:1"},
    "network policy": {"network": "host"},
    "mount target": {"mounts": (BindMount(1, "/src"), StateMount("s", "/t"))},
    "mount kind": {"mounts": (BindMount(1, "/lamella/src"), CacheMount("s", "/t"))},
    "state id": {"mounts": (BindMount(1, "/lamella/src"), StateMount("other", "/t"))},
    "secret id": {"mounts": (*STEP.mounts, SecretMount("token", "/run/secrets/token"))},
    "output": {"outputs": (OutputPath("/t/bin", "other"),)},
    "scratch": {"scratch": ("gen/**",)},
}


def key_of(vertex: Vertex, digests: tuple[str, ...] = DIGESTS) -> str:
    """The resolved key."""
    return key_parts(vertex, digests).key


@pytest.mark.parametrize("name", CHANGES)
def test_each_field_of_a_step_is_in_both_keys(name: str) -> None:
    """A key is derived from the whole op; nothing is picked by hand."""
    changed = replace(VERTEX, op=replace(STEP, **CHANGES[name]))
    assert key_of(changed) != key_of(VERTEX)
    assert definition_key(changed) != definition_key(VERTEX)


@pytest.mark.parametrize(
    "change", [{"platform": "linux/arm64"}, {"execution": "linux/arm64"}, {"platform": "any"}], ids=str
)
def test_platforms_are_in_both_keys(change: dict[str, Any]) -> None:
    """Target and execution platform count, each for itself."""
    assert key_of(replace(VERTEX, **change)) != key_of(VERTEX)
    assert definition_key(replace(VERTEX, **change)) != definition_key(VERTEX)


def test_input_content_is_in_the_resolved_key_alone() -> None:
    """The definition key names a vertex by its inputs' keys, the resolved key by their content."""
    assert key_of(VERTEX, (DIGESTS[0], ONE)) != key_of(VERTEX)
    other = replace(VERTEX, inputs=(EDGES[0], Input(ONE, AllPaths(), "sources")))
    assert key_of(other) == key_of(VERTEX)
    assert definition_key(other) != definition_key(VERTEX)


def test_names_advice_and_freshness_are_in_no_key() -> None:
    """What is for people or for policy does not rebuild anything."""
    other = replace(VERTEX, info=VertexInfo("else", "x", 7, "fail", "advice", local=True))
    renamed = replace(VERTEX, inputs=(EDGES[0], Input(TWO, AllPaths(), "other name")))
    assert key_of(other) == key_of(renamed) == key_of(VERTEX)
    assert definition_key(other) == definition_key(VERTEX)


def test_the_place_of_a_base_is_not_its_meaning() -> None:
    """A base is its digest, wherever it was pulled from."""
    here, there = ImageOp("registry.example/a:1", ONE), ImageOp("mirror.example/b:2", ONE)
    assert key_of(Vertex(here, ()), ()) == key_of(Vertex(there, ()), ())
    assert key_of(Vertex(here, ()), ()) != key_of(Vertex(ImageOp("registry.example/a:1", TWO), ()), ())


def test_a_wheel_is_its_hash_wherever_it_lies() -> None:
    """URL and size of a locked wheel may change, its hash may not."""

    def wheels(**change: Any) -> str:
        wheel = replace(Wheel("a", "1", "a-1-py3-none-any.whl", "0" * 64), **change)
        return key_of(Vertex(WheelsOp((wheel,), "3.11", "/opt/venv"), ()), ())

    assert wheels() == wheels(url="https://mirror.example/a.whl") == wheels(size=7)
    assert wheels() != wheels(sha256="1" * 64)


def test_a_fetch_with_a_checksum_is_its_checksum() -> None:
    """Without one the URL is all there is to go by."""

    def fetch(**source: Any) -> str:
        return key_of(Vertex(FetchOp((FetchSource(**source),), "x"), ()), ())

    assert fetch(url="https://a.example/x", sha256="0" * 64) == fetch(url="https://b.example/x", sha256="0" * 64)
    assert fetch(url="https://a.example/x") != fetch(url="https://b.example/x")
    assert fetch(url="https://a.example/x") == fetch(url="https://a.example/x", secret="token")


def test_equal_vertices_of_two_cells_are_one() -> None:
    """Adding a vertex twice gives one key and keeps the first's name."""
    builder = DefinitionBuilder()
    base = builder.add(Vertex(ImageOp("a", ONE), ()))
    step = replace(VERTEX, inputs=(Input(base, RootfsOf(), "rootfs"), Input(base, RootfsOf(), "again")))
    first, second = builder.add(step), builder.add(replace(step, info=VertexInfo("other cell")))
    definition = builder.build()
    assert first == second
    assert definition[first].info.name == "app"
    assert definition.needed((first,)) == (base, first)
    assert definition.chain(first) == (base, first)


def test_parts_survive_storing() -> None:
    """A record's parts read back with the same key."""
    parts = key_parts(VERTEX, DIGESTS)
    assert parse_key_parts(plain(parts)) == parts
    assert isinstance(parts, KeyParts)


def test_explain_names_the_field_that_changed() -> None:
    """The difference of two keys is a list of places with both values."""
    changed = replace(VERTEX, op=replace(STEP, env=FrozenMap({"A": "2"})))
    (change,) = diff_parts(key_parts(VERTEX, DIGESTS), key_parts(changed, DIGESTS))
    assert (change.part, change.before, change.after) == ("op.env.A", "1", "2")


def wheels(*packages: tuple[str, str]) -> tuple[KeyParts, tuple[Wheel, ...]]:
    found = tuple(Wheel(name, version, f"{name}-{version}-py3-none-any.whl", "0" * 64) for name, version in packages)
    return key_parts(replace(VERTEX, op=WheelsOp(found, "3.13", "/opt/venv"), inputs=()), ()), found


@pytest.mark.parametrize(
    ("packages", "expected"),
    [
        ([("six", "1.17"), ("idna", "3.1")], [("op.wheels[six]", "1.16", "1.17")]),
        ([("attrs", "26.1"), ("six", "1.16"), ("idna", "3.1")], [("op.wheels[attrs]", "", "26.1")]),
        ([("idna", "3.1")], [("op.wheels[six]", "1.16", "")]),
    ],
)
def test_explain_tells_packages_by_their_names_and_versions(
    packages: list[tuple[str, str]], expected: list[tuple[str, str, str]]
) -> None:
    before, _ = wheels(("six", "1.16"), ("idna", "3.1"))
    after, _ = wheels(*packages)
    assert [(c.part, c.before, c.after) for c in diff_parts(before, after)] == expected


def test_explain_tells_another_order_too() -> None:
    before, _ = wheels(("six", "1.16"), ("idna", "3.1"))
    after, _ = wheels(("idna", "3.1"), ("six", "1.16"))
    assert diff_parts(before, after)


def test_explain_names_the_files_that_changed() -> None:
    """File sets behind an input are compared by path."""

    def fileset(**files: str) -> FileSet:
        return FileSet.of(
            Entry(name, EntryType.FILE, 0o644, size=len(text), digest=digest_bytes(text.encode()))
            for name, text in files.items()
        )

    before, after = fileset(a="1", b="2"), fileset(a="1", b="3", c="4")
    known = {before.digest: before, after.digest: after}
    (change,) = diff_parts(
        key_parts(VERTEX, (DIGESTS[0], before.digest)),
        key_parts(VERTEX, (DIGESTS[0], after.digest)),
        fileset=known.get,
    )
    assert change.part == "input sources"
    assert change.files == (FileChange("b", "content"), FileChange("c", "added"))


def test_equal_keys_have_no_difference() -> None:
    """Nothing to explain."""
    assert diff_parts(key_parts(VERTEX, DIGESTS), key_parts(VERTEX, DIGESTS)) == ()


def test_a_root_file_system_is_its_key_and_its_packages() -> None:
    """The same step that installed other package versions is another root file system."""
    assert rootfs_identity(ONE, TWO) != rootfs_identity(ONE, ONE) != rootfs_identity(TWO, ONE)
