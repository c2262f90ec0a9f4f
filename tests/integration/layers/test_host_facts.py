"""Base facts of this machine's own system against what its own programs say."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from lamella.host.rooted import Rooted
from lamella.layers.elf import needed_glibc, read_elf, version_key
from lamella.layers.facts import extract_facts
from lamella.layers.packages import list_packages
from lamella.oci.config import RuntimeConfig
from tests.integration.components.presence import require_program


def test_the_c_library_of_the_host() -> None:
    name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    if name != "glibc":
        pytest.skip("this system has no glibc to ask")
    facts = extract_facts("/", platform="", runtime=RuntimeConfig(), whole=False)
    assert (facts.libc, facts.libc_version) == (name, version)


def test_the_packages_of_the_host() -> None:
    query = require_program("dpkg-query", "dpkg")
    said = subprocess.run(
        [query, "-W", "-f", "${db:Status-Status} ${Package} ${Version} ${Architecture}\n"],
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = {tuple(line.split()[1:]) for line in said.stdout.splitlines() if line.startswith("installed ")}
    with Rooted("/") as root:
        manager, packages = list_packages(root)
    assert manager == "dpkg"
    assert {(package.name, package.version, package.arch) for package in packages} == wanted


def test_programs_of_the_host_need_no_newer_glibc_than_it_has() -> None:
    facts = extract_facts("/", platform="", runtime=RuntimeConfig(), whole=False)
    if facts.libc != "glibc":
        pytest.skip("this system has no glibc")
    checked = 0
    for name in ("tar", "bash", "mount", "gzip"):
        path = shutil.which(name)
        if path and (elf := read_elf(path)) is not None and elf.needed:
            checked += 1
            assert "libc.so.6" in elf.needed
            assert version_key(needed_glibc(path)) <= version_key(facts.libc_version)
    assert checked
