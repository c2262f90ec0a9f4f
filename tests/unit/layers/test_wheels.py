"""Wheels: by the installer specification, the same tree every time, and nothing outside of it."""

from __future__ import annotations

import csv
import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lamella.errors import HostileInputError, IntegrityError, SandboxError
from lamella.layers.snapshot import KEEP, scan_tree
from lamella.layers.wheels import install_wheels
from lamella.layers.zipread import ZipBudgets
from tests.unit.layers.wheelbox import make_wheel, rich_wheel

SITE = "lib/python3.11/site-packages"


def install(tmp_path: Path, *wheels: Path, name: str = "tree", **options: object) -> tuple[Path, tuple[str, ...]]:
    root = tmp_path / name
    root.mkdir()
    warnings = install_wheels(wheels, root, venv="/opt/venv", python="3.11", **options)  # type: ignore[arg-type]
    return root, warnings


def names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


def test_every_scheme_lands_where_the_specification_says(tmp_path: Path) -> None:
    root, warnings = install(tmp_path, rich_wheel(tmp_path))
    assert warnings == ()
    assert names(root) == {
        "bin/demo",
        "bin/demo-gui",
        "bin/demo-x",
        "bin/script-py",
        "bin/script-pyw",
        "bin/script-sh",
        "include/site/python3.11/demo/demo.h",
        "share/demo/readme.txt",
        f"{SITE}/demo.pth",
        f"{SITE}/demo/__init__.py",
        f"{SITE}/demo/data.bin",
        f"{SITE}/demo/tool",
        f"{SITE}/extra_plat.py",
        f"{SITE}/extra_pure.py",
        f"{SITE}/space/part_a/__init__.py",
        f"{SITE}/demo-1.0.dist-info/INSTALLER",
        f"{SITE}/demo-1.0.dist-info/METADATA",
        f"{SITE}/demo-1.0.dist-info/RECORD",
        f"{SITE}/demo-1.0.dist-info/WHEEL",
        f"{SITE}/demo-1.0.dist-info/entry_points.txt",
        f"{SITE}/demo-1.0.dist-info/licenses/LICENSE",
    }


def test_scripts_start_with_the_environments_interpreter(tmp_path: Path) -> None:
    root, _ = install(tmp_path, rich_wheel(tmp_path))
    assert (root / "bin/script-py").read_bytes() == b"#!/opt/venv/bin/python\nprint('hi')\n"
    assert (root / "bin/script-pyw").read_bytes() == b"#!/opt/venv/bin/python\nprint('hi')\n"
    assert (root / "bin/script-sh").read_bytes() == b"#!/bin/sh\necho hi\n"
    program = (root / "bin/demo-x").read_text()
    assert program.startswith("#!/opt/venv/bin/python\n")
    assert "from demo.sub import Class" in program
    assert "sys.exit(Class.run())" in program


def test_modes_are_constant_under_every_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        root, _ = install(tmp_path, rich_wheel(tmp_path))
    finally:
        os.umask(before)
    modes = {str(p.relative_to(root)): stat.S_IMODE(p.stat().st_mode) for p in root.rglob("*")}
    programs = {"bin/demo", "bin/demo-x", "bin/demo-gui", "bin/script-py", "bin/script-pyw", "bin/script-sh"}
    programs.add(f"{SITE}/demo/tool")
    assert {path for path, mode in modes.items() if mode == 0o755 and not (root / path).is_dir()} == programs
    assert set(modes.values()) == {0o644, 0o755}


def test_record_is_of_what_was_really_installed(tmp_path: Path) -> None:
    root, _ = install(tmp_path, rich_wheel(tmp_path), requested=["Demo"])
    with (root / SITE / "demo-1.0.dist-info/RECORD").open(newline="") as stream:
        rows = {row[0]: row[1:] for row in csv.reader(stream)}
    recorded = {os.path.normpath(os.path.join(SITE, path)) for path in rows}
    assert recorded == names(root)
    assert rows["../../../bin/script-py"][1] == str((root / "bin/script-py").stat().st_size)
    assert rows["../../../share/demo/readme.txt"][1] == "7"
    assert rows["demo-1.0.dist-info/RECORD"] == ["", ""]
    assert (root / SITE / "demo-1.0.dist-info/INSTALLER").read_bytes() == b"lamella\n"
    assert (root / SITE / "demo-1.0.dist-info/REQUESTED").read_bytes() == b""


