"""The same tests once more as an ordinary user with subordinate ids: root and rootless are the same code."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

import pytest

from lamella.engines.local.namespaces import LEAST_IDS
from lamella.host.probes import subordinate_range
from lamella.process import run
from tests.integration.components.presence import missing, require_program, require_root
from tests.integration.engine.conftest import BASE_TAR

USER = "lamella-test"
ROOT = Path(__file__).resolve().parents[3]
FILES = ("test_steps.py", "test_isolation.py", "test_death.py", "test_bases.py", "test_bundle.py", "test_refusals.py")


@pytest.fixture(scope="session")
def user() -> pwd.struct_passwd:
    """An ordinary user with ranges of subordinate ids, made when missing."""
    require_root()
    require_program("newuidmap", "uidmap")
    try:
        found = pwd.getpwnam(USER)
    except KeyError:
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        if run(("useradd", "--create-home", USER), env=env, check=False).code:
            missing("no test user can be made here")
        found = pwd.getpwnam(USER)
    ranges = [subordinate_range(kind, found.pw_uid, USER) for kind in ("subuid", "subgid")]
    if any(one is None or one.count < LEAST_IDS for one in ranges):
        missing(f"user {USER} has no ranges of subordinate ids (useradd(8) gives some where login.defs allows)")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_as_an_ordinary_user(
    user: pwd.struct_passwd, base_tar: Path, open_folder: Path, open_python: str, name: str
) -> None:
    home = open_folder / "home"
    home.mkdir()
    os.chown(home, user.pw_uid, user.pw_gid)
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONDONTWRITEBYTECODE": "1",
        BASE_TAR: str(base_tar),
    }
    become = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups", "--")
    tests = str(ROOT / "tests/integration/engine" / name)
    arguments = ("-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", f"--basetemp={home}/tmp", tests)
    done = run((*become, open_python, *arguments), env=env, cwd=ROOT, check=False)
    assert done.code == 0, done.text[-6000:]
