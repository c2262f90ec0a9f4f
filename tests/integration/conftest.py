"""Real components as fixtures: each is there once per test run, whatever the number of test processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from lamella.host.locks import hold
from tests.integration.components.bases import base_layout, rootfs_tar
from tests.integration.components.installed import DOCKER_28, GO, docker_plugins, find_component, require_component
from tests.integration.components.keeper import shared_daemon
from tests.integration.components.presence import missing, require_program, require_root
from tests.integration.components.processes import DaemonError
from tests.integration.components.tools import BuildKit, BuildKitPair, DockerEngine, Skopeo, ToolError, Umoci


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything below this folder is an integration test."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """One folder for the whole run, the same in every test process."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def skopeo() -> Skopeo:
    return Skopeo(require_program("skopeo"))


@pytest.fixture(scope="session")
def umoci() -> Umoci:
    return Umoci(require_program("umoci"))


@contextmanager
def _daemon(name: str, run_folder: Path) -> Iterator[Mapping[str, str]]:
    try:
        with shared_daemon(name, run_folder / name) as info:
            yield info
    except DaemonError as error:
        missing(f"{name} does not start: {error}")


@pytest.fixture(scope="session")
def registry(run_folder: Path) -> Iterator[str]:
    """``host:port`` of a private docker-registry 2.8 on loopback, plain HTTP, without the referrers API."""
    require_program("docker-registry")
    with _daemon("registry", run_folder) as info:
        yield info["address"]


@pytest.fixture(scope="session")
def docker_registry(registry: str) -> str:
    """The same under the name of its program."""
    return registry


@pytest.fixture(scope="session")
def oci_registry(run_folder: Path) -> Iterator[str]:
    """``host:port`` of an in-memory registry on loopback, plain HTTP, with the referrers API."""
    require_component(GO)
    with _daemon("oci-registry", run_folder) as info:
        yield info["address"]


@pytest.fixture(scope="session")
def docker_engine(run_folder: Path) -> Iterator[DockerEngine]:
    """A private Docker Engine of this machine (Debian 12: 20.10) with data, sockets and bridge of its own."""
    require_root()
    require_program("dockerd", "docker.io")
    require_program("ip", "iproute2")
    cli = require_program("docker", "docker.io")
    component = find_component(DOCKER_28)
    buildx = "" if component is None else str(docker_plugins(component)["docker-buildx"])
    with _daemon("docker", run_folder) as info:
        yield DockerEngine(cli, info["host"], Path(info["config"]), buildx)


@pytest.fixture(scope="session")
def docker20(docker_engine: DockerEngine) -> DockerEngine:
    """That engine with buildx, which Debian 12 does not have: sid's plugin speaks to it."""
    require_component(DOCKER_28)
    return docker_engine


@pytest.fixture(scope="session")
def docker28(run_folder: Path) -> Iterator[DockerEngine]:
    """A private Docker Engine 28 with buildx and compose; its images are in the store of graph drivers (overlay2)."""
    with _engine28("docker28", run_folder) as engine:
        yield engine


@pytest.fixture(scope="session")
def docker28_containerd(run_folder: Path) -> Iterator[DockerEngine]:
    """A private Docker Engine 28 whose images are in containerd's store."""
    with _engine28("docker28-containerd", run_folder) as engine:
        yield engine


@contextmanager
def _engine28(name: str, run_folder: Path) -> Iterator[DockerEngine]:
    require_root()
    component = require_component(DOCKER_28)
    require_program("runc")
    require_program("ip", "iproute2")
    with _daemon(name, run_folder) as info:
        buildx = str(docker_plugins(component)["docker-buildx"])
        yield DockerEngine(f"{component}/usr/bin/docker", info["host"], Path(info["config"]), buildx)


@pytest.fixture(params=["docker28", "docker28_containerd"])
def docker28_store(request: pytest.FixtureRequest) -> DockerEngine:
    """Docker Engine 28, once with each image store."""
    engine: DockerEngine = request.getfixturevalue(request.param)
    return engine


@pytest.fixture(scope="session")
def buildkitd(run_folder: Path) -> Iterator[BuildKit]:
    """A private buildkitd on a socket; its steps are in this machine's network."""
    require_root()
    require_program("runc")
    buildctl, buildx = _build_clients()
    with _daemon("buildkitd", run_folder) as info:
        yield BuildKit(info["address"], buildctl, buildx)


@pytest.fixture(scope="session")
def buildkit_pair(run_folder: Path) -> Iterator[BuildKitPair]:
    """Two buildkitd, linux/amd64 and linux/arm64, behind mutual TLS in network namespaces, and a TLS registry."""
    require_root()
    for program, package in (
        ("runc", ""),
        ("ip", "iproute2"),
        ("slirp4netns", ""),
        ("openssl", ""),
        ("docker-registry", ""),
        ("qemu-aarch64-static", "qemu-user-static"),
    ):
        require_program(program, package)
    clients = _build_clients()
    with _daemon("buildkit-pair", run_folder) as info:
        yield BuildKitPair(info["amd64"], info["arm64"], info["registry"], Path(info["certificates"]), *clients)


@pytest.fixture
def arm64_emulation(run_folder: Path) -> Iterator[None]:
    """arm64 programs run on this machine, through qemu-user: builders find that out and say so."""
    require_root()
    require_program("qemu-aarch64-static", "qemu-user-static")
    with _daemon("emulation", run_folder):
        yield


def _build_clients() -> tuple[str, str]:
    """Paths of buildctl and of the buildx plugin."""
    plugins = docker_plugins(require_component(DOCKER_28))
    return f"{require_component(GO)}/bin/buildctl", str(plugins["docker-buildx"])


@pytest.fixture(scope="session")
def base_rootfs_tar() -> Path:
    """A Debian (amd64) as an uncompressed tar, kept between runs; see ``bases.rootfs_tar``."""
    return _base_tar("amd64")


@pytest.fixture(scope="session")
def base_rootfs_tar_arm64() -> Path:
    """The arm64 one: programs run (emulated), packages cannot be installed."""
    return _base_tar("arm64")


def _base_tar(architecture: str) -> Path:
    require_program("mmdebstrap")
    try:
        return rootfs_tar(architecture)
    except ToolError as error:
        missing(f"no base for {architecture}: {error}")


@pytest.fixture(scope="session")
def base_image(base_rootfs_tar: Path, umoci: Umoci) -> Path:
    """The amd64 base as an OCI layout with one image ``base``, kept between runs."""
    return base_layout(umoci, "amd64")


@pytest.fixture(scope="session")
def base_image_arm64(base_rootfs_tar_arm64: Path, umoci: Umoci) -> Path:
    """The arm64 base as an OCI layout with one image ``base``."""
    return base_layout(umoci, "arm64")


@pytest.fixture(scope="session")
def base_reference(oci_registry: str, base_image: Path, skopeo: Skopeo, run_folder: Path) -> str:
    """The amd64 base in the in-memory registry, as every engine on loopback can pull it."""
    reference = f"{oci_registry}/base:bookworm"
    with hold(run_folder / "base-reference.lock"):
        if not (run_folder / "base-reference").exists():
            skopeo.copy(f"oci:{base_image}:base", f"docker://{reference}")
            (run_folder / "base-reference").touch()
    return reference