def test_the_tree_is_the_same_every_time(tmp_path: Path) -> None:
    wheel = rich_wheel(tmp_path)
    first, _ = install(tmp_path, wheel, name="one")
    second, _ = install(tmp_path, wheel, name="two")
    assert scan_tree(first, KEEP) == scan_tree(second, KEEP)


def test_namespace_packages_of_two_wheels_live_side_by_side(tmp_path: Path) -> None:
    one = make_wheel(tmp_path, "one", {"space/one/__init__.py": b"1"})
    two = make_wheel(tmp_path, "two", {"space/two/__init__.py": b"2"})
    root, warnings = install(tmp_path, one, two)
    assert warnings == ()
    assert {"one", "two"} == {path.name for path in (root / SITE / "space").iterdir()}


def test_of_a_path_in_two_wheels_the_later_one_stays_and_is_told(tmp_path: Path) -> None:
    one = make_wheel(tmp_path, "one", {"shared.py": b"1", "same.py": b""})
    two = make_wheel(tmp_path, "two", {"shared.py": b"22", "same.py": b""})
    root, warnings = install(tmp_path, one, two)
    assert (root / SITE / "shared.py").read_bytes() == b"22"
    assert warnings == (
        f"{SITE}/shared.py is in one and, with other bytes, in two, which stays",
        f"{SITE}/same.py is in one and, with the same bytes, in two, which stays",
    )
    other, _ = install(tmp_path, two, one, name="other")
    assert (other / SITE / "shared.py").read_bytes() == b"1"


def test_bytecode_of_a_wheel_is_left_out(tmp_path: Path) -> None:
    root, warnings = install(tmp_path, make_wheel(tmp_path, "one", {"a/__pycache__/b.pyc": b"x", "a/b.py": b""}))
    assert f"{SITE}/a/__pycache__/b.pyc" not in names(root)
    assert warnings == ("a/__pycache__/b.pyc of one was left out: wheels may not bring bytecode",)


def test_what_installers_write_is_not_taken_from_a_wheel(tmp_path: Path) -> None:
    wheel = make_wheel(
        tmp_path, "one", {"one-1.0.dist-info/INSTALLER": b"conda", "one-1.0.dist-info/direct_url.json": b""}
    )
    root, _ = install(tmp_path, wheel)
    assert (root / SITE / "one-1.0.dist-info/INSTALLER").read_bytes() == b"lamella\n"
    assert not (root / SITE / "one-1.0.dist-info/direct_url.json").exists()


def test_a_file_that_is_not_what_record_says_is_an_integrity_error(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "one", {"a.py": b"right"}, overrides={"a.py": b"wrong"})
    with pytest.raises(IntegrityError, match=r"a\.py of one"):
        install(tmp_path, wheel)
    script = {"two-1.0.data/scripts/x": b"#!python\n1\n"}
    wheel = make_wheel(tmp_path, "two", script, overrides={"two-1.0.data/scripts/x": b"#!python\n2\n"})
    with pytest.raises(IntegrityError, match="scripts/x of two"):
        install(tmp_path, wheel, name="second")


