"""The support table of docs/reference/engines.md: each row is what one kind of engine really does here.

One project is built by every engine of the table, each with an empty store, and gives one image; a second one, with one
step that has the network and one that has not, shows whether an engine can close it.
"""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.integration.buildkit.container import ContainerBuilder
from tests.integration.buildkit.phases import busybox_tar
from tests.integration.components.daemons import client_config
from tests.integration.components.keeper import ROOT
from tests.integration.components.presence import require_program
from tests.integration.components.tools import BuildKit, BuildKitPair, DockerEngine, Skopeo, Umoci
from tests.integration.e2e.conftest import Cli, write_tree

pytestmark = pytest.mark.xdist_group("support-table")

TABLE = ROOT / "docs" / "reference" / "engines.md"

HEAD = """
[project]
schema = 1
name = "support"
repository = "REGISTRY/support"

[axes]
platform = [PLATFORMS]

[layer.base]
from = "REGISTRY/support-base:1"
"""

ONE_IMAGE = """
[layer.made]
run = [["sh", "-c", "cat word > /made && mkdir /mine && chown 7:8 /mine && chmod 1750 /mine"]]
inputs = ["word"]

[layer.files]
files = [{ from = "conf", to = "/etc/support" }]

[image.support]
layers = ["base", "made", "files"]
env = { SUPPORT = "yes" }
cmd = ["cat", "/made"]
"""

NETWORKS = """
[layer.closed]
run = [["sh", "-c", "cut -d: -f1 -s /proc/net/dev > /closed"]]

[layer.open]
run = [["sh", "-c", "cut -d: -f1 -s /proc/net/dev > /open"]]
network = true

[image.networks]
layers = ["base", "closed", "open"]
"""


@dataclass(frozen=True, slots=True)
class Place:
    """An engine: the environment and arguments that choose it, the registry of its base, platforms that it builds."""

    env: Mapping[str, str]
    arguments: tuple[str, ...]
    registry: str
    platforms: tuple[str, ...] = ("linux/amd64",)


@dataclass(frozen=True, slots=True)
class Row:
    """What was seen of an engine, in the columns of the table."""

    driver: str
    level: str
    platforms: tuple[str, ...]
    closed: str
    images: Any

    def hold(self, engine: str) -> None:
        """The docs say the same."""
        cells = [engine, self.driver or "-", self.level or "-", ", ".join(self.platforms), self.closed]
        lines = TABLE.read_text(encoding="utf-8").splitlines()
        rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
        assert cells in rows, f"{TABLE} lacks the row\n| {' | '.join(cells)} |"


def observe(folder: Path, place: Place) -> Row:
    """Builds both projects on an engine."""
    report = build(folder, place, "one", ONE_IMAGE)
    engine = report["engine"]
    assert engine["name"] == place.arguments[1]
    assert [row["name"] for row in report["vertices"] if row["outcome"] == "built"].count("made") == len(
        place.platforms
    )
    images = [(image["platform"], image["containerimage.digest"]) for image in report["images"]]
    level = engine["level"].split(" ")[0]
    return Row(engine["driver"], level, place.platforms, closed_for(folder, place), images)


def build(folder: Path, place: Place, name: str, toml: str, *arguments: str) -> dict[str, Any]:
    """The report of a build of all cells with an empty store."""
    cli, project = prepare(folder, place, name, toml)
    return cli.build(project, "--prod", "--all", *place.arguments, *arguments)


def prepare(folder: Path, place: Place, name: str, toml: str) -> tuple[Cli, Path]:
    """A project with its lock and a store of its own; the project is the same for every engine."""
    names = ", ".join(f'"{platform}"' for platform in place.platforms)
    text = (HEAD + toml).replace("REGISTRY", place.registry).replace("PLATFORMS", names)
    files: dict[str, str | bytes] = {"lamella.toml": text, "word": "made\n", "conf/a": "1\n", "conf/b/c": "2\n"}
    project = write_tree(folder / name, files)
    cli = Cli(folder / f"store-{name}", dict(place.env))
    cli.run(project, "lock")
    return cli, project


def closed_for(folder: Path, place: Place) -> str:
    """For what an engine closes the network, in the words of the table."""
    cli, project = prepare(folder, place, "networks", NETWORKS)
    archive = folder / "networks.tar"
    words = ("build", "--prod", *place.arguments, "--output", f"type=tar,dest={archive}")
    done = cli.run(project, *words, check=False)
    if done.returncode == 8:
        assert "--allow-network" in done.stderr
        cli.run(project, *words, "--allow-network")
        return "with `--allow-network` only"
    assert done.returncode == 0, done.stderr
    assert member(archive, "closed").split() == ["lo"], "the step had no network"
    assert set(member(archive, "open").split()) > {"lo"}, "the other one had"
    return "each step"


def member(archive: Path, name: str) -> str:
    """A file of a tar."""
    with tarfile.open(archive) as tar:
        found = tar.extractfile(next(item for item in tar if item.name.strip("./") == name))
        assert found is not None
        return found.read().decode()


@pytest.fixture(scope="module")
def small_base(tmp_path_factory: pytest.TempPathFactory, umoci: Umoci) -> str:
    """An image of a static BusyBox, as skopeo names it."""
    folder = tmp_path_factory.mktemp("small-base")
    busybox_tar(require_program("busybox", "busybox-static"), folder / "base.tar", {})
    umoci.run("init", "--layout", str(folder / "layout"))
    image = f"{folder}/layout:base"
    umoci.run("new", "--image", image)
    umoci.run("config", "--image", image, "--architecture", "amd64", "--config.env", "PATH=/bin")
    umoci.run("raw", "add-layer", "--image", image, str(folder / "base.tar"))
    return f"oci:{image}"


