"""Placement: parents as the base has them, never through a link, one owner per path."""

from __future__ import annotations

import pytest

from lamella.canonical import FrozenMap
from lamella.errors import ConfigError
from lamella.graph.facts import EMPTY_FACTS, BaseFacts, DirectoryFact, Group, User
from lamella.graph.fileset import Entry, FileSet
from lamella.graph.op import PlaceOp
from lamella.layers.content import bytes_content
from lamella.layers.place import check_owners, place, replaced_files
from tests.unit.layers.trees import directory, file, symlink


def facts(
    directories: dict[str, tuple[int, int, int]] | None = None,
    symlinks: dict[str, str] | None = None,
    files: tuple[str, ...] = (),
) -> BaseFacts:
    rows = {path: DirectoryFact(path, *row) for path, row in (directories or {}).items()}
    return BaseFacts(
        directories=FrozenMap(rows),
        symlinks=FrozenMap(symlinks or {}),
        files=FrozenMap(dict.fromkeys(files, "")),
        users=(User("root", 0, 0), User("shop", 10001, 10002)),
        groups=(Group("root", 0), Group("staff", 50)),
    )


def rows(fileset: FileSet) -> list[tuple[str, int, int, int]]:
    return [(entry.path, entry.mode, entry.uid, entry.gid) for entry in fileset]


PRODUCT = FileSet.of([directory("conf", 0o700), file("conf/a", b"a"), file("run", b"r", 0o755), symlink("l", "run")])


def test_a_tree_goes_below_its_target_with_owner_and_modes() -> None:
    placed = place(PRODUCT, PlaceOp("/srv/app", "shop"), EMPTY_FACTS_WITH_SHOP)
    assert rows(placed.fileset) == [
        ("srv", 0o755, 0, 0),
        ("srv/app", 0o755, 10001, 10002),
        ("srv/app/conf", 0o700, 10001, 10002),
        ("srv/app/conf/a", 0o644, 10001, 10002),
        ("srv/app/l", 0o777, 10001, 10002),
        ("srv/app/run", 0o755, 10001, 10002),
    ]


EMPTY_FACTS_WITH_SHOP = facts()


def test_parents_that_the_base_has_keep_owner_and_mode() -> None:
    """MECHANICS G: without the entry, or with another one, /tmp would become 0755 root."""
    base = facts({"/": (0o755, 0, 0), "/tmp": (0o1777, 0, 0), "/data": (0o2770, 1000, 1000)})
    product = FileSet.of([directory("tmp", 0o755), file("tmp/x"), directory("data"), file("data/y")])
    assert rows(place(product, PlaceOp("/", "shop"), base).fileset) == [
        ("data", 0o2770, 1000, 1000),
        ("data/y", 0o644, 10001, 10002),
        ("tmp", 0o1777, 0, 0),
        ("tmp/x", 0o644, 10001, 10002),
    ]


def test_a_mode_is_for_files_only() -> None:
    placed = place(PRODUCT, PlaceOp("/a", mode="0600"), EMPTY_FACTS)
    assert [row[:2] for row in rows(placed.fileset)] == [
        ("a", 0o755),
        ("a/conf", 0o700),
        ("a/conf/a", 0o600),
        ("a/l", 0o777),
        ("a/run", 0o600),
    ]


def test_directories_that_a_product_does_not_name_belong_to_its_owner() -> None:
    product = FileSet.of([file("deep/down/f")])
    assert rows(place(product, PlaceOp("/app", "7:8"), EMPTY_FACTS).fileset) == [
        ("app", 0o755, 7, 8),
        ("app/deep", 0o755, 7, 8),
        ("app/deep/down", 0o755, 7, 8),
        ("app/deep/down/f", 0o644, 7, 8),
    ]


USR_MERGED = facts(
    {
        "/": (0o755, 0, 0),
        "/usr": (0o755, 0, 0),
        "/usr/bin": (0o755, 0, 0),
        "/run": (0o755, 0, 0),
        "/var": (0o755, 0, 0),
    },
    {"/bin": "usr/bin", "/var/run": "/run", "/usr/bin/vi": "/etc/alternatives/vi"},
    ("/usr/bin/sh",),
)


@pytest.mark.parametrize(
    ("target", "path"),
    [("/bin/tool", "usr/bin/tool"), ("/var/run/app/x", "run/app/x"), ("/usr/bin/../bin/tool", "usr/bin/tool")],
)
def test_nothing_is_written_through_a_link_of_the_base(target: str, path: str) -> None:
    placed = place(FileSet.of([file("f")]), PlaceOp(target, rename=True), USR_MERGED)
    assert placed.fileset.entries[-1].path == path
    assert not any(f"/{entry.path}" in USR_MERGED.symlinks for entry in placed.fileset)


def test_a_directory_of_the_product_where_the_base_has_a_link_follows_it() -> None:
    product = FileSet.of([directory("bin", 0o700), file("bin/tool", b"", 0o755)])
    assert rows(place(product, PlaceOp("/"), USR_MERGED).fileset) == [
        ("usr", 0o755, 0, 0),
        ("usr/bin", 0o755, 0, 0),
        ("usr/bin/tool", 0o755, 0, 0),
    ]


