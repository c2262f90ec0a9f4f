"""Each example is a real program: its own tests pass with the ordinary tools of its language."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.components.presence import require_program
from tests.integration.components.tools import ToolError, run_tool

Copy = Callable[[str], Path]


def test_python_ml_passes_its_own_tests(example_copy: Copy, uv: str, tmp_path: Path) -> None:
    folder = example_copy("python-ml")
    python = str(tmp_path / "venv/bin/python")
    run_tool([uv, "venv", "--quiet", "--python", "3.11", str(tmp_path / "venv")])
    run_tool(
        [uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", "requirements-dev.lock"],
        cwd=folder,
    )
    assert " passed" in run_tool([python, "-m", "pytest", "-q", "-W", "error"], cwd=folder)


def test_service_ui_builds_from_page_to_binary_and_passes_its_own_tests(
    example_copy: Copy, cargo: str, bun_env: dict[str, str], tmp_path: Path
) -> None:
    require_program("cc", "gcc")
    folder = example_copy("service-ui")
    for step in (["install", "--frozen-lockfile"], ["test"], ["run", "typecheck"], ["run", "build"]):
        run_tool(["bun", *step], cwd=folder / "ui", env=bun_env)
    env = {"CARGO_TARGET_DIR": str(tmp_path / "target"), "CARGO_PROFILE_DEV_DEBUG": "0", "SQLX_OFFLINE": "true"}
    said = run_tool([cargo, "test", "--locked", "--workspace", "--quiet"], cwd=folder, env=env)
    assert said.count("test result: ok") >= 4
    run_tool([cargo, "build", "--locked", "--quiet"], cwd=folder, env=env)
    assert run_tool([str(tmp_path / "target/debug/shelf"), "--version"]).startswith("shelf 1.")


def test_a_page_that_is_not_built_stops_the_compile_with_the_remedy(
    example_copy: Copy, cargo: str, tmp_path: Path
) -> None:
    folder = example_copy("service-ui")
    env = {"CARGO_TARGET_DIR": str(tmp_path / "target")}
    with pytest.raises(ToolError, match="bun run build"):
        run_tool([cargo, "check", "--locked", "--quiet", "--package", "shelf-assets"], cwd=folder, env=env)