@pytest.fixture(scope="module")
def registry_with_base(oci_registry: str, small_base: str, skopeo: Skopeo) -> str:
    """The registry that the base is in."""
    skopeo.copy(small_base, f"docker://{oci_registry}/support-base:1")
    return oci_registry


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory, registry_with_base: str) -> Row:
    """What the embedded engine makes."""
    return observe(tmp_path_factory.mktemp("local"), Place({}, ("--engine", "local"), registry_with_base))


def on_builder(env: Mapping[str, str], registry: str, *arguments: str) -> Place:
    """A builder whose steps have this machine's network when they ask for one."""
    return Place({**env, "LAMELLA_BUILDER_NETWORK": "host"}, ("--engine", "buildkit", *arguments), registry)


def test_the_embedded_engine(embedded: Row) -> None:
    embedded.hold("embedded")


@pytest.mark.parametrize(
    ("engine", "name"),
    [
        ("docker20", "Docker Engine 20.10"),
        ("docker28", "Docker Engine 28, graph drivers"),
        ("docker28_containerd", "Docker Engine 28, containerd's image store"),
    ],
)
def test_docker_engines(
    engine: str, name: str, request: pytest.FixtureRequest, embedded: Row, registry_with_base: str, tmp_path: Path
) -> None:
    docker: DockerEngine = request.getfixturevalue(engine)
    row = observe(tmp_path, on_builder(docker.env, registry_with_base))
    row.hold(name)
    assert row.images == embedded.images


def test_a_buildkitd(buildkitd: BuildKit, embedded: Row, registry_with_base: str, tmp_path: Path) -> None:
    env = buildkitd.create_builder(client_config(tmp_path))
    place = on_builder(env, registry_with_base, "--builder", "single")
    row = observe(tmp_path, replace(place, env={**env, "LAMELLA_BUILDER_NETWORK": "default"}))
    row.hold("buildkitd 0.30")
    assert row.images == embedded.images


def test_a_buildkitd_in_a_container(
    container_builder: ContainerBuilder, embedded: Row, registry_with_base: str, tmp_path: Path
) -> None:
    place = on_builder(container_builder.env, registry_with_base, "--builder", container_builder.name)
    row = observe(tmp_path, place)
    row.hold("buildkitd 0.30 in a container of Docker Engine 28")
    assert row.images == embedded.images


def test_a_remote_pair_with_two_platforms(
    buildkit_pair: BuildKitPair, small_base: str, base_image_arm64: Path, skopeo: Skopeo, tmp_path: Path
) -> None:
    """Behind mutual TLS, each platform on its own node; both engines make one image of this machine's platform."""
    pair, config = buildkit_pair, client_config(tmp_path)
    base = f"{pair.registry}/support-base"
    for source, architecture in ((small_base, "amd64"), (f"oci:{base_image_arm64}:base", "arm64")):
        pair.skopeo(skopeo, "copy", source, f"docker://{base}:{architecture}")
    builder = pair.create_builder(config)
    pair.buildx(config, "imagetools", "create", "--tag", f"{base}:1", f"{base}:amd64", f"{base}:arm64")
    both = ("linux/amd64", "linux/arm64")
    place = Place(pair.env(config), ("--engine", "buildkit", "--builder", builder), pair.registry, both)
    row = observe(tmp_path, place)
    row.hold("two buildkitd 0.30 behind mutual TLS")
    assert [platform for platform, _ in row.images] == list(both)
    local = Cli(tmp_path / "local", {"SSL_CERT_FILE": str(pair.certificates / "bundle.pem")})
    words = ("--prod", "--engine", "local", "--platform", "linux/amd64")
    (image,) = local.build(tmp_path / "one", *words)["images"]
    assert (image["platform"], image["containerimage.digest"]) == row.images[0]


def test_each_platform_runs_on_its_own_node(
    buildkit_pair: BuildKitPair, base_image: Path, base_image_arm64: Path, skopeo: Skopeo, tmp_path: Path
) -> None:
    pair, config = buildkit_pair, client_config(tmp_path)
    base = f"{pair.registry}/native-base"
    for source, architecture in ((base_image, "amd64"), (base_image_arm64, "arm64")):
        pair.skopeo(skopeo, "copy", f"oci:{source}:base", f"docker://{base}:{architecture}")
    builder = pair.create_builder(config)
    pair.buildx(config, "imagetools", "create", "--tag", f"{base}:1", f"{base}:amd64", f"{base}:arm64")
    toml = (HEAD + ONE_IMAGE).replace("support-base", "native-base").replace("cat word > /made", "uname -m > /made")
    toml = toml.replace("REGISTRY", pair.registry).replace("PLATFORMS", '"linux/amd64", "linux/arm64"')
    project = write_tree(tmp_path / "native", {"lamella.toml": toml, "word": "1\n", "conf/a": "1\n"})
    cli = Cli(tmp_path / "store", pair.env(config))
    cli.run(project, "lock")
    for platform, machine in (("linux/amd64", "x86_64"), ("linux/arm64", "aarch64")):
        archive = tmp_path / f"{machine}.tar"
        words = ("--builder", builder, "--platform", platform, "--output", f"type=tar,dest={archive}")
        cli.run(project, "build", "--prod", *words)
        assert member(archive, "made").strip() == machine
