"""Base facts from small roots, hostile ones too, and their stored form."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
from pathlib import Path

import pytest

from lamella.errors import HostileInputError
from lamella.graph.facts import DirectoryFact, Group, Interpreter, User
from lamella.graph.facts_format import facts_to_bytes, parse_facts
from lamella.host.rooted import Rooted
from lamella.layers.facts import extract_facts
from lamella.layers.packages import Package, list_packages
from lamella.layers.programs import find_programs
from lamella.oci.config import RuntimeConfig
from tests.unit.layers.trees import make_tree

STATUS = b"""Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u9
Description: C library
 Package: not-a-field

Package: removed
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: curl
Status: install ok installed
Architecture: amd64
Version: 7.88.1
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = make_tree(
        tmp_path / "root",
        {
            "bin": "usr/bin",
            "lib": "usr/lib",
            "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n\xff:x:1:1::/:\n",
            "etc/group": b"root:x:0:\nstaff:x:50:root,shop\nbad:x:notanumber:\n",
            "etc/os-release": "../usr/lib/os-release",
            "usr/lib/os-release": b'ID=debian\nPRETTY_NAME="Debian \\"12\\""\n# comment\nVERSION_ID=\'12\'\nlower=no\n',
            "usr/bin/python3.11": b"#!",
            "usr/bin/python3": "python3.11",
            "usr/bin/curl": b"",
            "usr/bin/notes.txt": b"",
            "usr/bin/dangling": "/nowhere",
            "usr/local/bin/node": b"",
            "usr/local/include/node/node_version.h": b"#define NODE_MAJOR_VERSION 22\n#define NODE_MINOR_VERSION 3\n"
            b"#define NODE_PATCH_VERSION 1\n",
            "usr/lib/x86_64-linux-gnu/libc.so.6": b"..GNU C Library (Debian) stable release version 2.36.\n",
            "var/lib/dpkg/status": STATUS,
            "proc/self/deep": b"",
            "tmp": None,
        },
    )
    for name in ("python3.11", "curl"):
        (made / "usr/bin" / name).chmod(0o755)
    (made / "usr/local/bin/node").chmod(0o755)
    (made / "tmp").chmod(0o1777)
    return made


def test_facts_of_a_root(root: Path) -> None:
    facts = extract_facts(root, platform="linux/amd64", runtime=RuntimeConfig(user="shop"))
    me = (os.getuid(), os.getgid())
    assert facts.directories["/tmp"] == DirectoryFact("/tmp", 0o1777, *me)
    assert facts.symlinks["/bin"] == "usr/bin"
    assert "/usr/bin/curl" in facts.files
    assert facts.users == (User("root", 0, 0, "/root", "/bin/sh", "root"), User("\udcff", 1, 1, "/", "", ""))
    assert facts.groups == (Group("root", 0), Group("staff", 50, ("root", "shop")))
    assert dict(facts.os_release) == {"ID": "debian", "PRETTY_NAME": 'Debian "12"', "VERSION_ID": "12"}
    assert (facts.libc, facts.libc_version) == ("glibc", "2.36")
    assert facts.interpreters == (
        Interpreter("node", "/usr/local/bin/node", "22.3.1", "glibc"),
        Interpreter("python", "/usr/bin/python3.11", "3.11", "cpython-311"),
    )
    assert facts.tools == ("curl", "node", "python3", "python3.11")
    assert dict(facts.packages) == {"libc6": "2.36-9+deb12u9", "curl": "7.88.1"}
    assert (facts.platform, facts.runtime.user) == ("linux/amd64", "shop")


def test_what_a_runtime_mounts_is_named_but_not_entered(root: Path) -> None:
    facts = extract_facts(root, platform="", runtime=RuntimeConfig())
    assert "/proc" in facts.directories
    assert not any(path.startswith("/proc/") for path in (*facts.directories, *facts.files))


