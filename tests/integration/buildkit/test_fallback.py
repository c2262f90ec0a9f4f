"""Nobody named an engine, and the embedded one cannot have its sandbox: a builder that answers runs the steps, and why.

What an ordinary user without namespaces gets is in ``tests/integration/unprivileged``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.integration.components.presence import require_program, require_root
from tests.integration.components.tools import DockerEngine
from tests.integration.e2e.conftest import write_tree

TOML = """
[project]
schema = 1
name = "fallback"

[layer.base]
from = "BASE"

[layer.made]
run = [["sh", "-c", "cat word > /made"]]
inputs = ["word"]

[image.fallback]
layers = ["base", "made"]
"""

NO_BUBBLEWRAP = "bubblewrap (bwrap) is not installed"
NO_NAMESPACES = "steps need mount and process namespaces: the kernel says: Operation not permitted"


def surroundings(name: str) -> list[str]:
    """Words before a command that take from it what the sandbox needs: a program, or a right of a container's root."""
    require_root()
    if name == NO_BUBBLEWRAP:
        program = require_program("bwrap", "bubblewrap")
        return ["unshare", "--mount", "sh", "-c", 'mount --bind /dev/null "$0" && exec "$@"', program]
    return ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "--"]


def lamella(
    folder: Path, env: Mapping[str, str], before: list[str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "LAMELLA_STORE": str(folder / "store"), **env}
    environ.pop("LAMELLA_ENGINE", None)
    argv = [*before, sys.executable, "-m", "lamella.cli", *arguments]
    return subprocess.run(argv, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize("reason", [NO_BUBBLEWRAP, NO_NAMESPACES], ids=["no bubblewrap", "no namespaces"])
def test_a_builder_takes_over_and_the_reason_is_said(
    reason: str, docker28: DockerEngine, base_reference: str, tmp_path: Path
) -> None:
    folder = write_tree(tmp_path, {"lamella.toml": TOML.replace("BASE", base_reference), "word": "one\n"})
    before = surroundings(reason)
    assert lamella(folder, docker28.env, before, "lock").returncode == 0
    done = lamella(folder, docker28.env, before, "build", "--progress", "plain", "--metadata-file", "report.json")
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("engine: ")]
    assert len(said) == 1
    assert said[0].startswith("engine: buildkit, builder 'default' (docker, L4 (BuildKit ")
    assert said[0].endswith(f", because the embedded engine cannot run the steps: {reason}")
    assert "(engine: buildkit, builder 'default')" in done.stderr.splitlines()[-1], "and in the summary"
    engine = json.loads((folder / "report.json").read_text())["engine"]
    assert (engine["name"], engine["builder"], engine["driver"]) == ("buildkit", "default", "docker")
    assert reason in engine["why"]
    write_tree(folder, {"word": "two\n"})
    able = lamella(folder, docker28.env, [], "build", "--progress", "plain")
    assert "engine: embedded, because this machine can run the steps" in able.stderr.splitlines()
    again = lamella(folder, docker28.env, before, "build", "--format", "json")
    assert json.loads(again.stdout)["engine"] is None, "nothing ran"


def test_without_a_builder_either_both_reasons_are_told(base_reference: str, tmp_path: Path) -> None:
    folder = write_tree(tmp_path, {"lamella.toml": TOML.replace("BASE", base_reference), "word": "one\n"})
    silent = {"DOCKER_HOST": f"unix://{tmp_path}/nobody.sock", "DOCKER_CONFIG": str(tmp_path / "docker")}
    before = surroundings(NO_NAMESPACES)
    assert lamella(folder, silent, before, "lock").returncode == 0
    done = lamella(folder, silent, before, "build", "--progress", "plain")
    assert done.returncode == 8
    assert f"error: {NO_NAMESPACES}" in done.stderr
    assert "and on a builder: " in done.stderr
