"""The release record and its notes, descriptions of images, and device options."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from lamella.canonical import FrozenMap
from lamella.errors import StepError
from lamella.images.describe import describe, described_labels, index_annotations
from lamella.images.index import CellPlan, TagPlan, tag_plans
from lamella.images.publish import ImageState, PublishOutcome, Release, TagState
from lamella.images.push import Freight
from lamella.images.release import ReleaseFacts, notes_markdown, release_json
from lamella.oci import media
from lamella.oci.config import ImageConfig, RuntimeConfig
from lamella.oci.manifest import Descriptor, Manifest
from lamella.oci.platform import Platform
from lamella.project.delivery import DeviceSpec
from lamella.project.devices import device_of, docker_flags
from lamella.project.spec import ImageSpec, RunOptions
from lamella.testing.registry import MemoryRegistry
from tests.unit.images.publications import ARM64, Shop, cell, plan

REPOSITORY = "registry.example/acme/shop"
TITLE, VERSION = "org.opencontainers.image.title", "org.opencontainers.image.version"


def released(where: CellPlan) -> Release:
    with MemoryRegistry() as registry:
        return Shop(registry).release(where)


def outcome() -> tuple[PublishOutcome, ReleaseFacts]:
    """A cuda image that is there, and a cpu image for arm64 that failed."""
    good = plan(cell(accelerator="cuda"), REPOSITORY, ("{version}-{accelerator}",))
    bad = plan(cell(ARM64, accelerator="cpu"), REPOSITORY, ("{version}-{accelerator}",))
    release = released(good)
    there, lost = tag_plans((good, bad))
    images = (
        ImageState(good, "published", release),
        ImageState(bad, "failed", None, StepError("compile failed")),
    )
    tags = (
        TagState(there, "moved", release.descriptor.digest, "", "", ("linux/amd64",)),
        TagState(lost, "waiting", "", "", "linux/arm64 failed"),
    )
    spec = ImageSpec("shop", expose=("8080/tcp",), run=RunOptions(volumes=("data:/data",)), init=True)
    facts = ReleaseFacts("shop", "1.2.0", "c" * 40, specs=FrozenMap({good.where: spec}))
    return PublishOutcome(images, tags, Freight({"present": 1, "mounted": 0, "sent": 2}, 300)), facts


def test_the_record_has_what_programs_need() -> None:
    found, facts = outcome()
    record: dict[str, Any] = json.loads(json.dumps(release_json(facts, found)))
    good, bad = record["images"]
    assert good["pull"] == f"docker pull {REPOSITORY}:1.2.0-cuda"
    assert good["run"] == (
        "docker run --rm --gpus all --publish 8080:8080 --volume data:/data --init " + f"{REPOSITORY}:1.2.0-cuda"
    )
    assert good["size"] == sum(layer["size"] for layer in good["layers"])
    assert (bad["state"], bad["error"], bad["allowed_to_fail"]) == ("failed", "compile failed", False)
    assert (record["complete"], record["releasable"]) == (False, False)
    assert release_json(replace(facts, require="any"), found)["releasable"]
    assert record["transfer"] == {"present": 1, "mounted": 0, "sent": 2, "bytes": 300, "blobs": []}


def test_the_notes_say_what_is_there_how_to_run_it_and_what_is_not() -> None:
    found, facts = outcome()
    notes = notes_markdown(replace(facts, notes=("not signed: cosign is not on PATH",), unchecked=("smoke",)), found)
    for text in (
        "# shop 1.2.0",
        f"docker pull {REPOSITORY}:1.2.0-cuda",
        "--gpus all",
        "Needs: an NVIDIA GPU",
        "## Not released",
        "compile failed",
        "linux/arm64 failed",
        "gate `smoke` did not run",
        "not signed",
    ):
        assert text in notes


def test_notes_of_a_promotion_list_its_tags() -> None:
    (tag,) = tag_plans((plan(cell(), REPOSITORY, ("latest",)),))
    moved = PublishOutcome((), (TagState(tag, "moved", f"sha256:{'a' * 64}"),))
    assert f"| `{REPOSITORY}:latest` | `{'a' * 12}` |" in notes_markdown(ReleaseFacts("shop"), moved)


def config(**labels: str) -> ImageConfig:
    runtime = RuntimeConfig(labels=FrozenMap(labels))
    return ImageConfig(Platform("linux", "amd64"), runtime, (f"sha256:{'1' * 64}",))


def manifest() -> Manifest:
    layer = Descriptor(media.LAYER_GZIP, f"sha256:{'2' * 64}", 5)
    return Manifest(Descriptor(media.IMAGE_CONFIG, f"sha256:{'3' * 64}", 5), (layer,))


def test_own_labels_win_and_those_of_the_specification_become_annotations() -> None:
    labels = described_labels(title="shop", version="1.2.0", base=("debian:12", f"sha256:{'4' * 64}"))
    own = {TITLE: "The shop", "team": "blue"}
    made = describe(manifest(), config(**own), labels, tuple(own))
    assert dict(made.manifest.annotations) == {
        TITLE: "The shop",
        VERSION: "1.2.0",
        "org.opencontainers.image.base.name": "debian:12",
        "org.opencontainers.image.base.digest": f"sha256:{'4' * 64}",
    }
    found = json.loads(made.config)["config"]["Labels"]
    assert (found["team"], found[TITLE], found[VERSION]) == ("blue", "The shop", "1.2.0")
    assert made.manifest.config.size == len(made.config)


def test_what_the_base_says_of_itself_is_not_said_of_the_image() -> None:
    base = {TITLE: "debian", VERSION: "12", "org.opencontainers.image.source": "https://base.example"}
    made = describe(manifest(), config(**base), {TITLE: "shop"})
    assert dict(made.manifest.annotations) == {TITLE: "shop"}
    assert json.loads(made.config)["config"]["Labels"] == {**base, TITLE: "shop"}


def test_an_index_says_what_all_of_its_platforms_say() -> None:
    one, two = (
        describe(manifest(), config(), {TITLE: "shop", "org.opencontainers.image.base.name": name}).manifest
        for name in ("a", "b")
    )
    assert dict(index_annotations((one, two))) == {TITLE: "shop"}


@pytest.mark.parametrize(
    ("value", "own", "flags"),
    [
        ("cuda", {}, ("--gpus", "all")),
        ("vulkan", {}, ("--device", "/dev/dri", "--group-add", "video")),
        ("cuda", {"cuda": DeviceSpec(gpus="device=0")}, ("--gpus", "device=0")),
        ("fpga", {"fpga": DeviceSpec(devices=("/dev/fpga0",))}, ("--device", "/dev/fpga0")),
    ],
)
def test_device_options(value: str, own: dict[str, DeviceSpec], flags: tuple[str, ...]) -> None:
    device = device_of(value, FrozenMap(own))
    assert device is not None
    assert docker_flags(device) == flags


def test_what_is_no_device_has_no_options() -> None:
    assert device_of("cpu", FrozenMap()) is None
    assert isinstance(tag_plans((plan(cell(), REPOSITORY),))[0], TagPlan)
