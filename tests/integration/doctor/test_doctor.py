"""The command on this machine: as root, as an ordinary user, and with a host that lacks something."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.components.presence import missing, require_program, require_root
from tests.integration.engine.conftest import open_folder, open_python

__all__ = ["open_folder", "open_python"]

USER = "lamella-test"


def doctor(store: Path, *arguments: str, python: str = "", **env: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, findings by name, and what was said; with ``python`` as the ordinary user."""
    front = ["setpriv", "--reuid", USER, "--regid", USER, "--init-groups", "--"] if python else []
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [*front, python or sys.executable, "-m", "lamella.cli", "doctor", "--format", "json", *arguments],
        cwd=store.parent, capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "LAMELLA_STORE": str(store), "HOME": str(store.parent), "PYTHONPATH": path, **env},
    )  # fmt: skip
    if not done.stdout:
        pytest.fail(f"doctor ended with {done.returncode}: {done.stderr}")
    report = json.loads(done.stdout)
    return done.returncode, {item["name"]: item for item in report["findings"]}, done.stderr


@pytest.fixture
def home(open_folder: Path) -> Path:
    """A folder that belongs to an ordinary user, who is made when missing."""
    require_root()
    require_program("setpriv", "util-linux")
    require_program("newuidmap", "uidmap")
    if subprocess.run(["id", USER], capture_output=True, check=False).returncode != 0:
        made = subprocess.run(["useradd", "--no-create-home", "--shell", "/usr/sbin/nologin", USER], check=False)
        if made.returncode != 0:
            missing("no test user can be made here")
    folder = open_folder / "home"
    folder.mkdir()
    subprocess.run(["chown", f"{USER}:{USER}", str(folder)], check=True)
    return folder


def test_root_on_this_machine(tmp_path: Path) -> None:
    require_root()
    require_program("bwrap", "bubblewrap")
    code, found, _ = doctor(tmp_path / "store")
    assert code == 0, found
    assert found["sandbox"]["state"] == found["store"]["state"] == "ok"
    assert found["user"]["text"].startswith("root")


def test_an_ordinary_user_on_this_machine(home: Path, open_python: str) -> None:
    code, found, said = doctor(home / "store", python=open_python)
    assert found["subuid"]["text"].startswith(USER)
    assert "user" not in found
    assert found["sandbox"]["state"] == "ok", found
    assert code == 0, said


def test_an_ordinary_user_whose_store_is_anothers(home: Path, open_python: str) -> None:
    home.chmod(0o555)
    code, found, _ = doctor(home / "store", python=open_python)
    assert code == 8
    assert found["store"]["state"] == "error"
    assert found["store"]["fix"]


def test_a_bundle_without_certificates_is_named(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("nothing")
    _, found, _ = doctor(tmp_path / "store", LAMELLA_CA_BUNDLE=str(bundle))
    assert found["certificates"]["state"] == "warning"


def test_a_store_of_another_kind_ends_with_8(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    code, found, _ = doctor(tmp_path / "store")
    assert code == 8
    assert found["store"]["state"] == "error"


def test_words_for_people_go_to_one_stream_and_the_verdict_to_the_other(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lamella.cli", "doctor"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "LAMELLA_STORE": str(tmp_path / "store")}, timeout=300,
    )  # fmt: skip
    assert "python" in done.stdout
    assert "this host can" in done.stderr
