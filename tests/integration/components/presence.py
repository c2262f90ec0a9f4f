"""What a test does when a real component is not there: skip with the reason, fail in continuous integration."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

_SYSTEM_PATHS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def missing(reason: str) -> NoReturn:
    """End this test: skipped with ``reason``, or failed when ``CI=true``, where everything has to be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"missing in CI: {reason}", pytrace=False)
    pytest.skip(reason)


def find_program(name: str) -> str | None:
    """The path of a program, looked up on PATH and in the folders of system programs."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *_SYSTEM_PATHS]))


def require_program(name: str, package: str = "") -> str:
    """The path of a program; without it the test ends as ``missing`` says."""
    return find_program(name) or missing(
        f"{name} is not installed (Debian package {package or name}; `make test` does)"
    )


def require_root() -> None:
    """Go on only as root."""
    if os.geteuid() != 0:
        missing("needs root")
