"""Pushing to real registries, one without and one with the referrers API, read back by skopeo."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamella.canonical import digest_bytes
from lamella.errors import RegistryError
from lamella.oci import media
from lamella.oci.config import ImageConfig, RuntimeConfig
from lamella.oci.manifest import Descriptor, Index, Manifest
from lamella.oci.platform import Platform
from lamella.oci.reference import parse_reference
from lamella.registry.client import RegistryClient
from lamella.registry.remote import RemoteRepository, Transfer
from lamella.registry.upload import UploadLimits
from lamella.transport.client import Client
from tests.integration.components.tools import Skopeo
from tests.integration.registry.cutting import cutting
from tests.unit.registry.blobs import blob, push_artifact

AMD64 = Platform("linux", "amd64")
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(params=["docker_registry", "oci_registry"])
def address(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def http() -> Iterator[Client]:
    client = Client()
    yield client
    client.close()


def repository(http: Client, where: str, log: list[Transfer] | None = None, **limits: int) -> RemoteRepository:
    client = RegistryClient(http, on_transfer=(log if log is not None else []).append, limits=UploadLimits(**limits))
    return client.repository(parse_reference(where))


def noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def push_image(target: RemoteRepository, *tags: str, seed: int = 1, mount_from: tuple[str, ...] = ()) -> Manifest:
    """An image of three layers of random bytes (uncompressed tar by name only), pushed blob by blob."""
    layers = [noise(size, seed) for size in (1, 70_000, 400_000)]
    config = ImageConfig(AMD64, RuntimeConfig(user="1000"), tuple(map(digest_bytes, layers))).to_bytes()
    manifest = Manifest(blob(config, media.IMAGE_CONFIG)[0], tuple(blob(data)[0] for data in layers))
    for data, descriptor in zip((config, *layers), (manifest.config, *manifest.layers), strict=True):
        target.push_blob(descriptor, blob(data)[1], mount_from=mount_from)
    target.push_manifest(manifest.to_bytes(), manifest.media_type, tags=tags)
    return manifest


def test_an_image_pushed_in_pieces_is_what_skopeo_reads(address: str, http: Client, skopeo: Skopeo) -> None:
    target = repository(http, f"{address}/push/pieces", whole=100_000, chunk=90_000)
    manifest = push_image(target, "1.0", "latest")
    assert target.missing((manifest.config, *manifest.layers)) == ()
    assert skopeo.inspect(f"docker://{address}/push/pieces:latest", raw=True) == json.loads(manifest.to_bytes())
    assert skopeo.inspect(f"docker://{address}/push/pieces:1.0", config=True)["config"]["User"] == "1000"
    head = target.head("latest")
    assert head == manifest.descriptor()
    assert target.tags() == ("1.0", "latest")
    fetched: list[bytes] = []
    target.fetch_blob(manifest.layers[2], lambda digest, size, chunks: fetched.append(b"".join(chunks)))
    assert fetched == [noise(400_000, 1)]


def test_what_a_neighbour_has_is_mounted(address: str, http: Client) -> None:
    log: list[Transfer] = []
    push_image(repository(http, f"{address}/push/first"), "1", seed=2)
    target = repository(http, f"{address}/push/second", log)
    push_image(target, "1", seed=2, mount_from=(f"{address}/push/first",))
    assert [moved.action for moved in log] == ["mounted"] * 4


def test_a_fresh_blob_is_there_or_begun(address: str, http: Client) -> None:
    descriptor, open_ = blob(noise(400_000, 31))
    where = f"{address}/push/fresh"
    assert repository(http, where).push_blob(descriptor, open_, fresh=True) == "sent"
    another_run = repository(http, where)
    assert another_run.push_blob(descriptor, open_, fresh=True) == "present"
    assert another_run.missing([descriptor]) == ()


def test_an_index_and_what_refers_to_it(address: str, http: Client, skopeo: Skopeo) -> None:
    target = repository(http, f"{address}/push/index")
    manifest = push_image(target, seed=3)
    index = Index((manifest.descriptor(AMD64),)).to_bytes()
    described = target.push_manifest(index, media.IMAGE_INDEX, tags=["all"])
    assert skopeo.inspect(f"docker://{address}/push/index:all", raw=True) == json.loads(index)
    sbom = push_artifact(target, kind="application/x.sbom", subject=described)
    signature = push_artifact(target, kind="application/x.signature", subject=described)
    another_run = repository(http, f"{address}/push/index")
    assert {found.digest for found in another_run.referrers(described.digest)} == {sbom.digest, signature.digest}
    assert [f.digest for f in another_run.referrers(described.digest, "application/x.sbom")] == [sbom.digest]
    assert another_run.delete_manifest(sbom.digest)
    assert [found.digest for found in another_run.referrers(described.digest)] == [signature.digest]


def test_a_deleted_blob_is_found_missing_and_sent_again(address: str, http: Client) -> None:
    target = repository(http, f"{address}/push/gone")
    manifest = push_image(target, "1", seed=4)
    assert target.delete_blob(manifest.layers[1].digest)
    assert target.missing(manifest.layers) == (manifest.layers[1],)
    push_image(target, "1", seed=4)
    assert target.missing(manifest.layers) == ()


def test_the_registrys_own_words(address: str, http: Client) -> None:
    target = repository(http, f"{address}/push/words")
    absent = Descriptor(media.LAYER_TAR, "sha256:" + "ab" * 32, 1)
    with pytest.raises(RegistryError, match=r"answered \d+: .*(unknown|not found)") as caught:
        target.push_manifest(Manifest(absent, (absent,)).to_bytes(), media.IMAGE_MANIFEST, tags=["1"])
    assert caught.value.exit_code == 6
    assert target.head("1") is None


KILLED = """
import io, os, signal, sys
from tests.integration.registry.test_push_real import noise
from tests.unit.registry.blobs import blob
from lamella.oci.reference import parse_reference
from lamella.registry.client import RegistryClient
from lamella.transport.client import Client

