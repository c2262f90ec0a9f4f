"""A team's cache repository with the command line: what a fresh machine does, and what an untrusted build cannot do."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamella.testing.registry import MemoryRegistry
from lamella.testing.registry_auth import Account
from tests.integration.components.daemons import registry_config
from tests.integration.components.presence import require_program
from tests.integration.components.processes import end, free_port, spawn, wait_until_ready
from tests.integration.e2e.conftest import Cli, write_tree

TOML = """
[project]
schema = 1
name = "team"
repository = "REGISTRY/acme/shop"

[layer.base]
bootstrap = "debian/bookworm"
freshness = "7d"

[layer.setup]
run = [["sh", "-c", "mkdir -p /var/lib/app && cat setup/* > /var/lib/app/all"]]
inputs = ["setup/**"]

[layer.conf]
files = [{ from = "conf", to = "/etc/app" }]

[image.shop]
layers = ["base", "setup", "conf"]
"""
FILES: dict[str, str | bytes] = {"setup/1": "one\n", "conf/app.conf": "x = 1\n"}

RELEASE, PULL = ("release", "secret-r"), ("pull", "secret-p")


@pytest.fixture
def registry() -> Iterator[MemoryRegistry]:
    """Everybody reads; the release account writes releases, the other one what pull requests write."""
    accounts = (
        Account(*RELEASE, push=("acme/shop-cache",), pull=("",)),
        Account(*PULL, push=("acme/shop-cache-pull-request",), pull=("",)),
    )
    with MemoryRegistry(accounts=accounts, anonymous=Account()) as running:
        yield running


def project(folder: Path, address: str) -> Path:
    return write_tree(folder, {**FILES, "lamella.toml": TOML.replace("REGISTRY", address)})


def docker_config(folder: Path, address: str, user: tuple[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    auth = base64.b64encode(":".join(user).encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {address: {"auth": auth}}}))
    return folder


def machine(store: Path, trust: str, config: Path | None = None) -> Cli:
    return Cli(store, {"LAMELLA_TRUST": trust, "DOCKER_CONFIG": str(config or store / "no-config")})


@pytest.fixture
def release(shared_store: Path, registry: MemoryRegistry, tmp_path: Path) -> Cli:
    """The release's runner, with a Debian in its store."""
    return machine(shared_store, "release", docker_config(tmp_path / "release", registry.address, RELEASE))


def blobs(registry: MemoryRegistry) -> list[str]:
    return [seen.path for seen in registry.requests if "/blobs/" in seen.path and seen.method == "GET"]


def records(registry: MemoryRegistry) -> list[str]:
    asked = [seen.path.rpartition("/")[2] for seen in registry.requests if "/manifests/" in seen.path]
    return [tag for tag in asked if tag.startswith("r1-")]


def digest(report: dict[str, object]) -> str:
    images = report["images"]
    assert isinstance(images, list)
    return str(images[0]["containerimage.digest"])


def outcomes(report: dict[str, object]) -> dict[str, str]:
    rows = report["vertices"]
    assert isinstance(rows, list)
    return {row["name"]: row["outcome"] for row in rows}


def test_a_fresh_machine_runs_no_step_and_fetches_no_layer(
    release: Cli, registry: MemoryRegistry, tmp_path: Path
) -> None:
    folder = project(tmp_path / "project", registry.address)
    first = release.build(folder, "--push-records")
    assert first["records"]["pushed"] == len(outcomes(first))
    fresh = machine(tmp_path / "fresh", "release")
    registry.requests.clear()
    plan = json.loads(fresh.run(folder, "plan", "--format", "json").stdout)
    assert {row["status"] for row in plan["vertices"]} == {"restored"}
    assert {row["why"] for row in plan["vertices"]} == {f"from {registry.address}/acme/shop-cache"}
    assert not plan["work"]
    assert len(records(registry)) == len(plan["vertices"]), "one request for each record"
    assert len(blobs(registry)) <= 1, "the facts of the base at most, and no layer"
    second = fresh.build(folder)
    assert digest(second) == digest(first)
    assert second["counts"]["built"] == 0
    assert len(records(registry)) == len(plan["vertices"]), "and none when they are known"
    fresh.run(folder, "cache", "verify")
    fresh.run(folder, "cache", "repair")
    assert outcomes(fresh.build(folder)) == dict.fromkeys(outcomes(second), "reused"), "repair leaves what is elsewhere"