HOSTILE: dict[str, Callable[[Path], Path]] = {
    "a path that climbs": lambda p: make_wheel(p, "bad", {"../evil.py": b"x"}),
    "a path that climbs later": lambda p: make_wheel(p, "bad", {"a/../../evil.py": b"x"}),
    "an absolute path": lambda p: make_wheel(p, "bad", {"/evil.py": b"x"}),
    "a backslash": lambda p: make_wheel(p, "bad", {"..\\evil.py": b"x"}),
    "a data path that climbs": lambda p: make_wheel(p, "bad", {"bad-1.0.data/data/../../evil": b"x"}),
    "a script path that climbs": lambda p: make_wheel(p, "bad", {"bad-1.0.data/scripts/../../../evil": b"x"}),
    "an unknown scheme": lambda p: make_wheel(p, "bad", {"bad-1.0.data/etc/passwd": b"x"}),
    "a program name that climbs": lambda p: make_wheel(p, "bad", {}, entry_points="[console_scripts]\n../x = a:b\n"),
    "a program name .": lambda p: make_wheel(p, "bad", {}, entry_points="[console_scripts]\n.. = a:b\n"),
    "a program without a function": lambda p: make_wheel(p, "bad", {}, entry_points="[console_scripts]\nx = a\n"),
    "code in an entry point": lambda p: make_wheel(p, "bad", {}, entry_points="[console_scripts]\nx = a:b;os.x\n"),
    "entry points that do not parse": lambda p: make_wheel(p, "bad", {}, entry_points="no section\n"),
    "no WHEEL file of a known version": lambda p: make_wheel(
        p, "bad", {}, overrides={"bad-1.0.dist-info/WHEEL": b"Wheel-Version: 2.0\n"}
    ),
    "metadata that is not text": lambda p: make_wheel(p, "bad", {}, overrides={"bad-1.0.dist-info/WHEEL": b"\xff"}),
    "two metadata directories": lambda p: make_wheel(p, "bad", {"other-1.0.dist-info/METADATA": b""}),
    "another package's metadata": lambda p: make_wheel(p, "bad", {}).rename(p / "good-1.0-py3-none-any.whl"),
    "the same path from two schemes": lambda p: make_wheel(p, "bad", {"x.py": b"", "bad-1.0.data/purelib/x.py": b""}),
    "a file where a directory is": lambda p: make_wheel(p, "bad", {"a/b.py": b"", "bad-1.0.data/platlib/a": b""}),
    "a file above a file": lambda p: make_wheel(p, "bad", {"a": b"", "a/b.py": b""}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_wheels_are_refused_and_nothing_is_written_outside(tmp_path: Path, name: str) -> None:
    box = tmp_path / "box"
    box.mkdir()
    wheel = HOSTILE[name](box)
    with pytest.raises(HostileInputError):
        install(tmp_path, wheel)
    assert {path.name for path in tmp_path.iterdir()} == {"box", "tree"}
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize(
    "budgets",
    [ZipBudgets(size=10_000), ZipBudgets(entries=3), ZipBudgets(path=20), ZipBudgets(ratio=5, ratio_from=1000)],
    ids=["size", "entries", "path", "ratio"],
)
def test_a_zip_bomb_stops_at_its_budget(tmp_path: Path, budgets: ZipBudgets) -> None:
    with pytest.raises(HostileInputError):
        install(tmp_path, rich_wheel(tmp_path), budgets=budgets)


def patched(wheel: Path, old: bytes, new: bytes, *, last: bool = False) -> Path:
    data = wheel.read_bytes()
    at = data.rfind(old) if last else data.find(old)
    assert at >= 0
    wheel.write_bytes(data[:at] + new + data[at + len(old) :])
    return wheel


def test_a_member_named_otherwise_in_its_own_header_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "bad", {"aaaa.py": b"x"})
    with pytest.raises(HostileInputError, match="otherwise in its directory"):
        install(tmp_path, patched(wheel, b"aaaa.py", b"bbbb.py"))


def test_a_name_with_a_nul_is_refused(tmp_path: Path) -> None:
    wheel = patched(make_wheel(tmp_path, "bad", {"aaaa.py": b"x"}), b"aaaa.py", b"aa\0a.py")
    with pytest.raises(HostileInputError, match="name"):
        install(tmp_path, patched(wheel, b"aaaa.py", b"aa\0a.py", last=True))


def test_members_that_overlap_are_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "bad", {"a.py": b"x" * 1000, "b.py": b"y" * 1000})
    with zipfile.ZipFile(wheel) as archive:
        second = archive.getinfo("b.py").header_offset
    wrong = patched(wheel, second.to_bytes(4, "little") + b"b.py", (0).to_bytes(4, "little") + b"b.py", last=True)
    with pytest.raises(HostileInputError, match="overlap"):
        install(tmp_path, wrong)


@pytest.mark.parametrize("cut", [0, 10, 200, -5])
def test_a_cut_wheel_is_refused(tmp_path: Path, cut: int) -> None:
    wheel = rich_wheel(tmp_path)
    wheel.write_bytes(wheel.read_bytes()[:cut])
    with pytest.raises(HostileInputError):
        install(tmp_path, wheel)


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "one", {"random.bin": os.urandom(4000)})
    data = bytearray(wheel.read_bytes())
    data[2000] ^= 1
    wheel.write_bytes(bytes(data))
    with pytest.raises((HostileInputError, IntegrityError)):
        install(tmp_path, wheel)


def test_a_tree_that_cannot_be_written_is_no_fault_of_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("lamella.host.rooted.Rooted.create", read_only)
    with pytest.raises(SandboxError, match="demo"):
        install(tmp_path, rich_wheel(tmp_path))