target = RegistryClient(Client()).repository(parse_reference(sys.argv[1]))
for seed in (5, 6):
    target.push_blob(*blob(noise(300_000, seed)))
target.push_blob(*blob(noise(3_000_000, 7)), on_bytes=lambda count: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_a_push_that_was_killed_sends_only_what_was_not_finished(address: str, http: Client) -> None:
    where = f"{address}/push/killed"
    killed = subprocess.run([sys.executable, "-c", KILLED, where], cwd=ROOT, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    log: list[Transfer] = []
    target = repository(http, where, log)
    data = [noise(size, seed) for size, seed in ((300_000, 5), (300_000, 6), (3_000_000, 7))]
    for part in data:
        descriptor, open_ = blob(part)
        target.push_blob(descriptor, open_)
    assert [(moved.action, moved.bytes) for moved in log] == [("present", 0), ("present", 0), ("sent", 3_000_000)]
    manifest = Manifest(blob(data[0])[0], tuple(blob(part)[0] for part in data))
    target.push_manifest(manifest.to_bytes(), manifest.media_type, tags=["1"])
    assert target.missing(manifest.layers) == ()


@pytest.mark.parametrize("limits", [{"whole": 64 << 20}, {"whole": 1, "chunk": 500_000}], ids=["whole", "chunks"])
def test_a_cut_upload_arrives(address: str, http: Client, limits: dict[str, int]) -> None:
    """docker-registry 2.8 forgets what it had ("upload resumed at wrong offset"), the other one goes on."""
    log: list[Transfer] = []
    descriptor, open_ = blob(noise(3_000_000, len(limits) + 10))
    with cutting(address, 1_000_000, 1_200_000) as cutter:
        target = repository(http, f"{cutter.address}/push/cut-{len(limits)}", log, **limits)
        assert target.push_blob(descriptor, open_) == "sent"
        assert len(cutter.carried) == 2
    assert repository(http, f"{address}/push/cut-{len(limits)}").missing([descriptor]) == ()


def test_a_cut_connection_costs_a_part_and_not_the_whole(oci_registry: str, http: Client) -> None:
    log: list[Transfer] = []
    descriptor, open_ = blob(noise(8_000_000, 20))
    with cutting(oci_registry, 6_000_000, heard=True) as cutter:
        target = repository(http, f"{cutter.address}/push/resumed", log)
        target.push_blob(descriptor, open_)
    # The client writes the whole into its socket's buffers at most; the registry has what the connection carried.
    assert cutter.carried[0] >= 6_000_000
    assert log[0].bytes <= 2 * descriptor.size - cutter.carried[0] + (1 << 20)
