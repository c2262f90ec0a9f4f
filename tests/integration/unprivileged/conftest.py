"""A machine that lets nobody have namespaces: what Docker Desktop's client and a locked-down CI job look like."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from lamella.host.locks import hold
from tests.integration.components.presence import missing, require_program, require_root
from tests.integration.components.tools import Skopeo, Umoci
from tests.integration.e2e.conftest import Cli, shared_store

__all__ = ["shared_store"]

HERE = {"PYTHONPATH": str(Path(__file__).parents[3])}
"""Lets a process import the tests from any folder."""

_NONE_LEFT = "echo 0 > /proc/sys/user/max_user_namespaces && "
_NO_RIGHTS = 'exec setpriv --no-new-privs --inh-caps=-all --ambient-caps=-all --bounding-set=-all -- "$@"'


def confined(argv: Sequence[str], user: int = 1000) -> list[str]:
    """A program as a user without any capability, in a user namespace that may have no other one below it.

    Mounts, namespaces, owners and devices are refused by the kernel itself; the files of whoever starts it are its own.
    """
    inside = ["--user", f"--map-user={user}", f"--map-group={user}", "--keep-caps"]
    return ["unshare", *inside, "--", "sh", "-c", _NONE_LEFT + _NO_RIGHTS, "sh", *argv]


class ConfinedCli(Cli):
    """The command line where no namespace is to be had."""

    def argv(self, *arguments: str) -> list[str]:
        """One command."""
        return confined(super().argv(*arguments))


class PowerlessCli(Cli):
    """The command line as a root that may do nothing of what root may: no mounts, owners or devices."""

    def argv(self, *arguments: str) -> list[str]:
        """One command."""
        return confined(super().argv(*arguments), user=0)


class ElsewhereCli(Cli):
    """The command line on a machine that looks like macOS to Python. ``env`` has :data:`HERE`."""

    def argv(self, *arguments: str) -> list[str]:
        """One command."""
        start = f"import sys\nsys.argv = {['lamella', *arguments]!r}\nfrom lamella.cli.main import main\nmain()"
        return [sys.executable, "-m", "tests.unit.house.elsewhere", start]


@pytest.fixture
def confined_cli(tmp_path: Path) -> ConfinedCli:
    """With a store of its own. The confinement itself is tried first: a test must not pass because it is none."""
    require_root()
    require_program("unshare", "util-linux")
    require_program("setpriv", "util-linux")
    tried = subprocess.run(confined(["unshare", "--user", "true"]), capture_output=True, text=True, check=False)
    if tried.returncode == 0 or "unshare failed" not in tried.stderr:
        missing(f"no process without rights to namespaces can be made here: {tried.stderr}")
    return ConfinedCli(tmp_path / "confined-store")


def upper_layer() -> bytes:
    """A layer over a Debian with what no ordinary user can make: owners, set-id bits, whiteouts, a device."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, mode, uid in (("opt/owned", 0o2750, 1234), ("var/lib/misc", 0o755, 0), ("opt", 0o711, 7)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, mode, uid, uid + 1
            tar.addfile(entry)
        for name, data, mode in (
            ("opt/owned/tool", b"#!/bin/sh\necho owned\n", 0o4755),
            ("opt/Readme", b"one", 0o644),
            ("opt/README", b"two", 0o600),
            ("etc/.wh.debian_version", b"", 0o644),
            ("usr/share/doc/.wh..wh..opq", b"", 0o644),
            ("usr/share/doc/only", b"this", 0o644),
        ):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.uid = len(data), mode, 1234 if "owned" in name else 0
            tar.addfile(entry, io.BytesIO(data))
        link = tarfile.TarInfo("opt/owned/again")
        link.type, link.linkname, link.mode, link.uid = tarfile.LNKTYPE, "opt/owned/tool", 0o4755, 1234
        tar.addfile(link)
    return out.getvalue()


@pytest.fixture(scope="session")
def stacked_layout(base_image: Path, umoci: Umoci, run_folder: Path) -> Path:
    """The amd64 base with :func:`upper_layer` on it, as an OCI layout with one image ``base``."""
    layout = run_folder / "stacked"
    with hold(run_folder / "stacked.lock"):
        if not layout.exists():
            part = run_folder / "stacked-part"
            shutil.copytree(base_image, part)
            (run_folder / "upper.tar").write_bytes(upper_layer())
            umoci.run("raw", "add-layer", "--image", f"{part}:base", str(run_folder / "upper.tar"))
            part.rename(layout)
    return layout


@pytest.fixture(scope="session")
def stacked_reference(oci_registry: str, stacked_layout: Path, skopeo: Skopeo) -> str:
    """The same in a registry that every engine on loopback can pull from."""
    reference = f"{oci_registry}/stacked:bookworm"
    skopeo.copy(f"oci:{stacked_layout}:base", f"docker://{reference}")
    return reference
