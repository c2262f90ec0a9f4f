"""The development set is locked, fits pyproject.toml, and names no index host."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.unit.house.source_tree import ROOT

LOCK = ROOT / "requirements-dev.lock"


def locked_versions(text: str) -> dict[str, str]:
    """Name -> version of every pinned line."""
    return {
        canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", text, re.MULTILINE)
    }


def declared() -> list[str]:
    """The requirements of the product and of its development group."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]


@pytest.mark.parametrize("line", declared())
def test_every_declared_dependency_is_locked_inside_its_range(line: str) -> None:
    requirement = Requirement(line)
    version = locked_versions(LOCK.read_text(encoding="utf-8")).get(canonicalize_name(requirement.name))
    assert version is not None, "run `make lock`"
    assert requirement.specifier.contains(version, prereleases=True), "run `make lock`"


def test_the_lock_has_hashes_and_no_addresses() -> None:
    text = LOCK.read_text(encoding="utf-8")
    assert text.count("--hash=sha256:") >= len(locked_versions(text)) > 20
    assert "://" not in text
    assert "index-url" not in text
