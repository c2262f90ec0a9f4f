"""Credential helpers, run for real: small programs that answer as Docker's do."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamella.api.network import registry_client
from lamella.api.options import SessionOptions
from lamella.canonical import FrozenMap
from lamella.errors import AuthError, ConfigError
from lamella.oci.reference import parse_reference
from lamella.registry.credentials import Credential, DockerConfig, docker_config, parse_docker_config
from lamella.registry.helpers import CredentialSource, run_helper
from lamella.testing.registry import MemoryRegistry
from tests.unit.registry.blobs import push_artifact
from tests.unit.registry.conftest import Remote


def helper(folder: Path, name: str, script: str) -> dict[str, str]:
    """Installs ``docker-credential-NAME``; the environment that finds it. It logs what it is asked."""
    program = folder / f"docker-credential-{name}"
    program.write_text(f'#!/bin/sh\nread -r server\necho "$1 $server" >> "{folder}/asked"\n{script}\n')
    program.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def asked(folder: Path) -> list[str]:
    return (folder / "asked").read_text().splitlines()


GIVES = """echo '{"ServerURL":"x","Username":"me","Secret":"s3cret-password"}'"""


def test_a_helper_gives_a_credential_once_for_each_registry(tmp_path: Path) -> None:
    env = helper(tmp_path, "test", GIVES)
    config = parse_docker_config(b'{"credHelpers":{"registry.example":"test"}}')
    source = CredentialSource(config, env)
    assert [source("registry.example") for _ in range(3)] == [Credential("me", "s3cret-password")] * 3
    assert source("other.example") is None
    assert asked(tmp_path) == ["get registry.example"]


def test_docker_hub_is_asked_for_by_its_old_url(tmp_path: Path) -> None:
    run_helper("test", "docker.io", helper(tmp_path, "test", GIVES))
    assert asked(tmp_path) == ["get https://index.docker.io/v1/"]


def test_an_identity_token_is_told_by_its_user_name(tmp_path: Path) -> None:
    env = helper(tmp_path, "test", """echo '{"Username":"<token>","Secret":"refresh-me"}'""")
    assert run_helper("test", "registry.example", env) == Credential("<token>", "", "refresh-me")


def test_nothing_stored_is_no_failure_and_the_file_may_still_have_it(tmp_path: Path) -> None:
    env = helper(tmp_path, "test", "echo 'credentials not found in native keychain'; exit 1")
    assert run_helper("test", "registry.example", env) is None
    config = parse_docker_config(b'{"credsStore":"test","auths":{"registry.example":{"auth":"bWU6cHc="}}}')
    assert CredentialSource(config, env)("registry.example") == Credential("me", "pw")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'keychain is locked' >&2; exit 3", "ended with 3: keychain is locked"),
        ("echo not json", "in the helpers' form"),
        ("echo '[1]'", "in the helpers' form"),
        ("""echo '{"Username":1,"Secret":"s3cret-password"}'""", "in the helpers' form"),
    ],
)
def test_a_helper_that_fails_is_an_auth_error_with_a_way_to_try_it(tmp_path: Path, script: str, said: str) -> None:
    with pytest.raises(AuthError, match=said) as caught:
        run_helper("test", "registry.example", helper(tmp_path, "test", script))
    assert caught.value.hint == "run it by hand: echo registry.example | docker-credential-test get"
    assert "s3cret" not in caught.value.message


def test_a_helper_that_is_not_installed() -> None:
    with pytest.raises(AuthError, match="docker-credential-nowhere") as caught:
        run_helper("nowhere", "registry.example", {"PATH": "/nonexistent"})
    assert "docker login registry.example" in caught.value.hint


@pytest.mark.parametrize("name", ["../evil", "a b", "-x", "a;b", ""])
def test_a_name_that_is_no_program_is_not_run(name: str) -> None:
    with pytest.raises(AuthError, match="is not a program's name"):
        run_helper(name, "registry.example", {"PATH": "/bin"})


def test_a_push_with_what_a_helper_gives(tmp_path: Path, remote: Remote) -> None:
    env = helper(tmp_path, "test", GIVES)
    source = CredentialSource(DockerConfig(default_helper="test"), env)
    with MemoryRegistry(user="me", password="s3cret-password", tokens=True) as registry:
        push_artifact(remote(registry, "a", source(registry.address)), "1")
        assert asked(tmp_path) == [f"get {registry.address}"]


def test_a_session_finds_dockers_config_and_starts_its_helper(tmp_path: Path) -> None:
    env = helper(tmp_path, "test", GIVES)
    (tmp_path / "config.json").write_text('{"credsStore": "test"}')
    options = SessionOptions(tmp_path / "store", docker_config=tmp_path, environ=FrozenMap(env))
    with MemoryRegistry(user="me", password="s3cret-password") as registry:
        push_artifact(registry_client(options).repository(parse_reference(f"{registry.address}/a")), "1")
        assert ("a", "1") in registry.manifests


def test_a_token_service_at_a_private_address_is_trusted_by_a_setting(tmp_path: Path) -> None:
    options = SessionOptions(tmp_path / "store", environ=FrozenMap({"LAMELLA_TRUSTED_REALMS": "10.0.0.1:1,other"}))
    client = registry_client(options)
    assert client._settings.realms == {"10.0.0.1:1", "other"}


GIVEN = '{"auths": {"registry.example": {"auth": "Y2k6am9iLXRva2Vu"}}, "credsStore": "ignored"}'


def test_credentials_of_the_environment_come_first(tmp_path: Path) -> None:
    """As docker(1) has it since 28.3, and GitLab CI: the file and its helpers serve all other registries."""
    env = helper(tmp_path, "test", GIVES) | {"DOCKER_AUTH_CONFIG": GIVEN}
    (tmp_path / "config.json").write_text(
        '{"credHelpers": {"registry.example": "test"}, "auths": {"other.example": {"auth": "bWU6cHc="}}}'
    )
    source = CredentialSource(docker_config(tmp_path, env), env)
    assert source("registry.example") == Credential("ci", "job-token")
    assert source("other.example") == Credential("me", "pw")
    assert not (tmp_path / "asked").exists()
    assert CredentialSource(docker_config(None, env), env)("registry.example") == Credential("ci", "job-token")


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": {"a.example": {"auth": "s3cret!"}}}'])
def test_credentials_of_the_environment_that_cannot_be_read_are_said_by_name_alone(text: str) -> None:
    with pytest.raises(ConfigError, match="DOCKER_AUTH_CONFIG") as caught:
        docker_config(None, {"DOCKER_AUTH_CONFIG": text})
    assert "s3cret" not in f"{caught.value}{caught.value.hint}"


def test_a_session_pushes_with_the_credentials_of_the_environment(tmp_path: Path) -> None:
    with MemoryRegistry(user="ci", password="job-token") as registry:
        given = GIVEN.replace("registry.example", registry.address)
        options = SessionOptions(tmp_path / "store", environ=FrozenMap({"DOCKER_AUTH_CONFIG": given}))
        push_artifact(registry_client(options).repository(parse_reference(f"{registry.address}/a")), "1")
        assert ("a", "1") in registry.manifests
