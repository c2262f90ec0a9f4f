"""Rooted paths (X1, X3): the same tests for the system call and for the walk that stands in for it."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lamella.errors import HostileInputError
from lamella.host import removal
from lamella.host.resolve import Resolver, best_resolver, open_by_syscall, open_by_walk
from lamella.host.rooted import Rooted

RESOLVERS = {"openat2": open_by_syscall, "walk": open_by_walk}


@pytest.fixture(params=RESOLVERS)
def resolver(request: pytest.FixtureRequest) -> Resolver:
    if request.param == "openat2" and best_resolver() is not open_by_syscall:
        pytest.skip("this kernel, or a filter in front of it, has no openat2")
    return RESOLVERS[request.param]


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """What must never be reached or changed."""
    place = tmp_path / "outside"
    (place / "dir").mkdir(parents=True)
    (place / "file").write_bytes(b"outside")
    return place


@pytest.fixture
def top(tmp_path: Path, outside: Path) -> Path:
    """A root with honest things and links of every kind."""
    place = tmp_path / "root"
    (place / "a/b").mkdir(parents=True)
    (place / "a/b/file").write_bytes(b"inside")
    for name, target in {
        "absolute": str(outside),
        "relative": "../outside",
        "climbing": "../" * 40 + str(outside).lstrip("/"),
        "inner": "/a/b",
        "inner-up": "a/../../../a/b",
        "a/up": "..",
        "loop": "loop",
        "ping": "pong",
        "pong": "ping",
        "dead": "/nowhere",
        "to-file": "a/b/file",
        "magic": "/proc/self/root",
    }.items():
        (place / name).symlink_to(target)
    return place


@pytest.fixture
def root(top: Path, resolver: Resolver) -> Iterator[Rooted]:
    with Rooted(top, resolver=resolver) as rooted:
        yield rooted


def read(root: Rooted, path: str) -> bytes:
    return root.read_bytes(path, limit=1000)


@pytest.mark.parametrize(
    "path",
    [
        "a/b/file",
        "/a/b/file",
        "./a//b/./file",
        "inner/file",
        "inner-up/file",
        "to-file",
        "a/up/a/b/file",
        "../../a/b/file",
        "a/../a/b/file",
        "inner/../b/file",
        "a/b/../../../../inner/file",
    ],
)
def test_paths_are_resolved_as_if_the_root_were_the_whole_system(root: Rooted, path: str) -> None:
    assert read(root, path) == b"inside"


@pytest.mark.parametrize("link", ["absolute", "relative", "climbing", "dead"])
def test_links_that_lead_out_lead_nowhere(root: Rooted, link: str) -> None:
    with pytest.raises(FileNotFoundError):
        read(root, f"{link}/file")
    assert root.exists(link)
    assert stat.S_ISLNK(root.lstat(link).st_mode)
    with pytest.raises(FileNotFoundError):
        root.stat(link)


@pytest.mark.parametrize("link", ["loop", "ping", "loop/x"])
def test_loops_end(root: Rooted, link: str) -> None:
    with pytest.raises(OSError, match="symbolic links") as caught:
        root.stat(link)
    assert caught.value.errno == errno.ELOOP


def test_magic_links_of_procfs_are_not_followed(resolver: Resolver, tmp_path: Path) -> None:
    """As far as they could be reached at all: the root here is procfs itself."""
    with Rooted("/proc", resolver=resolver) as proc, pytest.raises(OSError, match=r"symbolic links|directory"):
        proc.listdir(f"{os.getpid()}/root")
    with Rooted("/proc", resolver=resolver) as proc, pytest.raises(OSError, match=r"symbolic links|directory"):
        proc.read_bytes(f"{os.getpid()}/cwd/{tmp_path.name}", limit=10)


def test_without_links_any_link_on_the_way_is_refused(top: Path, resolver: Resolver) -> None:
    with Rooted(top, links=False, resolver=resolver) as strict:
        assert read(strict, "a/b/file") == b"inside"
        assert strict.readlink("inner") == "/a/b"
        for path in ("inner/file", "a/up/a/b/file", "to-file"):
            with pytest.raises(OSError, match="symbolic links") as caught:
                read(strict, path)
            assert caught.value.errno == errno.ELOOP


@pytest.mark.parametrize("path", ["inner/", "inner/.", "a/up/."])
def test_a_path_that_ends_in_a_slash_names_what_the_link_leads_to(root: Rooted, path: str) -> None:
    assert stat.S_ISDIR(root.lstat(path).st_mode)
    with pytest.raises(NotADirectoryError):
        root.lstat("to-file/")


def test_a_file_is_no_directory(root: Rooted) -> None:
    with pytest.raises(NotADirectoryError):
        read(root, "a/b/file/x")
    assert not root.exists("a/b/file/x")


def test_a_nul_is_refused(root: Rooted) -> None:
    with pytest.raises(ValueError, match="null byte"):
        read(root, "a\0b")


def test_the_root_stays_pinned_when_its_name_goes_elsewhere(top: Path, resolver: Resolver, outside: Path) -> None:
    with Rooted(top, resolver=resolver) as root:
        top.rename(top.with_name("moved"))
        top.symlink_to(outside)
        assert read(root, "a/b/file") == b"inside"
        os.close(root.create("new"))
    assert not (outside / "new").exists()


def test_a_root_by_handle_leaves_the_callers_handle_open(top: Path, resolver: Resolver) -> None:
    handle = os.open(top, os.O_RDONLY)
    with Rooted(handle, resolver=resolver) as root:
        assert read(root, "a/b/file") == b"inside"
    os.fstat(handle)
    os.close(handle)


# -- reading -------------------------------------------------------------------------------------------------------


def test_reading_holds_its_limit_and_wants_a_regular_file(root: Rooted, top: Path) -> None:
    with pytest.raises(HostileInputError, match="larger than 5 bytes"):
        root.read_bytes("a/b/file", limit=5)
    assert root.read_bytes("a/b/file", limit=6) == b"inside"
    os.mkfifo(top / "fifo")
    for path in ("fifo", "a"):
        with pytest.raises(HostileInputError, match="not a regular file"):
            read(root, path)


def test_reading_without_following(root: Rooted) -> None:
    with pytest.raises((HostileInputError, OSError)):
        root.read_bytes("to-file", limit=100, follow=False)


def test_listing_does_not_follow(root: Rooted) -> None:
    assert root.listdir("a") == ["b", "up"]
    with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
        root.listdir("inner")


def test_statuses_are_those_of_what_names_lead_to_inside_the_root(root: Rooted) -> None:
    kinds = {name: stat.S_IFMT(status.st_mode) for name, status in root.statuses()}
    directories = {"a", "inner", "inner-up"}
    assert kinds == dict.fromkeys(directories, stat.S_IFDIR) | {"to-file": stat.S_IFREG}
    assert [name for name, _ in root.statuses("inner")] == ["file"]
    assert root.statuses("to-file") == root.statuses("dead") == root.statuses("gone") == []


def test_what_is_not_there_is_not_found_and_a_link_in_the_way_counts_as_nothing(top: Path, resolver: Resolver) -> None:
    with Rooted(top, resolver=resolver) as root, Rooted(top, links=False, resolver=resolver) as strict:
        for one in (root, strict):
            assert [one.find(path) for path in ("gone", "gone/x", "a/b/file/x")] == [None] * 3
            found = one.find("dead")
            assert found is not None
            assert stat.S_ISLNK(found.st_mode)
        assert root.find("inner/file") is not None
        assert strict.find("inner/file") is None
        with pytest.raises(OSError, match="symbolic links"):
            root.find("loop/x")


def test_the_real_path_of_a_handle(root: Rooted) -> None:
    with root.handle("inner", os.O_RDONLY | os.O_DIRECTORY, follow=True) as handle:
        assert root.real_path(handle) == "a/b"
    assert root.real_path(root.fd) == ""


# -- making and changing -------------------------------------------------------------------------------------------


def test_modes_are_exact_under_any_umask(root: Rooted, top: Path) -> None:
    before = os.umask(0o077)
    try:
        os.close(root.create("f", 0o664))
        root.mkdir("d", 0o2775)
        root.mkdirs("m/n", 0o1777)
        root.mknod("p", stat.S_IFIFO | 0o666)
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((top / name).stat().st_mode) for name in ("f", "d", "m", "m/n", "p")}
    assert modes == {"f": 0o664, "d": 0o2775, "m": 0o1777, "m/n": 0o1777, "p": 0o666}


@pytest.mark.parametrize("name", ["absolute", "dead", "to-file", "a"])
def test_a_file_is_never_made_over_something(root: Rooted, name: str, outside: Path) -> None:
    with pytest.raises(FileExistsError):
        root.create(name)
    assert (outside / "file").read_bytes() == b"outside"


@pytest.mark.parametrize("link", ["absolute", "relative", "climbing"])
def test_nothing_is_made_through_a_link_that_leads_out(root: Rooted, link: str, outside: Path) -> None:
    calls: list[Callable[[], object]] = [
        lambda: root.create(f"{link}/x"),
        lambda: root.mkdir(f"{link}/x"),
        lambda: root.mkdirs(f"{link}/x"),
        lambda: root.symlink("y", f"{link}/x"),
        lambda: root.link("a/b/file", f"{link}/x"),
        lambda: root.link(f"{link}/file", "x"),
        lambda: root.mknod(f"{link}/x", stat.S_IFIFO | 0o600),
        lambda: root.unlink(f"{link}/file"),
        lambda: root.rename(f"{link}/file", "x"),
        lambda: root.remove_tree(f"{link}/dir"),
        lambda: root.chmod(f"{link}/file", 0o777),
        lambda: root.chown(f"{link}/file", 1, 1),
        lambda: root.utime(f"{link}/file", 0),
        lambda: root.set_xattr(f"{link}/file", "user.x", b"y"),
    ]
    before = {path.name: path.lstat().st_mode for path in outside.rglob("*")}
    for call in calls:
        with pytest.raises((OSError, HostileInputError)):
            call()
    assert {path.name: path.lstat().st_mode for path in outside.rglob("*")} == before


def test_directories_are_made_through_links_inside(root: Rooted, top: Path) -> None:
    assert root.mkdirs("inner/x/y") == ("inner/x", "inner/x/y")
    assert (top / "a/b/x/y").is_dir()
    assert root.mkdirs("inner/x/y") == ()
    assert root.mkdirs("") == ()


@pytest.mark.parametrize("path", ["a/b/file/x", "dead/x", "dead", "loop/x", "to-file/x"])
def test_directories_are_not_made_over_files_or_dead_links(root: Rooted, path: str) -> None:
    with pytest.raises(HostileInputError):
        root.mkdirs(path)


@pytest.mark.parametrize("path", ["", ".", "a/..", "/", "a/b/."])
def test_a_name_is_needed_to_make_something(root: Rooted, path: str) -> None:
    with pytest.raises(HostileInputError, match="no name"):
        root.mkdir(path)


def test_links_are_changed_themselves_never_what_they_lead_to(root: Rooted, top: Path) -> None:
    root.utime("to-file", 5 * 10**9)
    assert (top / "to-file").lstat().st_mtime == 5
    assert (top / "a/b/file").stat().st_mtime != 5
    with pytest.raises(OSError, match="not supported"):
        root.chmod("to-file", 0o600)
    root.link("to-file", "second")
    assert os.readlink(top / "second") == "a/b/file"


def test_attributes_of_files_and_directories(root: Rooted, top: Path) -> None:
    for path in ("a", "a/b/file"):
        root.set_xattr(path, "user.note", b"\0x")
        assert root.xattrs(path)["user.note"] == b"\0x"
        assert os.getxattr(top / path, "user.note") == b"\0x"


def test_renaming_stays_inside(root: Rooted, top: Path) -> None:
    root.rename("inner/file", "a/moved")
    assert (top / "a/moved").read_bytes() == b"inside"


# -- removing (X3) -------------------------------------------------------------------------------------------------


def test_trees_are_removed_and_links_not_followed(root: Rooted, top: Path, outside: Path) -> None:
    (top / "a/escape").symlink_to(outside)
    (top / "a/locked").mkdir(mode=0o000)
    (top / "a/read-only").mkdir()
    (top / "a/read-only/f").write_bytes(b"x")
    (top / "a/read-only").chmod(0o555)
    root.remove_tree("a")
    assert not (top / "a").exists()
    assert (outside / "file").read_bytes() == b"outside"
    root.remove_tree("absolute")
    assert (outside / "dir").is_dir()
    with pytest.raises(FileNotFoundError):
        root.remove_tree("a")


def test_a_tree_deeper_than_handles_are_kept_is_removed(root: Rooted, top: Path) -> None:
    handle = os.open(top, os.O_RDONLY)
    for _ in range(700):
        os.mkdir("d", dir_fd=handle)
        with open(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=handle), "wb"):
            pass
        below = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)
    root.remove_tree("d")
    assert not (top / "d").exists()


def test_a_mount_inside_is_never_entered(root: Rooted, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for the kernel's mount ids; the integration test mounts something."""
    inner = (top / "a/b").stat().st_ino
    real = removal.mount_id
    monkeypatch.setattr(removal, "mount_id", lambda handle: -1 if os.fstat(handle).st_ino == inner else real(handle))
    with pytest.raises(OSError, match="mount") as caught:
        root.remove_tree("a")
    assert caught.value.errno == errno.EXDEV
    assert (top / "a/b/file").exists()


