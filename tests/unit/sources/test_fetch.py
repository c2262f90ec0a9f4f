"""Downloads into a store, against a server on loopback."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from lamella.canonical import digest_bytes
from lamella.errors import AuthError, ConfigError, IntegrityError, RegistryError
from lamella.layers.reader import LayerReader
from lamella.sources.fetch import Fetch
from lamella.testing.registry import Fault, MemoryRegistry
from lamella.transport.client import Client
from lamella.transport.retry import Timing

DATA = random.Random(5).randbytes(150_000)
SHA = hashlib.sha256(DATA).hexdigest()


class MemoryBlobs:
    """Blobs in memory with the contract of the store's."""

    def __init__(self) -> None:
        self.found: dict[str, bytes] = {}

    def has(self, digest: str, size: int | None = None) -> bool:
        return digest in self.found and (size is None or len(self.found[digest]) == size)

    def put_stream(self, chunks: Iterable[bytes], expected: str = "", size: int | None = None) -> tuple[str, int]:
        data = b"".join(chunks)
        digest = digest_bytes(data)
        if expected not in ("", digest) or size not in (None, len(data)):
            raise IntegrityError(f"the bytes have digest {digest}")
        self.found[digest] = data
        return digest, len(data)

    def open(self, digest: str) -> BinaryIO:
        return io.BytesIO(self.found[digest])


@pytest.fixture
def server() -> Iterator[MemoryRegistry]:
    with MemoryRegistry() as running:
        yield running


@pytest.fixture
def blobs() -> MemoryBlobs:
    return MemoryBlobs()


@pytest.fixture
def fetch(blobs: MemoryBlobs) -> Iterator[Fetch]:
    client = Client(timing=Timing(sleep=lambda _: None))
    yield Fetch(client, blobs, open_tar=LayerReader)
    client.close()


def test_a_download_is_stored_by_digest_and_told(server: MemoryRegistry, fetch: Fetch, blobs: MemoryBlobs) -> None:
    url = server.put_file("/f", DATA)
    told: list[int] = []
    assert fetch.download(url, sha256=SHA.upper(), on_bytes=told.append) == f"sha256:{SHA}"
    assert blobs.found == {f"sha256:{SHA}": DATA}
    assert sum(told) == len(DATA)


def test_what_is_there_is_not_fetched(server: MemoryRegistry, fetch: Fetch) -> None:
    url = server.put_file("/f", DATA)
    fetch.download(url, sha256="")
    fetch.download(url, sha256=SHA)
    assert len(server.requests) == 1


def test_a_broken_connection_is_resumed(server: MemoryRegistry, fetch: Fetch) -> None:
    url = server.put_file("/f", DATA)
    server.script(Fault("/f", times=2, cut=40_000))
    assert fetch.download(url, sha256=SHA) == f"sha256:{SHA}"
    assert [seen.headers.get("range") for seen in server.requests] == [None, "bytes=40000-", "bytes=80000-"]


def test_other_bytes_are_an_integrity_error_and_not_kept(
    server: MemoryRegistry, fetch: Fetch, blobs: MemoryBlobs
) -> None:
    url = server.put_file("/f", DATA + b"x")
    with pytest.raises(IntegrityError, match="does not have the sha256") as caught:
        fetch.download(f"{url}?signature=secret", sha256=SHA)
    assert "secret" not in caught.value.message
    assert blobs.found == {}


@pytest.mark.parametrize(
    ("status", "kind"), [(401, AuthError), (403, AuthError), (404, RegistryError), (410, RegistryError)]
)
def test_a_refusal_is_final(server: MemoryRegistry, fetch: Fetch, status: int, kind: type[Exception]) -> None:
    server.script(Fault("/f", times=0, status=status, body=b"because"))
    with pytest.raises(kind, match=f"answered {status}: because"):
        fetch.download(f"{server.url}/f", sha256="")
    assert len(server.requests) == 1


def test_a_secret_is_not_sent_in_the_clear(server: MemoryRegistry, fetch: Fetch) -> None:
    with pytest.raises(ConfigError, match="plain HTTP"):
        fetch.download(f"{server.url}/f", sha256="", secret=b"token")
    assert server.requests == []


@pytest.mark.parametrize("secret", [b"", b"two words", b"line\nbreak", "ü".encode()])
def test_a_secret_that_is_no_token_is_refused(fetch: Fetch, secret: bytes) -> None:
    with pytest.raises(ConfigError, match="is not a token"):
        fetch.download("https://127.0.0.1:1/f", sha256="", secret=secret)


def test_a_limit_holds(server: MemoryRegistry, blobs: MemoryBlobs) -> None:
    url = server.put_file("/f", DATA)
    fetch = Fetch(Client(), blobs, open_tar=LayerReader, limit=1000)
    with pytest.raises(RegistryError, match="more than the 1000 bytes"):
        fetch.download(url, sha256=SHA)
    assert blobs.found == {}


def test_a_checksum_file_proves_a_download(server: MemoryRegistry, fetch: Fetch) -> None:
    url = server.put_file("/SHA256SUMS", f"{'0' * 64}  other\n{SHA} *tool.tar.gz\n".encode())
    assert fetch.checksum(url, "tool.tar.gz") == SHA
    with pytest.raises(RegistryError, match="answered 404"):
        fetch.checksum(f"{server.url}/none", "tool.tar.gz")


def test_a_member_of_a_fetched_archive(server: MemoryRegistry, fetch: Fetch, tmp_path: Path) -> None:
    import tarfile

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("t/bin/tool")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    blob = fetch.download(server.put_file("/t.tar.gz", gzip.compress(out.getvalue())), sha256="")
    fetch.extract(blob, "t/bin/tool", tmp_path / "tool", "t.tar.gz")
    assert (tmp_path / "tool").read_bytes() == b"abc"
