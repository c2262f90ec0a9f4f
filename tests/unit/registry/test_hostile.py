"""Whatever a registry says in headers and bodies, it ends in our errors or in nothing."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamella.errors import LamellaError
from lamella.oci.digest import is_digest
from lamella.registry.answers import failure, read_refusal
from lamella.registry.auth import parse_challenges, wanted_scope
from lamella.registry.hosts import Repository, is_private
from lamella.registry.upload import upload_place
from lamella.testing.registry import Fault, MemoryRegistry
from lamella.transport.client import Client, Response
from tests.unit.registry.blobs import blob, push_artifact
from tests.unit.registry.conftest import Remote

HERE = Repository("registry.example", "acme/shop", "https://registry.example")
PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def answer(status: int = 400, body: bytes = b"", **headers: str) -> Response:
    return Response(status, headers, body, "https://registry.example/v2/acme/shop/blobs/uploads/")


@given(PRINTABLE | st.text(max_size=60))
def test_challenges(header: str) -> None:
    for challenge in parse_challenges(header):
        assert challenge.scheme == challenge.scheme.lower()


@given(st.binary(max_size=200) | st.builds(lambda value: json.dumps({"errors": value}).encode(), JSON))
def test_error_bodies(body: bytes) -> None:
    refusal = read_refusal(answer(body=body))
    assert all(isinstance(code, str) for code in refusal.codes)
    message = failure(answer(body=body), "pulling", HERE).message
    assert len(message.encode()) < 400
    assert not any(ord(character) < 32 for character in message)


@given(PRINTABLE | st.from_regex(r"(https?|ftp|//)[:/]{0,3}[a-z0-9.@:\[\]-]{0,30}/?.{0,10}"))
def test_places_of_uploads(location: str) -> None:
    with contextlib.suppress(LamellaError):
        place = upload_place(answer(location=location), HERE)
        assert place.startswith("https://")
        host = place.removeprefix("https://").partition("/")[0]
        assert host == "registry.example" or not is_private(host)


@given(PRINTABLE)
def test_scopes_never_grow(challenged: str) -> None:
    wanted = wanted_scope(challenged, "repository:acme/shop:pull")
    assert all(part.endswith(":pull") for part in wanted.split())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(
        ["Docker-Content-Digest", "Content-Type", "Location", "Range", "Link", "OCI-Subject", "Retry-After"]
    ),
    PRINTABLE,
    st.binary(max_size=40) | st.builds(lambda value: json.dumps(value).encode(), JSON),
    st.sampled_from(["GET", "HEAD", "PUT", "POST", "PATCH"]),
)
def test_a_registry_that_says_anything(http: Client, header: str, value: str, body: bytes, method: str) -> None:
    with MemoryRegistry() as registry:
        remote = Remote(http)
        image = registry.add_image("a", "1")
        registry.script(Fault(".", method=method, times=0, headers=((header, value),), body=body))
        repository = remote(registry, "a", whole=10, chunk=10)
        descriptor, open_ = blob(b"some bytes that are pushed")
        for act in (
            lambda: repository.head("1"),
            lambda: repository.manifest("1"),
            repository.tags,
            lambda: repository.referrers(image.manifest.digest),
            lambda: repository.read_blob(image.config, 10_000),
            lambda: repository.push_blob(descriptor, open_),
            lambda: push_artifact(repository, "2"),
            lambda: repository.missing([image.config]),
            lambda: repository.delete_manifest(image.manifest.digest),
        ):
            with contextlib.suppress(LamellaError):
                act()
        for digest, data in registry.blobs.items():
            assert is_digest(digest)
            assert descriptor.digest != digest or data == b"some bytes that are pushed"


@pytest.mark.parametrize("digest", ["sha256:../../x", "sha1:" + "0" * 40, "", "sha256:" + "A" * 64])
def test_a_digest_that_is_none_is_never_asked_for(registry: MemoryRegistry, remote: Remote, digest: str) -> None:
    repository = remote(registry, "a")
    for act in (repository.has_blob, repository.delete_blob, repository.delete_manifest, repository.referrers):
        with pytest.raises(LamellaError, match="is not a digest"):
            act(digest)
    assert registry.requests == []
