"""What docker run is told, as a list of words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lamella.canonical import FrozenMap
from lamella.runtime.docker import docker_arguments
from lamella.runtime.settings import RunFlags
from lamella.runtime.values import Container, Port, Variable, Volume
from tests.unit.runtime.test_settings import RUNTIME, container


def words(made: Container, **more: bool) -> list[str]:
    return docker_arguments(made, env_file="/e", **more)


def test_an_image_without_settings_needs_none() -> None:
    assert words(container()) == ["--rm", "--env-file", "/e", "--publish", "8080:8080/tcp", "shop/api:dev"]


def test_arguments_come_after_the_image() -> None:
    assert words(container(RunFlags(arguments=("check", "-v"))))[-3:] == ["shop/api:dev", "check", "-v"]


def test_another_entrypoint_is_an_option_and_its_arguments_come_after_the_image() -> None:
    made = container(RunFlags(entrypoint="/bin/sh", arguments=("-c", "true")))
    assert words(made)[-5:] == ["--entrypoint", "/bin/sh", "shop/api:dev", "-c", "true"]


def test_an_image_without_an_entrypoint_takes_arguments_too() -> None:
    made = container(RunFlags(arguments=("id",)), runtime=replace(RUNTIME, entrypoint=()))
    assert words(made)[-2:] == ["shop/api:dev", "id"]


def test_no_value_of_a_variable_stands_in_the_words() -> None:
    made = replace(container(), env=FrozenMap({"A": Variable("secret", "--env"), "B": Variable("two\nlines", "--env")}))
    found = words(made)
    assert not any("secret" in word or "two" in word for word in found)
    assert found[found.index("--env") + 1] == "B"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"ports": (Port(81, 80, "udp", "127.0.0.1"),)}, ["--publish", "127.0.0.1:81:80/udp"]),
        ({"volumes": (Volume("/a", "/b", read_only=True),)}, ["--volume", "/a:/b:ro"]),
        ({"network": "none"}, ["--network", "none"]),
        ({"memory": 1024}, ["--memory", "1024"]),
        ({"cpus": "1.5"}, ["--cpus", "1.5"]),
        ({"read_only": True}, ["--read-only"]),
        ({"init": True}, ["--init"]),
        ({"interactive": True}, ["--interactive"]),
        ({"user": "7", "origins": FrozenMap({"user": "--user"})}, ["--user", "7"]),
        ({"workdir": "/x", "origins": FrozenMap({"workdir": "--workdir"})}, ["--workdir", "/x"]),
    ],
)
def test_each_setting_is_said_once(change: dict[str, object], expected: list[str]) -> None:
    made = replace(container(), **change)  # type: ignore[arg-type]
    found = words(made)
    at = found.index(expected[0])
    assert found[at : at + len(expected)] == expected
    assert found.count(expected[0]) == 1


def test_a_detached_container_stays_for_its_logs() -> None:
    found = words(container(), detach=True)
    assert ("--detach" in found, "--rm" in found) == (True, False)
