"""``--fix`` runs what the findings ask for, through the programs that the user's PATH names, and says so beforehand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lamella.canonical import FrozenMap
from lamella.cli.doctor import _do
from lamella.cli.settings import Settings
from lamella.doctor import Repair
from lamella.errors import SandboxError

REPAIR = Repair(("bubblewrap",), (("usermod", "--add-subuids", "100000-165535", "me"),))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A PATH whose programs write down how they are called."""
    for name in ("apt-get", "usermod", "sudo"):
        program = tmp_path / name
        forward = 'shift; exec "$@"' if name == "sudo" else "exit 0"
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/log\n{forward}\n')
        program.chmod(0o755)
    return Settings(tmp_path / "store", environ=FrozenMap({"PATH": f"{tmp_path}:/usr/bin:/bin"}))


def calls(tmp_path: Path) -> list[str]:
    return [line for line in (tmp_path / "log").read_text().splitlines() if not line.startswith("sudo")]


def test_packages_first_then_commands(settings: Settings, tmp_path: Path) -> None:
    _do(REPAIR, settings)
    assert calls(tmp_path) == [
        "apt-get update -q",
        "apt-get install -q -y --no-install-recommends bubblewrap",
        "usermod --add-subuids 100000-165535 me",
    ]
    assert ("sudo -n apt-get" in (tmp_path / "log").read_text()) is (os.geteuid() != 0)


def test_a_repair_that_fails_is_reported_and_the_rest_left(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "apt-get").write_text(
        f'#!/bin/sh\necho "apt-get $*" >> {tmp_path}/log\necho no archive >&2\nexit 100\n'
    )
    with pytest.raises(SandboxError, match="apt-get"):
        _do(REPAIR, settings)
    assert calls(tmp_path) == ["apt-get update -q"]
