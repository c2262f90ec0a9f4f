"""What is taken to be true of a base that was never built, and that what is recorded wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamella.api.eject import Ejected, differing_files, eject_parts, write_files
from lamella.build.parts import lower
from lamella.eject.guess import guessed_facts
from lamella.graph.facts import BaseFacts, Interpreter
from lamella.images.healthcheck import healthcheck_test
from lamella.oci.config import RuntimeConfig
from lamella.project.spec import HealthcheckSpec
from lamella.testing.engine import MemoryLookup
from lamella.testing.scenarios import Scenario
from tests.unit.eject.projects import BOTH, locked

PROJECT = """
[project]
schema = 1
name = "shop"
[layer.base]
{base}
[image.shop]
layers = ["base"]
cmd = ["/x"]
expose = [80]
healthcheck = {{ http = "/ok" }}
"""


def scenario(base: str) -> Scenario:
    return locked(Scenario(PROJECT.format(base=base), {}))


def facts(base: str) -> BaseFacts:
    given = scenario(base)
    graph = lower(given.parts(MemoryLookup()), given.selection)
    return guessed_facts(graph.images[0], graph.definition, given.lock)


@pytest.mark.parametrize(
    ("base", "program"),
    [
        ('bootstrap = "debian/bookworm"', "bash"),
        ('bootstrap = "debian/bookworm"\napt = ["curl", "wget"]', "curl"),
        ('from = "debian:bookworm-slim"\napt = ["busybox"]', "busybox"),
        ('from = "alpine:3.20"', "wget"),
        ('from = "fedora:41"', "curl"),
        ('from = "registry.example/own:1"', "bash"),
    ],
)
def test_a_program_that_can_probe_is_guessed(base: str, program: str) -> None:
    assert healthcheck_test(HealthcheckSpec(http="/ok"), 80, facts(base))[1] == program


def test_a_pulled_base_has_a_path() -> None:
    assert facts('from = "python:3.10"').runtime.env[0].startswith("PATH=")


def test_users_of_the_project_have_their_numbers_and_others_none() -> None:
    found = facts('bootstrap = "debian/bookworm"\nusers = [{ name = "app", uid = 7, gid = 8 }]')
    assert found.owner_ids("app") == (7, 8)
    assert found.owner_ids("nobody-here") is None


REAL = (
    BaseFacts(tools=("curl",), runtime=RuntimeConfig(env=("PATH=/bin",))),
    BaseFacts(tools=("wget",)),
    BaseFacts(interpreters=(Interpreter("python", "/opt/bin/python3.9", "3.9"),)),
)


def test_what_is_recorded_of_a_base_wins() -> None:
    parts = scenario('bootstrap = "debian/bookworm"').parts(MemoryLookup())
    known, recipe = eject_parts(parts, "dockerfile", BOTH, ".", find_facts=lambda key: REAL[0])
    fresh, guess = eject_parts(parts, "dockerfile", BOTH, ".")
    assert '"curl"' in known[0].text
    assert '"bash"' in fresh[0].text
    assert recipe.guessed == ()
    assert guess.guessed == ("shop",)


@pytest.mark.parametrize("real", REAL)
def test_another_program_for_the_same_check_is_no_drift(tmp_path: Path, real: BaseFacts) -> None:
    """Whichever machine wrote the file, and whichever compares."""
    parts = scenario('bootstrap = "debian/bookworm"').parts(MemoryLookup())
    found = [
        Ejected(files, recipe.probes)
        for files, recipe in (
            eject_parts(parts, "dockerfile", BOTH, ".", find_facts=lambda key: real),
            eject_parts(parts, "dockerfile", BOTH, "."),
        )
    ]
    assert found[0].files != found[1].files
    for writer in found:
        write_files(writer, tmp_path, force=True)
        assert [differing_files(reader, tmp_path) for reader in found] == [(), ()]
    text = (tmp_path / "Dockerfile").read_text()
    (tmp_path / "Dockerfile").write_text(text.replace("/ok", "/other"))
    assert [state for reader in found for _, state in differing_files(reader, tmp_path)] == ["differs", "differs"]


def test_steps_on_a_base_with_a_user_of_its_own_run_as_root() -> None:
    given = locked(Scenario(PROJECT.format(base='from = "own:1"\napt = ["curl"]') + 'dirs = { "/d" = "0:0" }\n', {}))
    real = BaseFacts(tools=("curl",), runtime=RuntimeConfig(user="nginx"))
    files, _ = eject_parts(given.parts(MemoryLookup()), "dockerfile", BOTH, ".", find_facts=lambda key: real)
    words = [line for line in files[0].text.splitlines() if line.startswith(("FROM", "USER", "RUN"))]
    assert [word.split()[0] for word in words] == ["FROM", "USER", "RUN", "USER"] * 2
    assert words[3] == words[7] == "USER nginx"
