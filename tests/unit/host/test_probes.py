"""Facts of a machine, read from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamella.host.probes import (
    IdRange,
    cpu_count,
    made_in_this_boot,
    memory_bytes,
    os_release,
    parse_os_release,
    platform_of,
    subordinate_range,
)


@pytest.mark.parametrize(
    ("machine", "platform"),
    [("x86_64", "linux/amd64"), ("AARCH64", "linux/arm64"), ("armv7l", "linux/arm/v7"), ("loong64", "linux/loong64")],
)
def test_platforms_of_machines(machine: str, platform: str) -> None:
    assert platform_of(machine) == platform


def test_os_release_is_unquoted() -> None:
    text = 'ID=debian\n# comment\nPRETTY_NAME="A \\"b\\" \\$c"\nVERSION_ID=\'12\'\nbroken\nEMPTY=\n'
    assert parse_os_release(text) == {"ID": "debian", "PRETTY_NAME": 'A "b" $c', "VERSION_ID": "12", "EMPTY": ""}


def test_os_release_of_a_root(tmp_path: Path) -> None:
    assert os_release(tmp_path) == {}
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/lib/os-release").write_text("ID=x\n", encoding="utf-8")
    assert os_release(tmp_path) == {"ID": "x"}


def test_the_largest_range_of_a_user_by_name_or_number(tmp_path: Path) -> None:
    (tmp_path / "subuid").write_text("me:100000:1000\n1000:300000:65536\nyou:1:999999\nbroken\n", encoding="utf-8")
    assert subordinate_range("subuid", 1000, "me", etc=tmp_path) == IdRange(300000, 65536)
    assert subordinate_range("subuid", 1, "me", etc=tmp_path) == IdRange(100000, 1000)
    assert subordinate_range("subuid", 2, "nobody", etc=tmp_path) is None
    assert subordinate_range("subgid", 1000, "me", etc=tmp_path) is None


def test_this_machine_has_processors_and_memory() -> None:
    assert cpu_count() >= 1
    assert memory_bytes() > 1 << 20


def test_a_file_is_of_this_boot_when_it_changed_after_its_beginning(tmp_path: Path) -> None:
    made, stat = tmp_path / "made", tmp_path / "stat"
    made.write_bytes(b"")
    changed = made.stat().st_ctime_ns
    for btime, expected in ((changed // 10**9 - 1, changed), (changed // 10**9 + 1, 0)):
        stat.write_text(f"cpu  1 2 3\nbtime {btime}\nprocesses 7\n", encoding="ascii")
        assert made_in_this_boot(made, stat=stat) == expected
    assert made_in_this_boot(made, stat=tmp_path / "missing") == 0
