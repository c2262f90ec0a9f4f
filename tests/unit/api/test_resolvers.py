"""What ``lamella lock`` learns from registries, layouts and the clients of tools; ``--check`` learns nothing."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamella.api.options import SessionOptions
from lamella.api.resolvers import OutsideResolvers, StaleResolvers
from lamella.canonical import FrozenMap, digest_bytes
from lamella.clock import SystemClock
from lamella.errors import ConfigError, RegistryError
from lamella.oci import media
from lamella.oci.config import ImageConfig, RuntimeConfig
from lamella.oci.manifest import Descriptor, Index, Manifest
from lamella.oci.platform import Platform
from lamella.project.lock import BasePin, ToolPin
from lamella.sources.wheel_request import ResolveRequest
from lamella.store.store import Store
from lamella.testing.registry import MemoryRegistry

BOTH = ("linux/amd64", "linux/arm64")


@pytest.fixture
def registry() -> Iterator[MemoryRegistry]:
    with MemoryRegistry() as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store", clock=SystemClock(), warn=pytest.fail) as opened:
        yield opened


def resolvers(store: Store, root: Path, path: str = "", *, offline: bool = False) -> OutsideResolvers:
    environ = FrozenMap({"PATH": path or "/nowhere"})
    return OutsideResolvers(store, root, SessionOptions(store=root / "store", environ=environ, offline=offline))


def archive(files: dict[str, str], programs: tuple[str, ...] = (), gone: tuple[str, ...] = ()) -> bytes:
    """A layer; ``gone`` are deleted from the layers below."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in [*files.items(), *((name, "program") for name in programs), *((name, "") for name in gone)]:
            item = tarfile.TarInfo(name)
            item.size, item.mode = len(data.encode()), 0o755 if name in programs else 0o644
            tar.addfile(item, io.BytesIO(data.encode()))
    return out.getvalue()


def two_platforms(registry: MemoryRegistry) -> str:
    """An index whose upper layers bring Python 3.12 and take 3.11 away; the reference to it."""
    env = RuntimeConfig(env=("PATH=/usr/local/bin:/usr/bin", "LANG=C.UTF-8"))
    images = []
    for name in ("amd64", "arm64"):
        layers = (
            archive({"etc/os-release": 'ID=ubuntu\nID_LIKE="debian"\n', "arch": name}, ("usr/bin/python3.11",)),
            archive({}, ("usr/local/bin/python3.12",), ("usr/bin/.wh.python3.11",)),
        )
        images.append(registry.add_image("acme/base", layers=layers, platform=Platform("linux", name), runtime=env))
    registry.add_index("acme/base", "1", manifests=[image.manifest for image in images])
    return f"{registry.address}/acme/base:1"


def test_an_index_is_pinned_with_the_manifest_of_each_platform(
    registry: MemoryRegistry, store: Store, tmp_path: Path
) -> None:
    reference = two_platforms(registry)
    pin = resolvers(store, tmp_path).base(reference, BOTH, look=())
    assert set(pin.manifests) == set(BOTH)
    assert pin.index not in pin.manifests.values()
    assert (pin.env["LANG"], pin.os_family, dict(pin.interpreters)) == ("C.UTF-8", "", {})
    assert not [seen for seen in registry.requests if pin.index in seen.path and "blobs" in seen.path]


def test_looking_inside_finds_family_and_interpreters_of_the_merged_layers(
    registry: MemoryRegistry, store: Store, tmp_path: Path
) -> None:
    pin = resolvers(store, tmp_path).base(two_platforms(registry), BOTH, look=("linux/arm64",))
    assert pin.os_family == "ubuntu debian"
    assert set(pin.interpreters) == {"linux/arm64"}
    assert [(item.version, item.path) for item in pin.interpreters["linux/arm64"]] == [
        ("3.12", "/usr/local/bin/python3.12")
    ]


def test_what_was_looked_into_is_in_the_store_for_the_build(
    registry: MemoryRegistry, store: Store, tmp_path: Path
) -> None:
    resolvers(store, tmp_path).base(two_platforms(registry), BOTH, look=("linux/amd64",))
    before = len(registry.requests)
    resolvers(store, tmp_path).base(two_platforms(registry), BOTH, look=("linux/amd64",))
    layers = [seen.path for seen in registry.requests[before:] if "/blobs/" in seen.path]
    assert len(layers) <= 2  # the configurations; no layer comes again


def test_a_pinned_index_is_asked_for_although_the_tag_moved(
    registry: MemoryRegistry, store: Store, tmp_path: Path
) -> None:
    reference = two_platforms(registry)
    pin = resolvers(store, tmp_path).base(reference, ("linux/amd64",), look=())
    registry.add_image("acme/base", "1", layers=(archive({"other": "1"}),))
    assert resolvers(store, tmp_path).base(reference, ("linux/amd64",), look=()) != pin
    assert resolvers(store, tmp_path).base(reference, ("linux/amd64",), look=(), known=pin) == pin


