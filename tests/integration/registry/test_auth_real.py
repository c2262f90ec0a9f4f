"""docker-registry with passwords, with tokens, and read-only: exit codes and words as they really come."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lamella.errors import AuthError, LamellaError, RegistryError
from lamella.oci import media
from lamella.oci.reference import parse_reference
from lamella.registry.client import RegistryClient
from lamella.registry.credentials import Credential
from lamella.registry.remote import RemoteRepository, Transfer
from lamella.transport.client import Client
from tests.integration.components.daemons import registry_config
from tests.integration.components.presence import require_program
from tests.integration.components.processes import end, free_port, spawn, wait_until_ready
from tests.integration.registry.token_service import ISSUER, SERVICE, TokenService, serving
from tests.unit.registry.blobs import blob, noise, push_artifact

PASSWORD = "s3cret-password"
HTPASSWD = "release:$2b$05$abcdefghijklmnopqrstuuUXKlvQTwfK/kphhjbeRlh5zvpJx1LLu\n"
"""That password by bcrypt, the only form that docker-registry takes."""


@contextmanager
def running(folder: Path, **sections: Mapping[str, Any]) -> Iterator[str]:
    """A docker-registry of its own with further sections of its configuration; its address."""
    require_program("docker-registry")
    address = f"127.0.0.1:{free_port()}"
    path = registry_config(folder, {"addr": address})
    config = json.loads(path.read_text())
    for name, section in sections.items():
        config[name] = {**config.get(name, {}), **section}
    path.write_text(json.dumps(config))
    process = spawn(["docker-registry", "serve", str(path)], folder / "log")

    try:
        wait_until_ready(process, lambda: _is_up(address), folder / "log")
        yield address
    finally:
        end(process)


def _is_up(address: str) -> bool:
    """Whether it answers, be it by asking who we are."""
    try:
        urllib.request.urlopen(f"http://{address}/v2/", timeout=60).close()
    except urllib.error.HTTPError as error:
        error.close()
        return error.code == 401
    except urllib.error.URLError:
        return False
    return True


@pytest.fixture
def http() -> Iterator[Client]:
    client = Client()
    yield client
    client.close()


def as_user(http: Client, where: str, user: str = "", password: str = PASSWORD) -> RemoteRepository:
    client = RegistryClient(http, None, lambda _: Credential(user, password) if user else None)
    return client.repository(parse_reference(where))


def refusal(act: Any) -> LamellaError:
    with pytest.raises(AuthError) as caught:
        act()
    assert PASSWORD not in caught.value.message
    return caught.value


def test_passwords(tmp_path: Path, http: Client) -> None:
    (tmp_path / "htpasswd").write_text(HTPASSWD)
    with running(tmp_path, auth={"htpasswd": {"realm": "test", "path": str(tmp_path / "htpasswd")}}) as address:
        pushed = push_artifact(as_user(http, f"{address}/a", "release"), "1")
        assert as_user(http, f"{address}/a", "release").head("1") == pushed
        assert "none is stored" in refusal(lambda: as_user(http, f"{address}/a").head("1")).message
        wrong = refusal(lambda: as_user(http, f"{address}/a", "release", "wrong").head("1"))
        assert "are refused" in wrong.message
        assert wrong.hint == f"run: docker login {address}"


def test_tokens_with_the_rights_of_their_users(tmp_path: Path, http: Client) -> None:
    rights = {"release": "pull,push,delete", "reader": "pull", "nobody": "pull"}
    with serving(TokenService(tmp_path, rights), PASSWORD) as service:
        token = {
            "realm": service.url, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(service.certificate),
        }  # fmt: skip
        with running(tmp_path, auth={"token": token}) as address:
            log: list[Transfer] = []
            release = RegistryClient(http, None, lambda _: Credential("release", PASSWORD), on_transfer=log.append)
            first, second = (release.repository(parse_reference(f"{address}/{name}")) for name in ("a", "b"))
            pushed = push_artifact(first, "1")
            descriptor, open_ = blob(noise(100_000))
            first.push_blob(descriptor, open_)
            assert second.push_blob(descriptor, open_, mount_from=[first.name]) == "mounted"
            assert ("release", ("repository:b:pull,push", "repository:a:pull")) in service.asked
            assert as_user(http, f"{address}/a").head("1") == pushed, "anybody may read"
            assert service.asked[-1] == ("nobody", ("repository:a:pull",))

            reader = as_user(http, f"{address}/a", "reader")
            assert reader.head("1") == pushed
            denied = refusal(lambda: push_artifact(reader, "2"))
            assert "401: UNAUTHORIZED" in denied.message
            assert "may not do this" in denied.hint
            anonymous = refusal(lambda: push_artifact(as_user(http, f"{address}/new"), "2"))
            assert anonymous.hint == f"run: docker login {address}"
            wrong = refusal(lambda: as_user(http, f"{address}/a", "release", "wrong").head("1"))
            assert "who are you" in wrong.message
            assert first.delete_manifest(pushed.digest)


def test_a_read_only_registry(tmp_path: Path, http: Client) -> None:
    with running(tmp_path) as address:
        pushed = push_artifact(as_user(http, f"{address}/a"), "1")
    with running(tmp_path, storage={"maintenance": {"readonly": {"enabled": True}}}) as address:
        target = as_user(http, f"{address}/a")
        assert target.head("1") == pushed
        descriptor, open_ = blob(b"new", media.LAYER_TAR)
        with pytest.raises(RegistryError, match="answered 405: Method not allowed") as caught:
            target.push_blob(descriptor, open_)
        assert caught.value.exit_code == 6
        assert "read-only" in caught.value.hint
