from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from lamella.cli.messages import set_color
from lamella.cli.run import run_cli


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command line ended."""

    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The place of the store."""
    return tmp_path / "cache" / "lamella"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that commands run in."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def cli(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs one command line in the project's folder, with a store and a home of its own."""
    for name in ("LAMELLA_STORE", "DOCKER_HOST", "SOURCE_DATE_EPOCH", "CI", "LAMELLA_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    set_color(False)

    def run(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = run_cli(list(arguments))
        said = capsys.readouterr()
        return Outcome(code, said.out, said.err)

    return run
