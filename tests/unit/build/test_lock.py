"""``lamella lock``: what is resolved, what stays, what is dropped, and what is not asked at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lamella.build.lock import LockChange, lock_project
from lamella.canonical import FrozenMap
from lamella.errors import ConfigError, RegistryError
from lamella.project.lock import BootstrapPin, Lock, ToolPin, parse_lock, render_lock
from lamella.testing.engine import MemoryLookup
from lamella.testing.resolvers import FakeResolvers
from lamella.testing.scenarios import Scenario

HEAD = '[project]\nschema = 1\nname = "shop"\n'
PLATFORMS = '[axes]\nplatform = ["linux/amd64", "linux/arm64"]\n'
IMAGE = '[image.shop]\nlayers = ["base", "files"]\n[layer.files]\nfiles = [{ from = "a", to = "/a" }]\n'
FROM = '[layer.base]\nfrom = "debian:bookworm-slim"\n'
PYTHON = '[layer.deps]\npython = { requirements = ["requirements.txt"] }\n[image.shop]\nlayers = ["base", "deps"]\n'


def project(*parts: str, lock: Lock = Lock(), **files: str) -> Scenario:  # noqa: B008 - frozen value
    tree = {
        "a": "1",
        "requirements.txt": "idna==3.7\n",
        **{name.replace("_", "."): text for name, text in files.items()},
    }
    return Scenario(HEAD + "".join(parts), tree, lock=lock)


def locked(
    scenario: Scenario, resolvers: FakeResolvers, upgrade: tuple[str, ...] | None = None
) -> tuple[Lock, tuple[LockChange, ...], list[str]]:
    said: list[str] = []
    lock, changes = lock_project(scenario.parts(MemoryLookup()), resolvers, upgrade=upgrade, say=said.append)
    assert parse_lock(render_lock(lock), file="lamella.lock") == lock
    return lock, changes, said


def test_a_base_is_pinned_for_every_platform_and_not_asked_for_again() -> None:
    first = FakeResolvers()
    lock, changes, _ = locked(project(PLATFORMS, FROM, IMAGE), first)
    pin = lock.bases["debian:bookworm-slim"]
    assert set(pin.manifests) == {"linux/amd64", "linux/arm64"}
    assert [change.what for change in changes] == ["base debian:bookworm-slim"]
    second = FakeResolvers(release="2", down=True)
    again, changes, _ = locked(project(PLATFORMS, FROM, IMAGE, lock=lock), second)
    assert (again, changes, second.asked) == (lock, (), [])


def test_a_moving_reference_moves_only_when_asked() -> None:
    lock, _, _ = locked(project(FROM, IMAGE), FakeResolvers())
    before = lock.bases["debian:bookworm-slim"].index
    moved, changes, _ = locked(project(FROM, IMAGE, lock=lock), FakeResolvers(release="2"), ("debian:bookworm-slim",))
    after = moved.bases["debian:bookworm-slim"].index
    assert before != after
    assert changes == (LockChange("base debian:bookworm-slim", before, after),)


def test_a_new_platform_is_looked_up_in_the_pinned_index() -> None:
    lock, _, _ = locked(project(FROM, IMAGE), FakeResolvers())
    more, _, _ = locked(project(PLATFORMS, FROM, IMAGE, lock=lock), FakeResolvers(release="2"))
    assert more.bases["debian:bookworm-slim"].index == lock.bases["debian:bookworm-slim"].index
    assert set(more.bases["debian:bookworm-slim"].manifests) == {"linux/amd64", "linux/arm64"}


def test_an_upgrade_of_one_base_leaves_the_others() -> None:
    two = '[layer.tools]\nfrom = "rust:1.92"\n[layer.run]\non = "tools"\nrun = ["true"]\n'
    image = '[image.shop]\nlayers = ["base", "files"]\n[image.other]\nlayers = ["tools", "run"]\n'
    files = '[layer.files]\nfiles = [{ from = "a", to = "/a" }]\n'
    lock, _, _ = locked(project(FROM, two, image, files), FakeResolvers())
    resolvers = FakeResolvers(release="2")
    moved, _, _ = locked(project(FROM, two, image, files, lock=lock), resolvers, ("rust:1.92",))
    assert moved.bases["debian:bookworm-slim"] == lock.bases["debian:bookworm-slim"]
    assert moved.bases["rust:1.92"] != lock.bases["rust:1.92"]
    assert len(resolvers.asked) == 1


def test_nothing_is_pulled_to_be_looked_into_unless_planning_must_know() -> None:
    resolvers = FakeResolvers()
    lock, _, _ = locked(project(FROM, IMAGE), resolvers)
    assert resolvers.asked == ["base debian:bookworm-slim linux/amd64"]
    assert not lock.bases["debian:bookworm-slim"].interpreters


def test_a_base_under_python_is_looked_into() -> None:
    resolvers = FakeResolvers(pythons={"python:3.12": "3.12"})
    lock, _, _ = locked(project('[layer.base]\nfrom = "python:3.12-slim"\n', PYTHON), resolvers)
    assert resolvers.asked == [
        "base python:3.12-slim linux/amd64 inside linux/amd64",
        "wheels deps linux/amd64 3.12",
    ]
    assert lock.bases["python:3.12-slim"].interpreters["linux/amd64"][0].path == "/usr/local/bin/python3.12"


def test_a_pin_without_its_inside_is_completed_when_python_comes() -> None:
    base = '[layer.base]\nfrom = "python:3.12-slim"\n'
    lock, _, _ = locked(project(base, IMAGE), FakeResolvers())
    more, _, _ = locked(project(base, PYTHON, lock=lock), FakeResolvers(release="2", pythons={"python": "3.12"}))
    assert more.bases["python:3.12-slim"].index == lock.bases["python:3.12-slim"].index
    assert more.bases["python:3.12-slim"].interpreters


def test_lists_for_two_package_managers_need_the_family() -> None:
    base = '[layer.base]\nfrom = "fedora:42"\napt = ["curl"]\ndnf = ["curl-minimal"]\n'
    lock, _, _ = locked(project(base, IMAGE), FakeResolvers())
    assert lock.bases["fedora:42"].os_family == "fedora"


def test_a_layout_on_disk_is_read_each_time() -> None:
    base = '[layer.base]\nfrom = "oci:base"\n'
    lock, _, _ = locked(project(base, IMAGE), FakeResolvers())
    moved, changes, said = locked(project(base, IMAGE, lock=lock), FakeResolvers(release="2"))
    assert moved != lock
    assert changes
    assert said == []


def test_a_snapshot_in_a_suites_name_is_locked() -> None:
    lock, changes, _ = locked(project('[layer.base]\nbootstrap = "debian/trixie@20260101"\n', IMAGE), FakeResolvers())
    assert dict(lock.bootstraps) == {"debian/trixie@20260101T000000Z": BootstrapPin(snapshot="20260101T000000Z")}
    assert changes[0].after == "20260101T000000Z"


def test_a_snapshot_written_into_the_lock_stays() -> None:
    pin = BootstrapPin(mirror="https://archive.example/debian", snapshot="20260101T000000Z")
    given = Lock(bootstraps=FrozenMap({"debian/trixie": pin}))
    scenario = project('[layer.base]\nbootstrap = "debian/trixie"\n', IMAGE, lock=given)
    assert locked(scenario, FakeResolvers())[0] == given
    assert locked(scenario, FakeResolvers(), ())[0] == given


def test_tools_without_a_version_get_one() -> None:
    base = '[layer.base]\nbootstrap = "debian/trixie"\ntools = ["npm:bun", "npm:pnpm@10.1.0", "uv:ruff"]\n'
    resolvers = FakeResolvers(tools={"bun": "1.3.14", "pnpm": "11.0.0"})
    lock, changes, said = locked(project(base, IMAGE), resolvers)
    assert dict(lock.tools) == {"bun": ToolPin("1.3.14")}
    assert resolvers.asked == ["tool npm:bun", "tool uv:ruff"]
    assert said == ["tool uv:ruff stays without a version: uv is not on this machine"]
    assert LockChange("tool bun", "", "1.3.14") in changes
    newer = FakeResolvers(tools={"bun": "1.4.0"})
    assert locked(project(base, IMAGE, lock=lock), newer)[0].tools["bun"].version == "1.3.14"
    assert locked(project(base, IMAGE, lock=lock), newer, ("bun",))[0].tools["bun"].version == "1.4.0"


def test_a_tool_that_nobody_lists_is_dropped_and_what_adapters_ask_for_stays() -> None:
    given = Lock(tools=FrozenMap({"bun": ToolPin("1.3.14"), "rust": ToolPin("1.92.0"), "ruff": ToolPin("0.9.0")}))
    lock, changes, _ = locked(
        project('[layer.base]\nbootstrap = "debian/trixie"\n', IMAGE, lock=given), FakeResolvers()
    )
    assert set(lock.tools) == {"bun", "rust"}
    assert LockChange("tool ruff", "0.9.0", "") in changes
    everything, _, _ = locked(project(FROM, IMAGE, lock=given), FakeResolvers(), ())
    assert set(everything.tools) == {"bun", "rust"}  # nobody here could resolve them again


def test_a_branch_of_a_hub_cannot_be_resolved_yet_and_a_commit_can_be_written() -> None:
    model = '[layer.model]\nmodel = { hub = "acme/small", revision = "REVISION" }\n'
    image = '[layer.base]\nbootstrap = "debian/trixie"\n[image.shop]\nlayers = ["base", "model"]\n'
    with pytest.raises(ConfigError, match=r"lamella\.toml:4:\d+: layer 'model': resolving 'main' of hub acme/small"):
        locked(project(model.replace("REVISION", "main"), image), FakeResolvers())
    lock, _, _ = locked(project(model.replace("REVISION", "c" * 40), image), FakeResolvers())
    assert lock.models["acme/small"].commit == "c" * 40


def test_a_python_set_is_resolved_when_its_request_changed_and_then_only_it() -> None:
    base = '[layer.base]\nbootstrap = "debian/trixie"\n'
    lock, _, _ = locked(project(base, PYTHON), FakeResolvers())
    assert [wheel.version for wheel in lock.python[0].wheels] == ["3.7"]
    changed = project(base, PYTHON, lock=lock, requirements_txt="idna==3.10\n")
    moved, changes, said = locked(changed, FakeResolvers())
    assert [wheel.version for wheel in moved.python[0].wheels] == ["3.10"]
    assert [(change.before, change.after) for change in changes] == [("3.7", "3.10")]
    assert said == ["resolving 1 requirements of layer deps for linux/amd64"]


def test_a_set_that_nothing_uses_is_dropped() -> None:
    base = '[layer.base]\nbootstrap = "debian/trixie"\n'
    lock, _, _ = locked(project(base, PYTHON), FakeResolvers())
    assert locked(project(base, IMAGE, lock=lock), FakeResolvers())[0].python == ()


def test_everything_is_upgraded_at_once() -> None:
    scenario = project('[layer.base]\nfrom = "python:3.12-slim"\n', PYTHON, requirements_txt="idna\n")
    lock, _, _ = locked(scenario, FakeResolvers())
    moved, changes, _ = locked(replace(scenario, lock=lock), FakeResolvers(release="2"), ())
    assert moved.python[0].wheels[0].version == "2.0"
    assert {change.what.split(" ")[0] for change in changes} == {"base", "layer"}


def test_an_unknown_name_to_upgrade_is_refused_with_those_there_are() -> None:
    lock, _, _ = locked(project(FROM, IMAGE), FakeResolvers())
    with pytest.raises(ConfigError, match="'debian:slim' names nothing") as caught:
        locked(project(FROM, IMAGE, lock=lock), FakeResolvers(), ("debian:slim",))
    assert "debian:bookworm-slim" in caught.value.hint


def test_a_network_that_is_down_is_no_configuration_error() -> None:
    with pytest.raises(RegistryError):
        locked(project(FROM, IMAGE), FakeResolvers(down=True))
