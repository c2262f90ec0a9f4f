"""``--load`` sends only what a daemon lacks, and everything when it must: Docker 20.10, and 28 with both stores."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lamella.canonical import FrozenMap, digest_bytes
from lamella.images.daemon import find_api
from lamella.images.docker_cli import DockerCli
from lamella.images.load import EarlyLoad, load_images
from lamella.images.stored import StoredImage
from lamella.oci.config import RuntimeConfig
from lamella.store import Store
from tests.integration.components.tools import DockerEngine, run_tool
from tests.integration.images.hello import HELLO, STATUS, TEXT
from tests.unit.images.samples import BASE, put_image, renamed
from tests.unit.layers.archives import tar_bytes, tar_dir, tar_file
from tests.unit.store.samples import open_store

PROGRAM = tar_bytes([tar_dir("app"), tar_file("app/hello", HELLO, 0o755)])
RUNTIME = RuntimeConfig(entrypoint=("/app/hello",))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture(params=["docker_engine", "docker28", "docker28_containerd"])
def docker(request: pytest.FixtureRequest) -> DockerCli:
    engine: DockerEngine = request.getfixturevalue(request.param)
    return DockerCli(engine.path, FrozenMap({"PATH": "/usr/bin", **engine.env}))


def own_layer() -> bytes:
    """A layer that no other test has."""
    return tar_bytes([tar_dir("own"), tar_file("own/id", f"{time.monotonic_ns()}".encode())])


def image_of(store: Store, name: str, below: bytes, text: str) -> StoredImage:
    app = tar_bytes([tar_dir("etc"), tar_file("etc/app", text.encode())])
    return put_image(store, name, [BASE, PROGRAM, below, app], runtime=RUNTIME)


def run(docker: DockerCli, name: str) -> tuple[int, bytes]:
    argv = docker.argv("run", "--rm", "--network", "none", name)
    done = subprocess.run(argv, env=dict(docker.env), capture_output=True, check=False)
    return done.returncode, done.stdout


def layers_in(docker: DockerCli, name: str) -> list[str]:
    return docker.run("image", "inspect", "--format", "{{range .RootFS.Layers}}{{println .}}{{end}}", name).split()


def forget_layer(store: Store, image: StoredImage, number: int) -> None:
    """A layer whose bytes are gone cannot be sent."""
    store.blobs.path(image.layers[number].descriptor.digest).unlink()


def test_layers_that_the_daemon_has_are_not_sent(store: Store, docker: DockerCli) -> None:
    below = own_layer()
    first = image_of(store, f"sparse/one:{digest_bytes(below)[-8:]}", below, "1")
    load_images(store, [first], docker)
    assert run(docker, first.names[0]) == (STATUS, TEXT)
    for number in range(3):
        forget_layer(store, first, number)
    second = image_of_existing(store, first, "2")
    load_images(store, [second], docker)
    assert layers_in(docker, second.names[0]) == list(second.config.diff_ids)
    assert run(docker, second.names[0]) == (STATUS, TEXT)
    load_images(store, [second], docker)  # nothing to send at all
    other = renamed(second, f"sparse/other:{second.names[0][-8:]}")
    load_images(store, [other], docker)
    assert run(docker, other.names[0]) == (STATUS, TEXT)


def image_of_existing(store: Store, first: StoredImage, text: str) -> StoredImage:
    """The same image with another last layer; the bytes of the others are not in the store any more."""
    from dataclasses import replace

    app = put_image(store, "x:y", [tar_bytes([tar_dir("etc"), tar_file("etc/app", text.encode())])])
    config = replace(first.config, diff_ids=(*first.config.diff_ids[:-1], app.config.diff_ids[0]))
    data = config.to_bytes()
    described = replace(first.manifest.config, digest=store.blobs.put_bytes(data), size=len(data))
    manifest = replace(first.manifest, config=described, layers=(*first.manifest.layers[:-1], app.manifest.layers[0]))
    store.blobs.put_bytes(manifest.to_bytes())
    return StoredImage(first.names, manifest.descriptor(first.platform), manifest, config)


def test_a_daemon_that_lost_the_layers_gets_everything(store: Store, docker: DockerCli) -> None:
    below = own_layer()
    image = image_of(store, f"sparse/lost:{digest_bytes(below)[-8:]}", below, "1")
    load_images(store, [image], docker)
    docker.run("rmi", "--force", image.names[0])
    changed = image_of(store, image.names[0], below, "2")
    load_images(store, [changed], docker)
    assert run(docker, changed.names[0]) == (STATUS, TEXT)
    assert layers_in(docker, changed.names[0]) == list(changed.config.diff_ids)


def test_what_was_loaded_sparsely_can_be_saved(store: Store, docker: DockerCli, tmp_path: Path) -> None:
    """The daemon has every byte of it: it can give the image away again."""
    below = own_layer()
    first = image_of(store, f"sparse/saved:{digest_bytes(below)[-8:]}", below, "1")
    load_images(store, [first], docker)
    second = image_of(store, first.names[0], below, "2")
    load_images(store, [second], docker)
    docker.run("save", "--output", str(tmp_path / "saved.tar"), second.names[0])
    docker.run("rmi", "--force", second.names[0])
    docker.run("load", "--input", str(tmp_path / "saved.tar"))
    assert run(docker, second.names[0]) == (STATUS, TEXT)


def test_two_images_at_once(store: Store, docker: DockerCli) -> None:
    below = own_layer()
    tag = digest_bytes(below)[-8:]
    images = [image_of(store, f"sparse/{name}:{tag}", below, name) for name in ("a", "b")]
    load_images(store, images, docker)
    load_images(store, [image_of(store, f"sparse/{name}:{tag}", below, f"{name}2") for name in ("a", "b")], docker)
    assert [run(docker, f"sparse/{name}:{tag}") for name in ("a", "b")] == [(STATUS, TEXT)] * 2


def test_an_image_can_be_on_its_way_before_it_is_in_the_store(store: Store, docker: DockerCli) -> None:
    """Of the last image the store has the layers only."""
    below = own_layer()
    first = image_of(store, f"sparse/early:{digest_bytes(below)[-8:]}", below, "1")
    load_images(store, [first], docker)
    second = image_of(store, first.names[0], below, "2")
    store.blobs.path(second.descriptor.digest).unlink()
    store.blobs.path(second.manifest.config.digest).unlink()
    EarlyLoad(store, [second], docker).finish([second])
    assert layers_in(docker, second.names[0]) == list(second.config.diff_ids)
    assert run(docker, second.names[0]) == (STATUS, TEXT)


def test_what_did_not_arrive_early_is_loaded_in_the_end(store: Store, docker: DockerCli) -> None:
    """Nothing of it is in the daemon, or a layer is not here yet."""
    below = own_layer()
    tag = digest_bytes(below)[-8:]
    first = image_of(store, f"sparse/late:{tag}", below, "1")
    EarlyLoad(store, [first], docker).finish([first])
    assert run(docker, first.names[0]) == (STATUS, TEXT)
    second = image_of(store, first.names[0], below, "2")
    blob = store.blobs.path(second.layers[-1].descriptor.digest)
    data = blob.read_bytes()
    blob.unlink()
    loading = EarlyLoad(store, [second], docker)
    loading.wait()
    store.blobs.put_bytes(data)
    other = renamed(second, f"sparse/more:{tag}")
    loading.finish([second, other])
    assert layers_in(docker, second.names[0]) == list(second.config.diff_ids)
    assert run(docker, other.names[0]) == (STATUS, TEXT)


@pytest.mark.parametrize(
    "env",
    [
        {"DOCKER_HOST": "ssh://builder.example"},
        {"DOCKER_HOST": "tcp://127.0.0.1:2376", "DOCKER_TLS_VERIFY": "1"},
        {"DOCKER_CONTEXT": "work"},
        {"DOCKER_HOST": "unix:///nowhere/docker.sock"},
    ],
)
def test_what_only_the_program_can_reach_is_left_to_it(env: dict[str, str]) -> None:
    assert find_api(env) is None


def test_a_context_that_docker_wrote_leads_to_its_daemon(docker28: DockerEngine, tmp_path: Path) -> None:
    env = {"DOCKER_CONFIG": str(tmp_path)}
    run_tool([docker28.path, "context", "create", "work", "--docker", f"host={docker28.host}"], env=env)
    assert find_api({**env, "DOCKER_CONTEXT": "elsewhere"}) is None
    run_tool([docker28.path, "context", "use", "work"], env=env)
    api = find_api(env)
    assert api is not None
    with closing(api):
        assert api.is_answering()
