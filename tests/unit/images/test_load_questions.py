"""What a daemon is asked on the way: as little as decides what it is to be sent."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lamella.canonical import FrozenMap
from lamella.errors import LamellaError
from lamella.images.docker_cli import DockerCli
from lamella.images.load import load_images
from lamella.images.stored import StoredImage
from lamella.store import Store
from tests.unit.images.daemons import Daemon
from tests.unit.images.samples import APP, BASE, put_image
from tests.unit.layers.archives import tar_bytes, tar_dir
from tests.unit.store.samples import open_store

NOTHING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store") as opened:
        yield opened


def answer(document: object) -> bytes:
    data = json.dumps(document).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data


def described(image: StoredImage, **more: object) -> bytes:
    """What a daemon with a graph driver says of an image."""
    known: Mapping[str, Any] = {
        "Id": image.manifest.config.digest,
        "RootFS": {"Type": "layers", "Layers": list(image.config.diff_ids)},
        "GraphDriver": {"Name": "overlay2", "Data": {"UpperDir": "/d"}},
    }
    return answer({**known, **more})


def asked(daemon: Daemon) -> list[str]:
    """Method and path of all requests."""
    return [" ".join(request.split(b"\r\n")[0].decode().split(" ")[:2]) for request in daemon.requests]


def load(store: Store, image: StoredImage, folder: Path, *answers: bytes) -> Daemon:
    daemon = Daemon(folder / "d.sock", [list(answers)])
    with closing(daemon):
        load_images(store, [image], DockerCli("/no/docker", FrozenMap({"DOCKER_HOST": f"unix://{daemon.path}"})))
    return daemon


def test_the_image_of_that_name_tells_enough(store: Store, tmp_path: Path) -> None:
    before, after = (
        put_image(store, "shop/api:dev"),
        put_image(store, "shop/api:dev", [BASE, tar_bytes([tar_dir("x")])]),
    )
    daemon = load(store, after, tmp_path, described(before), answer({"stream": "Loaded"}), described(after))
    image = "GET /images/shop/api%3Adev/json?manifests=1"
    assert asked(daemon) == [image, "POST /images/load?quiet=1", image]
    with tarfile.open(fileobj=io.BytesIO(daemon.requests[1].partition(b"\r\n\r\n")[2])) as archive:
        blobs = {name.rpartition("/")[2] for name in archive.getnames()}
    below, above = (layer.descriptor.digest.partition(":")[2] for layer in after.layers)
    assert (below in blobs, above in blobs) == (False, True)


def test_an_image_that_is_there_is_asked_for_once(store: Store, tmp_path: Path) -> None:
    image = put_image(store, "shop/api:dev")
    assert len(load(store, image, tmp_path, described(image)).requests) == 1


def test_other_images_are_asked_for_until_enough_is_known(store: Store, tmp_path: Path) -> None:
    image = put_image(store, "shop/api:dev")
    strange = put_image(store, "strange:1", [APP])
    related = put_image(store, "related:1", [BASE])
    listed = answer([{"Id": "sha256:1"}, {"Id": "sha256:2"}, {"Id": "sha256:3"}])
    answers = (NOTHING, listed, described(strange), described(related), answer({"stream": "Loaded"}), described(image))
    daemon = load(store, image, tmp_path, *answers)
    assert asked(daemon) == [
        "GET /images/shop/api%3Adev/json?manifests=1",
        "GET /images/json",
        "GET /images/sha256%3A1/json?manifests=1",
        "GET /images/sha256%3A2/json?manifests=1",
        "POST /images/load?quiet=1",
        "GET /images/shop/api%3Adev/json?manifests=1",
    ]


def test_what_is_not_here_to_be_sent_is_looked_for_in_further_images(store: Store, tmp_path: Path) -> None:
    image = put_image(store, "shop/api:dev", [BASE, tar_bytes([tar_dir("x")]), APP])
    related = put_image(store, "related:1", [BASE])
    store.blobs.path(image.layers[1].descriptor.digest).unlink()
    listed = answer([{"Id": "sha256:1"}, {"Id": "sha256:2"}])
    other = described(put_image(store, "other:1", [BASE, tar_bytes([tar_dir("x")])]))
    store.blobs.path(image.layers[1].descriptor.digest).unlink()
    answers = (NOTHING, listed, described(related), other, answer({"stream": "Loaded"}), described(image))
    assert [line.partition(" ")[0] for line in asked(load(store, image, tmp_path, *answers))] == [
        *["GET"] * 4, "POST", "GET",
    ]  # fmt: skip


def test_a_store_that_does_not_tell_its_blobs_is_not_believed(store: Store, tmp_path: Path) -> None:
    """So it is with the store of containerd before API v1.47: the image is named there, its layers may not be."""
    image = put_image(store, "shop/api:dev")
    bare = described(image, GraphDriver={"Name": "overlayfs", "Data": None})
    info = answer({"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]})
    answers = (bare, info, answer({"stream": "Loaded"}), bare, info, info)
    daemon = Daemon(tmp_path / "d.sock", [list(answers)])
    with closing(daemon), pytest.raises(LamellaError, match="no/docker"):  # everything is left to the program
        load_images(store, [image], DockerCli("/no/docker", FrozenMap({"DOCKER_HOST": f"unix://{daemon.path}"})))
    assert asked(daemon)[-1] == "GET /info"