def test_layers_come_when_an_output_needs_them(release: Cli, registry: MemoryRegistry, tmp_path: Path) -> None:
    folder = project(tmp_path / "project", registry.address)
    release.build(folder, "--push-records")
    fresh = machine(tmp_path / "fresh", "release")
    fresh.build(folder)
    registry.requests.clear()
    fresh.build(folder, "-o", f"type=oci,dest={tmp_path}/fresh.tar")
    release.build(folder, "-o", f"type=oci,dest={tmp_path}/first.tar")
    assert len(blobs(registry)) == 3
    assert (tmp_path / "fresh.tar").read_bytes() == (tmp_path / "first.tar").read_bytes()
    registry.requests.clear()
    fresh.build(folder, "-o", f"type=oci,dest={tmp_path}/again.tar")
    assert not registry.requests


def test_an_edit_on_a_fresh_machine_builds_what_it_touches(
    release: Cli, registry: MemoryRegistry, tmp_path: Path
) -> None:
    folder = project(tmp_path / "project", registry.address)
    release.build(folder, "--push-records")
    write_tree(folder, {"conf/app.conf": "x = 2\n"})
    fresh = machine(tmp_path / "fresh", "release")
    registry.requests.clear()
    assert fresh.built(folder) == {"conf -> /etc/app"}
    assert len(blobs(registry)) <= 1, "files need no layer of the base"
    write_tree(folder, {"setup/2": "two\n"})
    assert fresh.built(folder) == {"setup"}, "the step stands on layers that came"


def test_pull_brings_the_bytes_of_layers(release: Cli, registry: MemoryRegistry, tmp_path: Path) -> None:
    folder = project(tmp_path / "project", registry.address)
    release.build(folder, "--push-records")
    fresh = machine(tmp_path / "fresh", "release")
    done = json.loads(fresh.run(folder, "pull", "setup", "conf", "--format", "json").stdout)
    assert [(layer["name"], layer["layers"]) for layer in done["layers"]] == [("setup", 1), ("conf", 1)]
    registry.requests.clear()
    again = json.loads(fresh.run(folder, "pull", "setup", "--format", "json").stdout)
    assert again["layers"][0]["bytes"] == 0
    assert not registry.requests
    write_tree(folder, {"conf/app.conf": "never built\n"})
    missing = fresh.run(folder, "pull", "conf", check=False)
    assert missing.returncode == 6
    assert "there is no record" in missing.stderr


def test_a_pull_request_plants_nothing_that_a_release_reads(
    release: Cli, registry: MemoryRegistry, shared_store: Path, tmp_path: Path
) -> None:
    """The attacker builds other bytes under the very keys of the release's project and pushes all it may."""
    folder = project(tmp_path / "project", registry.address)
    config = docker_config(tmp_path / "pull", registry.address, PULL)
    attacker = machine(shared_store, "pull-request/17", config)
    planted = attacker.build(folder, "--push-records")
    assert planted["records"]["repository"] == f"{registry.address}/acme/shop-cache-pull-request"
    assert planted["records"]["pushed"] > 0
    for arguments in (["--push-records"], ["--cache-to", f"{registry.address}/acme/shop-cache"]):
        lying = Cli(shared_store, {"LAMELLA_TRUST": "release", "DOCKER_CONFIG": str(config)})
        refused = lying.run(folder, "build", *arguments, check=False)
        assert refused.returncode == 7, refused.stderr
    fresh = machine(tmp_path / "fresh", "release")
    statuses = set(fresh.planned(folder).values())
    assert statuses <= {"build", "expected"}, "nothing that a pull request wrote is read"
    pull_request = machine(tmp_path / "other", "pull-request/17")
    assert set(pull_request.planned(folder).values()) == {"restored"}, "its own runs read it"
    other = machine(tmp_path / "third", "pull-request/18")
    assert set(other.planned(folder).values()) <= {"build", "expected"}


def test_without_credentials_records_are_read_and_none_written(
    release: Cli, registry: MemoryRegistry, tmp_path: Path
) -> None:
    folder = project(tmp_path / "project", registry.address)
    release.build(folder, "--push-records")
    nobody = machine(tmp_path / "fresh", "branch")
    write_tree(folder, {"conf/app.conf": "something new\n"})
    done = nobody.run(folder, "build", "--push-records")
    lines = [line for line in done.stderr.splitlines() if "no credentials" in line]
    assert len(lines) == 1
    assert "read anonymously, and none are written" in lines[0]
    assert "restored" in done.stderr


