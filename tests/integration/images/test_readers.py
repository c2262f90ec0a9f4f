"""What we write is read by others: skopeo, umoci, and Docker Engine 20.10, which also runs it."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamella.canonical import FrozenMap
from lamella.errors import RegistryError
from lamella.images.docker_cli import DockerCli
from lamella.images.load import load_images
from lamella.images.outputs.spec import Output
from lamella.images.outputs.write import write_output
from lamella.images.stored import StoredImage
from lamella.oci.config import RuntimeConfig
from lamella.store import Store
from tests.integration.components.tools import DockerEngine, Skopeo, Umoci
from tests.integration.images.hello import HELLO, STATUS, TEXT
from tests.unit.images.samples import APP, ARM64, BASE, put_image, renamed
from tests.unit.layers.archives import tar_bytes, tar_dir, tar_file
from tests.unit.store.samples import open_store

PROGRAM = tar_bytes([tar_dir("app"), tar_file("app/hello", HELLO, 0o755)])
RUNTIME = RuntimeConfig(
    user="7:8", env=("GREETING=hello",), entrypoint=("/app/hello",), labels=FrozenMap({"a": "b"}), working_dir="/app"
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture(params=["gzip", "zstd", "none"])
def image(store: Store, request: pytest.FixtureRequest) -> StoredImage:
    return put_image(store, "shop/api:dev", [BASE, APP, PROGRAM], compressor=request.param, runtime=RUNTIME)


@pytest.fixture
def docker(docker_engine: DockerEngine) -> DockerCli:
    return DockerCli(docker_engine.path, FrozenMap({"PATH": "/usr/bin", **docker_engine.env}))


def reference(output: Output) -> str:
    form = {"oci": "oci-archive" if output.packed else "oci", "docker-archive": "docker-archive"}[output.kind]
    return f"{form}:{output.dest}:shop/api:dev"


@pytest.mark.parametrize(("kind", "packed"), [("oci", False), ("oci", True), ("docker-archive", True)])
def test_skopeo_accepts_every_image(
    store: Store, image: StoredImage, skopeo: Skopeo, tmp_path: Path, kind: str, packed: bool
) -> None:
    output = Output(kind, str(tmp_path / "out"), packed=packed)
    write_output(store, [image], output)
    seen = skopeo.inspect(reference(output))
    assert (seen["Architecture"], seen["Env"], seen["Labels"]) == ("amd64", ["GREETING=hello"], {"a": "b"})
    config = skopeo.inspect(reference(output), config=True)
    assert config["rootfs"]["diff_ids"] == list(image.config.diff_ids)
    skopeo.copy(reference(output), f"dir:{tmp_path}/copy")  # reads and checks every layer
    if kind == "oci":
        assert seen["Digest"] == image.descriptor.digest


def test_skopeo_finds_each_platform_of_an_index(store: Store, skopeo: Skopeo, tmp_path: Path) -> None:
    images = [put_image(store, "shop/api:dev"), renamed(put_image(store, "x:y", platform=ARM64), "shop/api:dev")]
    write_output(store, images, Output("oci", str(tmp_path / "out")))
    for architecture in ("amd64", "arm64"):
        words = ("--override-arch", architecture, "inspect", "--config", f"oci:{tmp_path}/out:shop/api:dev")
        assert json.loads(skopeo.run(*words))["architecture"] == architecture


def test_umoci_unpacks_a_gzip_layout(store: Store, umoci: Umoci, tmp_path: Path) -> None:
    image = put_image(store, "shop/api:dev", [BASE, APP, PROGRAM], runtime=RUNTIME)
    write_output(store, [image], Output("oci", str(tmp_path / "out")))
    write_output(store, [image], Output("dir", str(tmp_path / "ours")))
    theirs = umoci.unpack(tmp_path / "out", "shop/api:dev", tmp_path / "bundle")
    assert tree_of(theirs) == tree_of(tmp_path / "ours")


def tree_of(root: Path) -> dict[str, tuple[int, str]]:
    """Mode and content of everything below a directory."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and not path.is_symlink() else ""
        found[str(path.relative_to(root))] = (status.st_mode, content)
    return found


def run_in_docker(docker: DockerCli, name: str) -> tuple[int, bytes]:
    done = subprocess.run(
        docker.argv("run", "--rm", "--network", "none", name), env=dict(docker.env), capture_output=True, check=False
    )
    return done.returncode, done.stdout


def test_docker_loads_an_archive_and_runs_it(
    store: Store, image: StoredImage, docker: DockerCli, tmp_path: Path
) -> None:
    out = tmp_path / "image.tar"
    named = renamed(image, f"archive/{tmp_path.name.replace('_', '-').lower()}:dev")
    write_output(store, [named], Output("docker-archive", str(out), packed=True))
    assert named.names[0] in docker.run("load", "--input", str(out))
    assert run_in_docker(docker, named.names[0]) == (STATUS, TEXT)


def test_load_brings_all_names_and_the_same_image_id(store: Store, docker: DockerCli) -> None:
    image = renamed(put_image(store, "shop/api:dev", [BASE, PROGRAM], runtime=RUNTIME), "load/a:dev", "load/b:latest")
    load_images(store, [image], docker)
    for name in image.names:
        assert docker.run("image", "inspect", "--format", "{{.Id}}", name) == image.manifest.config.digest
    assert run_in_docker(docker, "load/b") == (STATUS, TEXT)


def test_a_daemon_that_refuses_is_quoted(store: Store, docker: DockerCli) -> None:
    image = renamed(put_image(store, "shop/api:dev"), "UPPER/name:dev")
    with pytest.raises(RegistryError, match=r"invalid reference format|must be lowercase"):
        load_images(store, [image], docker)


def test_a_daemon_that_is_not_there_is_named(docker: DockerCli, tmp_path: Path) -> None:
    gone = DockerCli(docker.program, docker.env.with_items({"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}))
    with pytest.raises(RegistryError, match=r"does not answer .*none.sock"):
        gone.server_version()
