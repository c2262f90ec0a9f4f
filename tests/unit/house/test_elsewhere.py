"""What runs on macOS: nothing of Linux alone is imported before the embedded engine is asked for a sandbox (DESIGN 4).

The machine is made to look like one without Linux's own calls; macOS itself is not here to try.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.house.source_tree import PACKAGE

ROOT = Path(__file__).parents[3]
SOURCES = ROOT / "src" / PACKAGE

LINUX = tuple(
    f"{PACKAGE}.{name}"
    for name in (
        *(
            f"engines.local.{part}"
            for part in (
                "agent", "bootstrap", "bubblewrap", "chains", "container", "kernel", "limits", "mounts", "sandbox",
                "seccomp", "steproot", "steprun", "trial",
            )
        ),
    )
)  # fmt: skip
"""Modules of the sandbox: the helper's process imports them, and nobody else."""


def elsewhere(text: str) -> subprocess.CompletedProcess[str]:
    """Runs Python text where Linux's own calls are missing."""
    argv = [sys.executable, "-m", "tests.unit.house.elsewhere", text]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300, cwd=ROOT, env=env)


def importable() -> list[str]:
    """Every module that plans, publishes or builds on a builder: all but those of a sandbox and of what runs in one."""
    found = []
    for path in sorted(SOURCES.rglob("*.py")):
        name = ".".join(path.relative_to(SOURCES.parent).with_suffix("").parts).removesuffix(".__init__")
        if not name.startswith((*LINUX, f"{PACKAGE}.runtime", f"{PACKAGE}.cli.__main__")):
            found.append(name)
    return found


def test_every_module_but_the_sandbox_imports_elsewhere() -> None:
    lines = ["import importlib", *(f"importlib.import_module({name!r})" for name in importable())]
    done = elsewhere("\n".join(lines))
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(
    "entry",
    [
        "cli.main", "cli.plan", "cli.build", "cli.publish", "api.session", "api.publish", "api.engines", "api.local",
        "engines.buildkit.phases", "engines.plain.fallback", "engines.plain.runner",
    ],
)  # fmt: skip
def test_nothing_of_the_sandbox_is_imported_with_it(entry: str) -> None:
    done = elsewhere(
        f"import importlib, sys\nimportlib.import_module('{PACKAGE}.{entry}')\n"
        f"print(*sorted(name for name in sys.modules if name in {LINUX!r}))"
    )
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr[-2000:]


def test_the_simulation_takes_away_what_it_says() -> None:
    done = elsewhere("import os, sys\nprint(sys.platform, hasattr(os, 'O_PATH'), hasattr(os, 'getxattr'))")
    assert done.stdout.split() == ["darwin", "False", "False"], done.stderr


@pytest.mark.parametrize(
    "tests",
    [
        "tests/unit/host/test_rooted.py",
        "tests/unit/layers/test_breakouts.py",
        "tests/unit/engines/buildkit/test_importing.py",
    ],
)
def test_rooted_paths_hold_elsewhere(tests: str) -> None:
    """The same tests of breakouts, with a walk and its portable calls in place of Linux's."""
    arguments = ["-q", "-n0", "-k", "not attributes and not resolvers_agree", tests]
    done = elsewhere(f"import pytest, sys\nsys.exit(pytest.main({arguments!r}))")
    assert done.returncode == 0, done.stdout[-4000:]