def test_two_files_that_links_bring_to_one_place_are_an_error() -> None:
    product = FileSet.of([directory("bin"), file("bin/x"), directory("usr"), directory("usr/bin"), file("usr/bin/x")])
    with pytest.raises(ConfigError, match="/usr/bin/x"):
        place(product, PlaceOp("/"), USR_MERGED)


def test_replaced_files_and_links_are_named() -> None:
    product = FileSet.of([file("sh"), file("vi"), file("new")])
    placed = place(product, PlaceOp("/bin"), USR_MERGED)
    assert placed.replaced == ("/usr/bin/sh", "/usr/bin/vi")
    assert replaced_files(placed.fileset, EMPTY_FACTS) == ()


@pytest.mark.parametrize(
    ("product", "target", "rename", "paths"),
    [
        ([file("shop")], "/app/shop", False, ["app", "app/shop"]),
        ([file("shop")], "/app/server", True, ["app", "app/server"]),
        ([file("shop")], "/app", False, ["app", "app/shop"]),
        ([directory("out"), file("out/shop")], "/app/server", True, ["app", "app/server"]),
        ([directory("s"), file("s/s")], "/app/s", False, ["app", "app/s", "app/s/s", "app/s/s/s"]),
        ([file("a"), file("b")], "/app/a", True, ["app", "app/a", "app/a/a", "app/a/b"]),
        ([symlink("shop", "x")], "/app/shop", False, ["app", "app/shop"]),
    ],
)  # fmt: skip
def test_the_single_file_rule(product: list[Entry], target: str, rename: bool, paths: list[str]) -> None:
    assert [
        entry.path for entry in place(FileSet.of(product), PlaceOp(target, rename=rename), EMPTY_FACTS).fileset
    ] == paths


@pytest.mark.parametrize(
    ("source", "target", "paths"),
    [
        ("conf", "/etc/app", ["etc", "etc/app", "etc/app/a"]),
        ("conf/a", "/etc/app", ["etc", "etc/app", "etc/app/a"]),
        ("run", "/app/run", ["app", "app/run"]),
    ],
)
def test_a_part_of_the_product(source: str, target: str, paths: list[str]) -> None:
    assert [e.path for e in place(PRODUCT, PlaceOp(target, source=source), EMPTY_FACTS).fileset] == paths


def test_a_part_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no 'dist'"):
        place(PRODUCT, PlaceOp("/app", source="dist"), EMPTY_FACTS)


def test_an_unknown_owner_is_an_error_that_lists_the_bases_users() -> None:
    with pytest.raises(ConfigError, match="root, shop"):
        place(PRODUCT, PlaceOp("/app", "nobody"), facts())


def test_a_file_in_place_of_a_directory_of_the_base_is_an_error() -> None:
    with pytest.raises(ConfigError, match="directory in the base"):
        place(FileSet.of([file("etc")]), PlaceOp("/etc", rename=True), facts({"/etc": (0o755, 0, 0)}))


def test_a_directory_in_place_of_a_file_of_the_base_is_an_error() -> None:
    with pytest.raises(ConfigError, match="file in the base"):
        place(FileSet.of([file("x/y")]), PlaceOp("/opt"), facts(files=("/opt/x",)))


def test_the_content_of_a_placed_file_is_the_products() -> None:
    placed = place(PRODUCT, PlaceOp("/opt/x"), EMPTY_FACTS)
    content = placed.content(bytes_content({"conf/a": b"a", "run": b"r"}))
    assert [b"".join(content(e)) for e in placed.fileset if e.digest] == [b"a", b"r"]


def test_the_placement_depends_on_the_facts_of_its_subset_only() -> None:
    one, two = PlaceOp("/srv/app", "shop"), facts({"/srv": (0o750, 1, 1), "/home": (0o700, 9, 9)}, {"/lib": "usr/lib"})
    other = facts({"/srv": (0o750, 1, 1)}, files=("/srv/app/run",))
    assert two.subset(("/srv/app",), ("shop",)) == other.subset(("/srv/app",), ("shop",))
    assert place(PRODUCT, one, two).fileset == place(PRODUCT, one, other).fileset


def test_two_layers_that_own_one_path_are_an_error_with_both_names() -> None:
    with pytest.raises(ConfigError, match="'ui' and 'app' both own /srv/x"):
        check_owners(
            {"ui": FileSet.of([directory("srv"), file("srv/x")]), "app": FileSet.of([directory("srv"), file("srv/x")])}
        )


def test_a_file_and_a_directory_of_one_name_are_an_error() -> None:
    with pytest.raises(ConfigError, match="both own /x"):
        check_owners({"a": FileSet.of([file("x")]), "b": FileSet.of([directory("x"), file("x/y")])})


def test_shared_directories_are_fine_and_other_rights_are_told() -> None:
    first, second = FileSet.of([directory("srv"), file("srv/a")]), FileSet.of([directory("srv"), file("srv/b")])
    assert check_owners({"a": first, "b": second}) == ()
    third = FileSet.of([directory("srv", 0o700, 5, 5)])
    assert check_owners({"a": first, "c": third}) == ("/srv is 0755 0:0 in layer 'a' and 0700 5:5 in 'c', which wins",)
