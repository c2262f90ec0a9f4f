"""Contexts of the docker program: their daemon is spoken to directly where its address is enough."""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from pathlib import Path

import pytest

from lamella.images.daemon import find_api
from tests.unit.images.daemons import OK, Daemon


def context(config: Path, name: str, host: object) -> None:
    """A context as ``docker context create`` writes it."""
    folder = config / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps({"Name": name, "Endpoints": {"docker": {"Host": host}}}))


@pytest.mark.parametrize(
    ("chosen", "env"),
    [
        ("work", {}),
        ("", {"DOCKER_CONTEXT": "work"}),
        ("gone", {"DOCKER_CONTEXT": "work"}),
        ("gone", {"DOCKER_CONTEXT": "work", "DOCKER_HOST": ""}),
        ("work", {"DOCKER_CONTEXT": ""}),
    ],
)
def test_the_socket_of_a_context_is_used(tmp_path: Path, chosen: str, env: dict[str, str]) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": chosen}))
    daemon = Daemon(tmp_path / "d.sock", [[OK]])
    context(tmp_path, "work", f"unix://{daemon.path}")
    with closing(daemon):
        api = find_api({"DOCKER_CONFIG": str(tmp_path), **env})
        assert api is not None
        with closing(api):
            assert api.is_answering()
    assert len(daemon.requests) == 1


def test_an_address_in_the_environment_wins_over_every_context(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"currentContext": "work"}')
    context(tmp_path, "work", "ssh://builder.example")
    daemon = Daemon(tmp_path / "d.sock", [[OK]])
    with closing(daemon):
        given = {"DOCKER_HOST": f"unix://{daemon.path}", "DOCKER_CONTEXT": "work"}
        api = find_api({"DOCKER_CONFIG": str(tmp_path), **given})
        assert api is not None
        with closing(api):
            assert api.is_answering()


@pytest.mark.parametrize("host", ["ssh://builder.example", "npipe:////./pipe/docker", "unix:///nowhere/d", "", 5])
def test_what_only_the_program_reaches_is_left_to_it(tmp_path: Path, host: object) -> None:
    context(tmp_path, "work", host)
    assert find_api({"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "work"}) is None


def test_a_context_with_keys_of_its_own_is_left_to_the_program(tmp_path: Path) -> None:
    context(tmp_path, "work", "tcp://127.0.0.1:2376")
    assert find_api({"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "work"}) is not None
    keys = tmp_path / "contexts" / "tls" / hashlib.sha256(b"work").hexdigest() / "docker"
    keys.mkdir(parents=True)
    assert find_api({"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "work"}) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"Endpoints": []}', '{"Endpoints": {"docker": null}}'])
def test_a_context_that_cannot_be_read_is_the_programs_to_say(tmp_path: Path, text: str) -> None:
    context(tmp_path, "work", "unix:///d")
    next(tmp_path.glob("contexts/meta/*/meta.json")).write_text(text)
    assert find_api({"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "work"}) is None