def test_without_the_tree_there_are_tools_but_no_paths(root: Path) -> None:
    facts = extract_facts(root, platform="", runtime=RuntimeConfig(), whole=False)
    assert (len(facts.directories), len(facts.symlinks)) == (0, 0)
    assert "curl" in facts.tools
    assert set(facts.files) == {"/etc/passwd", "/etc/group"}


def test_the_path_of_the_image_config_counts(root: Path) -> None:
    (root / "opt/bin").mkdir(parents=True)
    (root / "opt/bin/python3.9").write_bytes(b"")
    (root / "opt/bin/python3.9").chmod(0o755)
    facts = extract_facts(root, platform="", runtime=RuntimeConfig(env=("PATH=/opt/bin:relative:", "A=b")))
    assert [found.path for found in facts.interpreters] == ["/opt/bin/python3.9"]
    assert facts.tools == ("python3.9",)


def test_a_directory_with_two_names_gives_its_programs_under_the_first(root: Path) -> None:
    with Rooted(root) as rooted:
        assert find_programs(rooted, "/bin:/gone:/usr/bin:/usr/local/bin") == {
            "curl": "/bin/curl",
            "node": "/usr/local/bin/node",
            "python3": "/bin/python3",
            "python3.11": "/bin/python3.11",
        }


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"lib/x-linux-gnu/libc.so.6": "libc-2.31.so", "lib/x-linux-gnu/libc-2.31.so": b""}, ("glibc", "2.31")),
        ({"lib64/libc.so.6": b"nothing to read"}, ("glibc", "")),
        ({"lib/ld-musl-x86_64.so.1": b"\0musl\0" + b"1.2.5\0"}, ("musl", "1.2.5")),
        ({"lib/libc.musl-aarch64.so.1": "ld-musl-aarch64.so.1"}, ("musl", "")),
        ({"lib/other": b""}, ("", "")),
    ],
)  # fmt: skip
def test_the_c_library(tmp_path: Path, files: dict[str, bytes | str | None], expected: tuple[str, str]) -> None:
    facts = extract_facts(make_tree(tmp_path / "r", files), platform="", runtime=RuntimeConfig())
    assert (facts.libc, facts.libc_version) == expected


def test_an_empty_root_has_empty_facts(tmp_path: Path) -> None:
    facts = extract_facts(tmp_path, platform="", runtime=RuntimeConfig())
    assert list(facts.directories) == ["/"]
    assert (facts.users, facts.tools, facts.libc, dict(facts.packages)) == ((), (), "", {})


def test_the_facts_of_a_hostile_root_never_come_from_outside(tmp_path: Path) -> None:
    outside = make_tree(tmp_path / "outside", {"passwd": b"evil:x:0:0::/:/bin/sh\n", "tool": b""})
    (outside / "tool").chmod(0o755)
    hostile = make_tree(
        tmp_path / "root",
        {
            "etc/passwd": f"../../../../../../{outside}/passwd",
            "etc/group": str(outside / "passwd"),
            "usr/bin": str(outside),
            "bin/loop": "loop",
            "bin/tool": str(outside / "tool"),
            "var/lib/dpkg/status": None,
        },
    )
    with pytest.raises(HostileInputError, match="regular file"):
        extract_facts(hostile, platform="", runtime=RuntimeConfig())
    (hostile / "var/lib/dpkg/status").rmdir()
    os.mkfifo(hostile / "etc/os-release")
    facts = extract_facts(hostile, platform="", runtime=RuntimeConfig())
    assert (facts.users, facts.groups, facts.tools, dict(facts.os_release)) == ((), (), (), {})


def test_stored_facts_come_back_equal(root: Path) -> None:
    (root / os.fsdecode(b"gr\xfcn")).write_bytes(b"")
    facts = extract_facts(root, platform="linux/arm64", runtime=RuntimeConfig(env=("A=1",), cmd=("x",)))
    data = facts_to_bytes(facts)
    assert parse_facts(data) == facts
    assert facts_to_bytes(parse_facts(data)) == data


# -- package sets --------------------------------------------------------------------------------------------------


def packages(root: Path) -> tuple[str, tuple[Package, ...]]:
    with Rooted(root) as rooted:
        return list_packages(rooted)