def test_wrong_credentials_are_an_error_of_their_own(release: Cli, registry: MemoryRegistry, tmp_path: Path) -> None:
    folder = project(tmp_path / "project", registry.address)
    config = docker_config(tmp_path / "wrong", registry.address, ("release", "wrong"))
    done = machine(release.store, "release", config).run(folder, "build", "--push-records", check=False)
    assert done.returncode == 7
    assert "wrong" not in done.stderr.replace("wrong user", ""), "no password is shown"


def test_a_build_goes_on_without_its_cache(release: Cli, tmp_path: Path) -> None:
    folder = project(tmp_path / "project", "127.0.0.1:1")  # nobody listens at tcpmux
    write_tree(folder, {"setup/1": "no cache\n"})
    done = release.run(folder, "build")
    said = [line for line in done.stderr.splitlines() if "is left out" in line]
    assert len(said) == 1
    assert "left out" not in release.run(folder, "build").stderr, "what is here is asked of nobody"
    write_tree(folder, {"setup/1": "no cache and offline\n"})
    assert "left out" not in release.run(folder, "build", "--offline").stderr


def test_another_repository_can_be_read_and_written(release: Cli, registry: MemoryRegistry, tmp_path: Path) -> None:
    folder = project(tmp_path / "project", registry.address)
    place = f"{registry.address}/acme/shop-cache-nightly"
    report = release.build(folder, "--cache-to", f"type=registry,ref={place},mode=max")
    assert report["records"]["repository"] == place
    fresh = machine(tmp_path / "fresh", "release")
    assert "restored" not in fresh.planned(folder).values()
    assert set(fresh.planned(folder, "--cache-from", place).values()) == {"restored"}


def test_a_repository_that_is_named_gets_what_another_one_has(
    release: Cli, registry: MemoryRegistry, tmp_path: Path
) -> None:
    folder = project(tmp_path / "project", registry.address)
    pushed = release.build(folder, "--push-records")["records"]["pushed"]
    report = release.build(folder, "--cache-to", f"{registry.address}/acme/shop-cache-nightly")
    assert (report["records"]["pushed"], report["records"]["present"]) == (pushed, 0)


def test_a_read_only_registry_gives_records_and_takes_none(release: Cli, run_folder: Path, tmp_path: Path) -> None:
    """docker-registry twice over one folder: a release's that may be written, a pull request's that may not."""
    require_program("docker-registry")
    folder = tmp_path / "registry"
    folder.mkdir()
    writable = _serve(folder, read_only=False)
    try:
        build = project(tmp_path / "project", writable)
        first = Cli(release.store, {"LAMELLA_TRUST": "release"}).build(build, "--push-records")
        assert first["records"]["pushed"] == len(outcomes(first))
    finally:
        _stop(writable)
    closed = _serve(folder, read_only=True)
    try:
        untrusted = project(tmp_path / "untrusted", closed)
        fresh = machine(tmp_path / "fresh", "pull-request/1")
        report = fresh.build(untrusted)
        assert set(outcomes(report).values()) == {"restored"}
        assert digest(report) == digest(first)
        write_tree(untrusted, {"conf/app.conf": "evil\n"})
        refused = fresh.run(untrusted, "build", "--push-records", check=False)
        assert refused.returncode in (6, 7)
        assert re.search(r"read.?only|not allow|405|unsupported", refused.stderr, re.IGNORECASE)
    finally:
        _stop(closed)


_RUNNING: dict[str, object] = {}


def _serve(folder: Path, *, read_only: bool) -> str:
    address = f"127.0.0.1:{free_port()}"
    path = registry_config(folder, {"addr": address})
    config = json.loads(path.read_text())
    config["storage"]["maintenance"] = {"readonly": {"enabled": read_only}}
    path.write_text(json.dumps(config))
    process = spawn(["docker-registry", "serve", str(path)], folder / "log")
    wait_until_ready(process, lambda: _answers(address), folder / "log")
    _RUNNING[address] = process
    return address


def _stop(address: str) -> None:
    end(_RUNNING.pop(address))  # type: ignore[arg-type]


def _answers(address: str) -> bool:
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(f"http://{address}/v2/", timeout=60) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
