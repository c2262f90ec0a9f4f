"""The pull client against docker-registry, with images that skopeo and umoci made."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamella.canonical import digest_bytes
from lamella.errors import RegistryError
from lamella.oci.platform import Platform
from lamella.registry.client import RegistryClient, open_image
from lamella.transport.client import Client
from tests.integration.components.presence import require_program

AMD64 = Platform("linux", "amd64")


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OCI layout with one image of two layers, tag ``made``."""
    umoci = require_program("umoci")
    folder = tmp_path_factory.mktemp("layout")
    for number in range(2):
        (folder / f"file{number}").write_bytes(bytes(range(256)) * (1000 * (number + 1)))
    layout = folder / "oci"
    for args in (
        ["init", "--layout", str(layout)],
        ["new", "--image", f"{layout}:made"],
        ["insert", "--image", f"{layout}:made", str(folder / "file0"), "/data/zero"],
        ["insert", "--image", f"{layout}:made", str(folder / "file1"), "/data/one"],
        ["config", "--image", f"{layout}:made", "--config.user", "1000", "--architecture", "amd64", "--os", "linux"],
    ):
        subprocess.run([umoci, *args], check=True, capture_output=True)
    return layout


@pytest.fixture
def client() -> Iterator[RegistryClient]:
    http = Client()
    yield RegistryClient(http)
    http.close()


def copy(layout: Path, destination: str) -> None:
    skopeo = require_program("skopeo")
    argv = [skopeo, "copy", "--insecure-policy", "--dest-tls-verify=false", f"oci:{layout}:made", destination]
    subprocess.run(argv, check=True, capture_output=True)


def pulled(location: str, client: RegistryClient, root: Path) -> tuple[str, dict[str, bytes], str]:
    """Digest of the manifest, blobs by digest, user of the config."""
    image = open_image(location, client, root)
    resolved = image.resolve(AMD64)
    assert image.platforms() == {AMD64: resolved.descriptor.digest}
    blobs: dict[str, bytes] = {}

    def sink(digest: str, size: int, chunks: Iterator[bytes]) -> None:
        blobs[digest] = b"".join(chunks)
        assert len(blobs[digest]) == size

    for layer, _ in resolved.layers:
        image.fetch(layer, sink)
    assert {digest: digest_bytes(data) for digest, data in blobs.items()} == {digest: digest for digest in blobs}
    return resolved.descriptor.digest, blobs, resolved.config.runtime.user


def test_registry_layout_and_archive_give_the_same_image(
    registry: str, layout: Path, client: RegistryClient, tmp_path: Path
) -> None:
    copy(layout, f"docker://{registry}/acme/made:1.0")
    copy(layout, f"oci-archive:{tmp_path}/made.tar:made")
    (tmp_path / "oci").symlink_to(layout)
    expected = pulled(f"{registry}/acme/made:1.0", client, tmp_path)
    assert expected[2] == "1000"
    assert len(expected[1]) == 2
    for location in ("oci:oci", "oci:oci:made", f"oci:oci@{expected[0]}", "oci-archive:made.tar", "oci-archive:oci"):
        assert pulled(location, client, tmp_path) == expected


def test_a_pinned_reference(registry: str, layout: Path, client: RegistryClient, tmp_path: Path) -> None:
    copy(layout, f"docker://{registry}/acme/pinned:1.0")
    digest = pulled(f"{registry}/acme/pinned:1.0", client, tmp_path)[0]
    assert pulled(f"{registry}/acme/pinned:gone@{digest}", client, tmp_path)[0] == digest


def test_an_archive_of_docker_save(registry: str, layout: Path, client: RegistryClient, tmp_path: Path) -> None:
    copy(layout, f"docker://{registry}/acme/saved:1.0")
    copy(layout, f"docker-archive:{tmp_path}/saved.tar:acme/saved:1.0")
    wanted = open_image(f"{registry}/acme/saved:1.0", client, tmp_path).resolve(AMD64)
    image = open_image("docker-archive:saved.tar", client, tmp_path)
    found = image.resolve(AMD64)
    assert found.config.diff_ids == wanted.config.diff_ids
    digests = []
    for layer, diff_id in found.layers:
        image.fetch(layer, lambda digest, size, chunks: digests.append(digest_bytes(b"".join(chunks))))
        assert layer.digest == diff_id
    assert digests == list(wanted.config.diff_ids)


def test_what_the_registry_says_is_shown(registry: str, client: RegistryClient, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="MANIFEST_UNKNOWN"):
        open_image(f"{registry}/acme/nothing:1.0", client, tmp_path).resolve(AMD64)
