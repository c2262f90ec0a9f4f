"""Mounts as values, and places for them in a directory of their own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lamella.engines.local.mounts import (
    Bind,
    Overlay,
    Tmpfs,
    describe,
    lay_file,
    lay_stubs,
    normalise,
    outer_targets,
    overlay_data,
    retarget,
)
from lamella.errors import HostileInputError


def test_mounts_are_cleaned_and_put_outer_ones_first() -> None:
    ops = normalise([Tmpfs("/a/b/"), Bind("/a", "/host"), Tmpfs("/a-b"), Tmpfs("//a/./b/c")])
    assert [op.target for op in ops] == ["/a", "/a/b", "/a/b/c", "/a-b"]


@pytest.mark.parametrize("target", ["a", "", "/", "/..", "/a/../b", "/proc", "/dev/shm", "/sys/x", "/a\0b", "//proc/1"])
def test_targets_that_no_mount_may_have(target: str) -> None:
    with pytest.raises(HostileInputError):
        normalise([Tmpfs(target)])


def test_a_target_used_twice_is_refused() -> None:
    with pytest.raises(HostileInputError, match="two mounts have the target /a/b"):
        normalise([Tmpfs("/a/b"), Tmpfs("/a//b")])


def test_mounts_describe_themselves() -> None:
    ops = (
        Overlay("/src", ("/l2", "/l1"), "/u", "/w"),
        Bind("/state", "/host/state"),
        Bind("/s", "/f", True, True),
        Tmpfs("/t", 5),
    )
    assert describe(ops) == (
        "overlay /src upper=/u lower=/l2:/l1",
        "bind /state from /host/state",
        "bind /s from /f read-only",
        "tmpfs /t size=5",
    )


def test_overlay_options_keep_all_content_where_a_scan_sees_it() -> None:
    assert overlay_data(["/b", "/a"], "/u", "/w", rootless=False, volatile=True) == (
        "lowerdir=/b:/a,upperdir=/u,workdir=/w,index=off,metacopy=off,redirect_dir=off,volatile"
    )
    assert overlay_data(["/b", "/a"], rootless=True) == "lowerdir=/b:/a,index=off,metacopy=off,userxattr"


def test_only_mounts_in_no_other_one_need_a_place_in_the_root() -> None:
    ops = normalise([Tmpfs("/a"), Tmpfs("/a/b"), Bind("/ab", "/x", file=True), Tmpfs("/c/d")])
    assert outer_targets(ops) == (("/a", False), ("/ab", True), ("/c/d", False))


def test_a_mount_moves_with_the_one_around_it() -> None:
    ops = normalise([Tmpfs("/var/run/x"), Tmpfs("/var/run/x/y"), Tmpfs("/z")])
    moved = retarget(ops, {"/var/run/x": "/run/x", "/z": "/z"})
    assert [op.target for op in moved] == ["/run/x", "/run/x/y", "/z"]


@pytest.fixture
def view(tmp_path: Path) -> Path:
    root = tmp_path / "view"
    (root / "etc").mkdir(parents=True)
    (root / "etc").chmod(0o751)
    (root / "etc/passwd").write_text("x", encoding="utf-8")
    (root / "run").mkdir()
    (root / "var").mkdir()
    (root / "var/run").symlink_to("../run")
    (root / "etc/resolv.conf").symlink_to("../run/nothing")
    (root / "up").symlink_to("../../../../..")
    return root


@pytest.fixture
def stubs(tmp_path: Path) -> Path:
    (tmp_path / "stubs").mkdir()
    return tmp_path / "stubs"


def test_places_that_exist_need_no_stub(view: Path, stubs: Path) -> None:
    laid = lay_stubs(str(view), str(stubs), [("/etc", False), ("/etc/passwd", True)])
    assert (dict(laid.real), laid.made) == ({"/etc": "/etc", "/etc/passwd": "/etc/passwd"}, ())
    assert os.listdir(stubs) == []


def test_missing_places_are_made_with_directories_as_the_view_has_them(view: Path, stubs: Path) -> None:
    laid = lay_stubs(str(view), str(stubs), [("/etc/app/secret", True), ("/lamella/src", False)])
    assert laid.made == ("etc/app", "etc/app/secret", "lamella", "lamella/src")
    assert (stubs / "etc").stat().st_mode & 0o7777 == 0o751
    assert (stubs / "etc/app/secret").read_bytes() == b""
    assert (stubs / "lamella/src").is_dir()


def test_links_to_directories_are_followed_inside_the_view(view: Path, stubs: Path) -> None:
    laid = lay_stubs(str(view), str(stubs), [("/var/run/lock/x", False), ("/up/etc/y", False)])
    assert laid.real == {"/var/run/lock/x": "/run/lock/x", "/up/etc/y": "/etc/y"}
    assert (stubs / "run/lock/x").is_dir()
    assert not (stubs / "var").exists()


def test_a_link_where_a_file_goes_is_covered_not_followed(view: Path, stubs: Path) -> None:
    laid = lay_stubs(str(view), str(stubs), [("/etc/resolv.conf", True)])
    assert (laid.real["/etc/resolv.conf"], laid.made) == ("/etc/resolv.conf", ())
    assert (stubs / "etc/resolv.conf").is_file()
    assert not (stubs / "etc/resolv.conf").is_symlink()


@pytest.mark.parametrize(
    ("target", "file", "why"),
    [
        ("/etc/resolv.conf/x", False, "dangling link"),
        ("/etc/passwd/x", False, "is no directory"),
        ("/etc/passwd", False, "is no directory"),
        ("/etc", True, "is no file"),
    ],
)
def test_what_cannot_hold_a_mount_is_refused(view: Path, stubs: Path, target: str, file: bool, why: str) -> None:
    with pytest.raises(HostileInputError, match=why):
        lay_stubs(str(view), str(stubs), [(target, file)])


def test_a_file_is_laid_over_the_views_own_with_its_mode(view: Path, stubs: Path) -> None:
    (view / "etc/passwd").chmod(0o640)
    lay_file(str(view), str(stubs), "/etc/passwd", b"other")
    assert (stubs / "etc/passwd").read_bytes() == b"other"
    assert (stubs / "etc/passwd").stat().st_mode & 0o7777 == 0o640
    assert (view / "etc/passwd").read_bytes() == b"x"