def test_clearing_keeps_the_root(root: Rooted, top: Path) -> None:
    root.clear()
    assert list(top.iterdir()) == []


# -- walking -------------------------------------------------------------------------------------------------------


def test_a_walk_is_sorted_and_follows_nothing(root: Rooted) -> None:
    assert [found.path for found in root.walk("a")] == ["a/b", "a/b/file", "a/up"]
    paths = [found.path for found in root.walk()]
    assert paths[:4] == ["a", "a/b", "a/b/file", "a/up"]
    assert not any(path.startswith(("inner/", "absolute/")) for path in paths)


def test_a_walk_may_leave_directories_out(root: Rooted) -> None:
    paths = [found.path for found in root.walk(enter=lambda found: found.path != "a/b")]
    assert "a/b" in paths
    assert "a/b/file" not in paths


def test_a_walk_that_is_left_early_closes_its_handles(root: Rooted) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        walk = root.walk()
        next(walk)
        next(walk)
        walk.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_walk_ends_at_its_depth(root: Rooted) -> None:
    with pytest.raises(HostileInputError, match="deeper than 1"):
        list(root.walk(depth=1))


# -- races and equality --------------------------------------------------------------------------------------------


def test_a_directory_that_keeps_becoming_a_link_never_leads_out(root: Rooted, top: Path, outside: Path) -> None:
    stop = threading.Event()

    def swap() -> None:
        os.mkdir(top / "target")
        os.symlink(outside, top / "trap")
        while not stop.is_set():
            os.rename(top / "target", top / "name")
            os.rename(top / "name", top / "target")
            os.rename(top / "trap", top / "name")
            os.rename(top / "name", top / "trap")

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for number in range(2000):
            try:
                os.close(root.create(f"name/made-{number}"))
            except OSError:
                continue
    finally:
        stop.set()
        thread.join()
    assert {path.name for path in outside.iterdir()} == {"dir", "file"}


