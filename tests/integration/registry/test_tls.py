"""TLS as it is: an unknown authority is refused once and said, the company's bundle opens the way."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamella.errors import RegistryError
from lamella.oci.reference import parse_reference
from lamella.registry.exchange import Exchange
from lamella.registry.hosts import RegistrySettings, Repository
from lamella.registry.place import Place, RepositoryState
from lamella.registry.remote import RemoteRepository, Transfer
from lamella.registry.upload import UploadLimits
from lamella.testing.registry import MemoryRegistry
from lamella.transport.client import Client
from lamella.transport.settings import HttpSettings
from tests.integration.components.presence import require_program
from tests.integration.registry.cutting import cutting
from tests.unit.registry.blobs import blob, noise


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A PEM file with a certificate for 127.0.0.1 that signed itself; its key lies beside it."""
    openssl = require_program("openssl")
    argv = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    argv += ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
    argv += ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "ca.pem")]
    subprocess.run(argv, check=True, capture_output=True)
    return tmp_path / "ca.pem"


@pytest.fixture
def registry(authority: Path) -> Iterator[MemoryRegistry]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, authority.with_name("key.pem"))
    with MemoryRegistry(tls=context) as running:
        yield running


@pytest.fixture
def client(authority: Path) -> Iterator[Client]:
    """One that trusts the company's bundle."""
    http = Client(HttpSettings(ca_bundle=authority))
    yield http
    http.close()


def test_an_unknown_authority_is_refused_with_the_way_out(registry: MemoryRegistry) -> None:
    client = Client()
    with pytest.raises(RegistryError, match="no valid TLS certificate") as caught:
        client.request("GET", f"{registry.url}/v2/")
    assert "LAMELLA_CA_BUNDLE" in caught.value.hint
    assert caught.value.exit_code == 6
    assert registry.requests == []
    client.close()


def test_the_companys_bundle_is_trusted(registry: MemoryRegistry, client: Client) -> None:
    assert client.request("GET", f"{registry.url}/v2/").body == b"{}"


def push(client: Client, url: str, size: int) -> Transfer:
    """Pushes a blob in pieces; the log's entry."""
    where = Repository("registry.example", "a", url)
    place = Place(Exchange(client, RegistrySettings(), lambda _: None), where, RepositoryState())
    log: list[Transfer] = []
    target = RemoteRepository(
        place, parse_reference("registry.example/a"), on_transfer=log.append, limits=UploadLimits(500_000, 300_000)
    )
    descriptor, open_ = blob(noise(size))
    assert target.push_blob(descriptor, open_) == "sent"
    assert target.missing([descriptor]) == ()
    return log[0]


def test_a_push_over_tls(registry: MemoryRegistry, client: Client) -> None:
    assert push(client, registry.url, 1_000_000).bytes == 1_000_000
    assert list(registry.blobs.values()) == [noise(1_000_000)]


def test_a_push_over_tls_that_is_cut_goes_on(registry: MemoryRegistry, client: Client) -> None:
    """A TLS connection that ends in the middle is no trouble with a certificate."""
    with cutting(registry.address, 400_000, 450_000) as cutter:
        push(client, f"https://{cutter.address}", 2_000_000)
        assert len(cutter.carried) == 2
    assert list(registry.blobs.values()) == [noise(2_000_000)]


def test_a_certificate_for_another_name_is_refused(registry: MemoryRegistry, client: Client) -> None:
    with pytest.raises(RegistryError, match=r"no valid TLS certificate .*(mismatch|not valid for)") as caught:
        client.request("GET", registry.url.replace("127.0.0.1", "localhost"))
    assert caught.value.exit_code == 6