def test_packages_are_sorted_whatever_the_database_does(tmp_path: Path) -> None:
    stanzas = STATUS.split(b"\n\n")
    one = make_tree(tmp_path / "a", {"var/lib/dpkg/status": b"\n\n".join(stanzas)})
    two = make_tree(tmp_path / "b", {"var/lib/dpkg/status": b"\n\n".join(reversed(stanzas))})
    expected = (Package("curl", "7.88.1", "amd64"), Package("libc6", "2.36-9+deb12u9", "amd64"))
    assert packages(one) == packages(two) == ("dpkg", expected)


def test_images_without_dpkg_have_one_file_per_package(tmp_path: Path) -> None:
    part = b"Package: tzdata\nVersion: 2024a\nArchitecture: all\n"
    root = make_tree(tmp_path, {"var/lib/dpkg/status.d/tzdata": part, "var/lib/dpkg/status.d/tzdata.md5sums": b"x"})
    assert packages(root) == ("dpkg", (Package("tzdata", "2024a", "all"),))


def test_apk(tmp_path: Path) -> None:
    data = b"C:Q1x\nP:musl\nV:1.2.5-r0\nA:x86_64\n\nP:busybox\nV:1.36\nA:x86_64\n\n"
    root = make_tree(tmp_path, {"lib/apk/db/installed": data})
    assert packages(root) == ("apk", (Package("busybox", "1.36", "x86_64"), Package("musl", "1.2.5-r0", "x86_64")))


def rpm_header(fields: dict[int, tuple[int, bytes]]) -> bytes:
    index, store = b"", b""
    for tag, (kind, value) in fields.items():
        index += struct.pack(">IIII", tag, kind, len(store), 1)
        store += value
    return struct.pack(">II", len(fields), len(store)) + index + store


def test_rpm(tmp_path: Path) -> None:
    place = tmp_path / "usr/lib/sysimage/rpm"
    place.mkdir(parents=True)
    database = sqlite3.connect(place / "rpmdb.sqlite")
    database.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB)")
    common = {1001: (6, b"2.34\0"), 1002: (6, b"100.el9\0"), 1022: (6, b"x86_64\0")}
    for header in (
        {1000: (6, b"glibc\0")} | common,
        {1000: (6, b"shadow\0"), 1003: (4, struct.pack(">I", 2))} | common,
    ):
        database.execute("INSERT INTO Packages (blob) VALUES (?)", (rpm_header(header),))
    database.commit()
    database.close()
    assert packages(tmp_path) == (
        "rpm",
        (Package("glibc", "2.34-100.el9", "x86_64"), Package("shadow", "2:2.34-100.el9", "x86_64")),
    )


@pytest.mark.parametrize("left_over", [False, True])
def test_rpm_with_a_write_ahead_log(tmp_path: Path, left_over: bool) -> None:
    """As rpm keeps it (Fedora 33 and newer), and with a log that nobody has worked off yet."""
    place = tmp_path / "made"
    place.mkdir()
    database = sqlite3.connect(place / "rpmdb.sqlite", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB)")
    fields = {1000: (6, b"glibc\0"), 1001: (6, b"2.34\0"), 1002: (6, b"1\0"), 1022: (6, b"x86_64\0")}
    if not left_over:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.execute("INSERT INTO Packages (blob) VALUES (?)", (rpm_header(fields),))
    if not left_over:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copytree(place, tmp_path / "root/usr/lib/sysimage/rpm")
    database.close()
    assert bool((tmp_path / "root/usr/lib/sysimage/rpm/rpmdb.sqlite-wal").stat().st_size) is left_over
    assert packages(tmp_path / "root") == ("rpm", (Package("glibc", "2.34-1", "x86_64"),))


@pytest.mark.parametrize("data", [b"no database", b"SQLite format 3\0" + bytes(500)])
def test_a_malformed_rpm_database_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(HostileInputError, match="rpm"):
        packages(make_tree(tmp_path, {"var/lib/rpm/rpmdb.sqlite": data}))
