"""Each check with what it is handed: what it finds, what it calls broken, and what it would repair."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lamella.doctor import Doctor, Finding, Repair, examine, repair_of, uses_builder
from lamella.doctor.machine import free_range
from lamella.errors import ConfigError, LamellaError, SandboxError

ALL = ("bwrap", "mmdebstrap", "apt-get", "git", "newuidmap", "newgidmap")
DEBIAN = {"ID": "debian", "PRETTY_NAME": "Debian GNU/Linux 12"}


def finder(*names: str) -> Callable[[str], str | None]:
    return lambda name: f"/usr/bin/{name}" if name in names else None


@pytest.fixture
def host(tmp_path: Path) -> Doctor:
    """A Debian with everything, and an ordinary user who may map ids."""
    (tmp_path / "subuid").write_text("me:100000:65536\n")
    (tmp_path / "subgid").write_text("1000:100000:65536\n")
    return Doctor(
        store=tmp_path / "store",
        environ={},
        find=finder(*ALL),
        uid=1000,
        user="me",
        etc=tmp_path,
        keyrings=tmp_path,
        release=DEBIAN,
    )


def named(doctor: Doctor, name: str) -> Finding:
    (found,) = [item for item in examine(doctor) if item.name == name]
    return found


def states(doctor: Doctor) -> set[str]:
    return {item.state for item in examine(doctor)} - {"ok"}


def raising(error: LamellaError) -> Callable[[], str]:
    def fail() -> str:
        raise error

    return fail


def test_a_host_with_everything_is_well(host: Doctor) -> None:
    assert "error" not in states(host)
    assert repair_of(examine(host)) == Repair()


@pytest.mark.parametrize(
    ("missing", "state", "package"),
    [
        ("bwrap", "error", "bubblewrap"),
        ("mmdebstrap", "warning", "mmdebstrap"),
        ("git", "warning", "git"),
        ("newuidmap", "error", "uidmap"),
        ("newgidmap", "error", "uidmap"),
    ],
)
def test_a_missing_program_names_its_package(host: Doctor, missing: str, state: str, package: str) -> None:
    doctor = replace(host, find=finder(*(name for name in ALL if name != missing)))
    assert state in states(doctor)
    assert repair_of(examine(doctor)).packages == (package,)


def test_root_needs_no_id_mapping(host: Doctor) -> None:
    doctor = replace(host, uid=0, user="root", find=finder("bwrap", "mmdebstrap", "apt-get", "git"))
    assert "error" not in states(doctor)


def test_a_user_without_ids_gets_ranges_that_nobody_has(host: Doctor) -> None:
    (host.etc / "subuid").write_text("you:100000:65536\nother:231072:65536\n")
    (host.etc / "subgid").unlink()
    commands = repair_of(examine(host)).commands
    assert commands == (
        ("usermod", "--add-subuids", "296608-362143", "me"),
        ("usermod", "--add-subgids", "100000-165535", "me"),
    )
    assert named(host, "subuid").fix is not None


def test_a_range_that_is_too_small_is_no_range(host: Doctor) -> None:
    (host.etc / "subuid").write_text("me:100000:1000\n")
    assert "only 1000 ids" in named(host, "subuid").text
    assert named(host, "subuid").state == "error"


@pytest.mark.parametrize(
    ("text", "start"), [("", 100_000), ("a:100000:65536\n", 165_536), ("a:5:5\n", 100_000), ("a:b:c\n\n:\n", 100_000)]
)
def test_free_ranges(tmp_path: Path, text: str, start: int) -> None:
    (tmp_path / "subuid").write_text(text)
    assert free_range(tmp_path / "subuid") == start


def test_a_sandbox_that_does_not_start_says_why_and_what_to_do(host: Doctor) -> None:
    def refuse() -> None:
        raise SandboxError("this kernel has no overlayfs", hint="modprobe overlay")

    found = named(replace(host, probe=refuse), "sandbox")
    assert (found.state, found.text) == ("error", "this kernel has no overlayfs")
    assert found.fix is not None
    assert found.fix.words == "modprobe overlay"


def test_a_store_that_cannot_be_opened(host: Doctor) -> None:
    found = named(replace(host, open_store=raising(ConfigError("the store is of a newer release"))), "store")
    assert found.state == "error"


def test_elsewhere_than_on_linux_there_is_no_embedded_engine(host: Doctor) -> None:
    assert named(replace(host, linux=False), "system").state == "error"


def test_another_distribution_needs_the_keys_of_debians_archive(host: Doctor) -> None:
    doctor = replace(host, release={"ID": "ubuntu", "ID_LIKE": "debian"})
    assert named(doctor, "keyring").state == "warning"
    assert repair_of(examine(doctor)).packages == ("debian-archive-keyring",)
    (host.keyrings / "debian-archive-keyring.gpg").touch()
    assert named(doctor, "keyring").state == "ok"


def test_certificates(host: Doctor, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(b"-----BEGIN CERTIFICATE-----\nx\n" * 2)
    assert "(2 certificates)" in named(replace(host, ca_bundle=bundle), "certificates").text
    bundle.write_bytes(b"\x30\x82")
    assert named(replace(host, ca_bundle=bundle), "certificates").state == "warning"
    assert named(replace(host, ca_bundle=tmp_path / "none"), "certificates").state == "error"


def test_credentials_are_counted_and_never_shown(host: Doctor, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    doctor = replace(host, docker_config=tmp_path)
    assert "anonymously" in named(doctor, "registries").text
    config.write_text(json.dumps({"auths": {"registry.example": {"username": "me", "password": "hunter2"}}}))
    found = named(doctor, "registries")
    assert (found.state, "registry.example" in found.text, "hunter2" in found.text) == ("ok", True, False)
    config.write_text(json.dumps({"credHelpers": {"registry.example": "vault"}}))
    assert "docker-credential-vault is not on PATH" in named(doctor, "registries").text
    config.write_text("{")
    assert named(doctor, "registries").state == "warning"


@pytest.mark.parametrize(
    ("script", "text"),
    [("echo 27.1", "engine 27.1 answers"), ("exit 1", "without an engine"), ("echo; exit 0", "without an engine")],
)
def test_docker(host: Doctor, tmp_path: Path, script: str, text: str) -> None:
    client = tmp_path / "docker"
    client.write_text(f"#!/bin/sh\n{script}\n")
    client.chmod(0o755)
    found = named(replace(host, find=lambda name: str(client) if name == "docker" else None), "docker")
    assert (found.state, text in found.text) == ("ok", True)


def test_docker_is_not_missed(host: Doctor) -> None:
    assert named(host, "docker").state == "ok"


def test_a_full_disk_is_a_warning(host: Doctor) -> None:
    assert named(replace(host, want_free=1 << 80), "disk").state == "warning"
    assert named(replace(host, want_free=0), "disk").state == "ok"


def test_a_project_that_cannot_be_read_is_a_warning_with_its_place(host: Doctor) -> None:
    found = named(
        replace(host, project=raising(ConfigError("lamella.toml:3:1: unknown key", hint="did you mean"))), "project"
    )
    assert (found.state, found.text) == ("warning", "lamella.toml:3:1: unknown key")
    assert not [item for item in examine(host) if item.name == "project"]


def test_repairs_come_once_and_packages_first() -> None:
    repair = Repair(("uidmap",), (("usermod", "x"),))
    assert [argv[0] for argv in repair.argvs] == ["apt-get", "apt-get", "usermod"]
    assert repair.argvs[1][-1] == "uidmap"
    assert Repair().argvs == ()


def test_a_builder_is_named_and_its_absence_is_no_fault(host: Doctor) -> None:
    with_one = replace(host, builder=lambda: "default (docker): linux/amd64 L4")
    assert named(with_one, "builder").text == "default (docker): linux/amd64 L4"
    without = replace(host, builder=raising(SandboxError("buildx is not installed")))
    found = named(without, "builder")
    assert (found.state, found.text) == ("ok", "buildx is not installed; only --engine buildkit needs one")


def test_where_a_builder_answers_the_sandbox_is_no_must(host: Doctor) -> None:
    def fails() -> None:
        raise SandboxError("no namespaces")

    broken = replace(host, find=lambda name: None, probe=fails)
    with_one = replace(broken, builder=lambda: "default (docker): linux/amd64 L4")
    assert {one.name for one in examine(broken) if one.state == "error"} == {"bwrap", "newuidmap", "sandbox"}
    assert [one for one in examine(with_one) if one.state == "error"] == []
    assert (uses_builder(examine(with_one)), uses_builder(examine(broken))) == (True, False)
    assert not uses_builder(examine(replace(host, builder=lambda: "default (docker): linux/amd64 L4")))


def test_on_another_system_a_builder_is_enough(host: Doctor) -> None:
    elsewhere = replace(host, linux=False, builder=lambda: "desktop-linux (docker): linux/arm64 L4")
    assert [one for one in examine(elsewhere) if one.state == "error"] == []
    assert uses_builder(examine(elsewhere))


def test_a_builder_does_not_heal_a_store_that_cannot_be_opened(host: Doctor) -> None:
    broken = replace(host, open_store=raising(SandboxError("no disk")), builder=lambda: "default (docker): linux/amd64")
    assert [one.name for one in examine(broken) if one.state == "error"] == ["store"]
