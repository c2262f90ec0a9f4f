"""Layers that are here, layers that only a registry has, and their bytes when somebody lacks them."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamella.canonical import digest_bytes
from lamella.errors import IntegrityError
from lamella.images.forms import LayerForms
from lamella.oci import media
from lamella.oci.manifest import Descriptor
from lamella.oci.reference import parse_reference
from lamella.registry.client import RegistryClient
from lamella.store.store import Store
from lamella.testing.clock import FixedClock
from lamella.testing.registry import MemoryRegistry
from lamella.transport.client import Client

TAR = b"layer" * 100


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store", clock=FixedClock()) as opened, opened.lease("test"):
        yield opened


@pytest.fixture
def registry() -> Iterator[MemoryRegistry]:
    with MemoryRegistry() as running:
        yield running


@pytest.fixture
def forms(store: Store) -> Iterator[LayerForms]:
    http = Client()
    client = RegistryClient(http)
    yield LayerForms(store, lambda name: client.repository(parse_reference(name)))
    http.close()


def in_registry(registry: MemoryRegistry, store: Store) -> tuple[str, Descriptor, str]:
    """A layer that a cache repository has and that is noted so in the store: diff_id, blob, repository."""
    blob = registry.put_blob(gzip.compress(TAR, mtime=0), media.LAYER_GZIP, "acme/cache")
    home = f"{registry.address}/acme/cache"
    store.variants.note(digest_bytes(TAR), "gzip", 6, blob, home)
    return digest_bytes(TAR), blob, home


def test_a_layer_elsewhere_is_named_without_being_fetched(
    store: Store, registry: MemoryRegistry, forms: LayerForms
) -> None:
    diff_id, blob, home = in_registry(registry, store)
    assert forms.form(diff_id) == blob
    assert forms.homes(blob.digest) == (home,)
    assert registry.requests == []
    assert not store.blobs.has(blob.digest)


def test_its_bytes_come_when_they_are_opened(store: Store, registry: MemoryRegistry, forms: LayerForms) -> None:
    diff_id, blob, _ = in_registry(registry, store)
    with forms.open(forms.form(diff_id)) as file:
        assert gzip.decompress(file.read()) == TAR
    assert store.blobs.has(blob.digest)
    before = len(registry.requests)
    forms.open(blob).close()
    assert len(registry.requests) == before


def test_a_base_of_docker_gets_the_types_of_oci(store: Store, forms: LayerForms) -> None:
    data = gzip.compress(TAR, mtime=0)
    store.blobs.put_bytes(data)
    blob = Descriptor(media.DOCKER_LAYER_GZIP, digest_bytes(data), len(data))
    store.variants.put(digest_bytes(TAR), "gzip", 0, blob)
    found = forms.form(digest_bytes(TAR), home="registry.example/library/base")
    assert (found.digest, found.media_type) == (blob.digest, media.LAYER_GZIP)
    assert forms.homes(blob.digest) == ("registry.example/library/base",)


def test_a_layer_that_is_nowhere_is_an_error(forms: LayerForms) -> None:
    with pytest.raises(IntegrityError):
        forms.form(digest_bytes(b"nothing"))