PARTS = st.sampled_from(["a", "b", "c", "..", ".", "", "link1", "link2", "file"])
PATHS = st.lists(PARTS, min_size=1, max_size=6).map("/".join)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(targets=["a"] * 4, path="link1/.", follow=False, links=False)
@example(targets=["a/b/file/"] * 4, path="link1", follow=True, links=True)
@given(
    targets=st.lists(PATHS.filter(bool), min_size=4, max_size=4), path=PATHS, follow=st.booleans(), links=st.booleans()
)
def test_both_resolvers_agree(
    tmp_path_factory: pytest.TempPathFactory, targets: list[str], path: str, follow: bool, links: bool
) -> None:
    if best_resolver() is not open_by_syscall:
        pytest.skip("nothing to compare with")
    top = tmp_path_factory.mktemp("agree")
    (top / "a/b").mkdir(parents=True)
    (top / "a/b/file").write_bytes(b"")
    for target, link in zip(targets, ("link1", "a/link1", "a/link2", "a/b/link1"), strict=True):
        (top / link).symlink_to(target)
    results = []
    for resolver in RESOLVERS.values():
        with Rooted(top, links=links, resolver=resolver) as root:
            try:
                with root.handle(path, follow=follow) as handle:
                    results.append((os.fstat(handle).st_ino, 0))
            except OSError as error:
                results.append((0, error.errno or -1))
    assert results[0] == results[1]
