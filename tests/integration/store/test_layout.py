"""The store's image layout as other programs read it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from lamella.oci import media
from lamella.oci.config import ImageConfig, RuntimeConfig
from lamella.oci.manifest import Descriptor, Manifest
from lamella.oci.platform import Platform
from lamella.store import Store
from tests.integration.components.tools import Skopeo, Umoci
from tests.unit.store.samples import open_store


def layer_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("hello")
        info.size = 5
        tar.addfile(info, io.BytesIO(b"world"))
    return buffer.getvalue()


def put_real_image(store: Store, name: str, command: str) -> None:
    layer = store.blobs.put_bytes(layer_tar())
    config = ImageConfig(Platform("linux", "amd64"), RuntimeConfig(cmd=(command,)), (layer,)).to_bytes()
    digest = store.blobs.put_bytes(config)
    manifest = Manifest(
        Descriptor(media.IMAGE_CONFIG, digest, len(config)), (Descriptor(media.LAYER_TAR, layer, len(layer_tar())),)
    )
    store.blobs.put_bytes(manifest.to_bytes())
    store.images.tag(name, manifest.descriptor())


def test_skopeo_finds_images_by_their_names_and_copies_them(skopeo: Skopeo, tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as store:
        put_real_image(store, "shop:dev-cpu", "one")
        put_real_image(store, "registry.example/acme/shop:1.0", "two")
        for name, command in (("shop:dev-cpu", "one"), ("registry.example/acme/shop:1.0", "two")):
            found = skopeo.inspect(f"oci:{store.layout.oci}:{name}", config=True)
            assert found["config"]["Cmd"] == [command]
        skopeo.copy(f"oci:{store.layout.oci}:shop:dev-cpu", f"dir:{tmp_path / 'copy'}")
    assert (tmp_path / "copy" / "manifest.json").exists()


def test_umoci_unpacks_an_image_of_the_store(umoci: Umoci, tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as store:
        put_real_image(store, "shop", "one")
        root = umoci.unpack(store.layout.oci, "shop", tmp_path / "bundle")
    assert (root / "hello").read_bytes() == b"world"