def test_a_layout_is_looked_into_again_only_when_it_changed(store: Store, tmp_path: Path) -> None:
    said: list[str] = []

    def pin(known: BasePin | None) -> BasePin:
        outside = OutsideResolvers(store, tmp_path, SessionOptions(store=tmp_path / "store"), said.append)
        return outside.base("oci:base", ("linux/amd64",), look=("linux/amd64",), known=known)

    write_layout(tmp_path / "base", archive({"etc/os-release": "ID=debian\n"}, ("usr/bin/python3.11",)))
    first = pin(None)
    assert (first.os_family, first.interpreters["linux/amd64"][0].version) == ("debian", "3.11")
    assert pin(first) == first
    assert len(said) == 1
    write_layout(tmp_path / "base", archive({"etc/os-release": "ID=debian\n"}, ("usr/bin/python3.13",)))
    assert pin(first).interpreters["linux/amd64"][0].version == "3.13"
    assert len(said) == 2


def write_layout(folder: Path, layer: bytes) -> None:
    """An OCI layout with one image of one layer."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)

    def put(data: bytes, kind: str) -> Descriptor:
        digest = digest_bytes(data)
        (blobs / digest[7:]).write_bytes(data)
        return Descriptor(kind, digest, len(data))

    described = put(layer, media.LAYER_TAR)
    config = ImageConfig(Platform("linux", "amd64"), RuntimeConfig(), (described.digest,))
    manifest = Manifest(put(config.to_bytes(), media.IMAGE_CONFIG), (described,))
    index = Index((put(manifest.to_bytes(), media.IMAGE_MANIFEST),))
    (folder / "index.json").write_bytes(index.to_bytes())
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def test_a_platform_that_the_base_lacks_is_named_with_those_it_has(
    registry: MemoryRegistry, store: Store, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="has no image for linux/riscv64") as caught:
        resolvers(store, tmp_path).base(two_platforms(registry), ("linux/riscv64",), look=())
    assert "linux/amd64" in caught.value.hint


def test_offline_refuses_before_it_asks(registry: MemoryRegistry, store: Store, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="--offline"):
        resolvers(store, tmp_path, offline=True).base(f"{registry.address}/a:1", BOTH, look=())
    with pytest.raises(RegistryError, match="--offline"):
        resolvers(store, tmp_path, offline=True).tool("npm", "bun")
    assert not registry.requests


def client(folder: Path, name: str, script: str) -> str:
    """A program that stands for a tool's client; the folder for PATH."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def test_tools_are_asked_of_their_own_clients(store: Store, tmp_path: Path) -> None:
    path = client(tmp_path / "bin", "npm", 'test "$*" = "view bun version" && echo 1.3.14')
    client(tmp_path / "bin", "cargo", 'test "$*" = "info just" && printf "just\\nversion: 1.40.0\\n"')
    outside = resolvers(store, tmp_path, path)
    assert outside.tool("npm", "bun") == ToolPin("1.3.14")
    assert outside.tool("cargo", "just") == ToolPin("1.40.0")


def test_a_client_that_is_not_here_gives_no_version(store: Store, tmp_path: Path) -> None:
    assert resolvers(store, tmp_path).tool("no-such-client", "bun") is None


def test_a_tool_that_its_registry_does_not_know_is_the_projects_mistake(store: Store, tmp_path: Path) -> None:
    path = client(tmp_path / "bin", "cargo", "echo nothing of the kind")
    with pytest.raises(ConfigError, match="cargo knows no tool 'just'"):
        resolvers(store, tmp_path, path).tool("cargo", "just")


def test_a_client_that_fails_is_shown_with_its_last_words(store: Store, tmp_path: Path) -> None:
    path = client(tmp_path / "bin", "npm", "echo no route to the registry >&2; exit 3")
    with pytest.raises(RegistryError, match="npm view version ended with exit status 3") as caught:
        resolvers(store, tmp_path, path).tool("npm", "bun")
    assert caught.value.details == ("no route to the registry",)


def test_checking_asks_nobody(registry: MemoryRegistry, store: Store, tmp_path: Path) -> None:
    stale = StaleResolvers(resolvers(store, tmp_path))
    with pytest.raises(ConfigError, match=r"lamella\.lock is not up to date: base .* is not in it"):
        stale.base(two_platforms(registry), BOTH, look=())
    request = ResolveRequest(("idna",), (), "3.13", "linux/amd64", "manylinux_2_36", layer="deps")
    with pytest.raises(ConfigError, match="the packages of layer 'deps' for linux/amd64"):
        stale.wheels(request)
    with pytest.raises(ConfigError, match="tool uv:ruff has no version in it"):
        stale.tool("uv", "ruff")
    assert stale.tool("no-such-client", "bun") is None
    assert not registry.requests
