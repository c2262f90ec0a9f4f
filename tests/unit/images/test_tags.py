"""Which tags an image gets, and which of them may move."""

from __future__ import annotations

import pytest

from lamella.canonical import FrozenMap
from lamella.errors import ConfigError
from lamella.images.tags import HeldTag, held_tags, is_prerelease, wanted_tags
from lamella.project.delivery import ChannelSpec
from lamella.project.spec import ImageSpec
from lamella.project.template import Scope, TemplateFacts, parse_template, platform_variables, render

NOON = 1_769_774_400  # 2026-01-30


def scope(version: str | None = "1.2.0", **args: str) -> Scope:
    facts = TemplateFacts(version, "0" * 40, NOON)
    axes = FrozenMap({"accelerator": "cpu", "profile": "prod", "platform": "linux/arm64"})
    return Scope(facts, axes, FrozenMap(args))


def image(*templates: str, given: Scope | None = None) -> ImageSpec:
    parsed = {str(render(parse_template(text), given or scope())): parse_template(text) for text in templates}
    single = tuple(tag for tag, template in parsed.items() if platform_variables(template))
    return ImageSpec("shop", tags=tuple(parsed), manifest_tags=single, tag_templates=FrozenMap(parsed))


def held(templates: tuple[str, ...], published: list[str], given: Scope | None = None) -> list[str]:
    given = given or scope()
    return [item.tag for item in held_tags(wanted_tags(image(*templates, given=given), given), given, published)]


def test_a_tag_of_the_platform_names_one_manifest() -> None:
    found = wanted_tags(image("{version}-{accelerator}-{arch}", "latest-{accelerator}"), scope())
    assert [(tag.tag, tag.single) for tag in found] == [("1.2.0-cpu-arm64", True), ("latest-cpu", False)]


@pytest.mark.parametrize(
    ("published", "stays"),
    [
        ([], False),
        (["1.1.0-cpu", "1.2.0-cpu", "latest-cpu"], False),
        (["1.3.0-cpu"], True),
        (["1.10.0-cpu"], True),
        (["1.3.0-cuda"], False),  # another variant's
        (["1.3.0-rc.1-cpu"], False),  # no release yet
        (["nightly-cpu", "9-cpu-debug"], False),
    ],
)
def test_latest_moves_only_with_the_newest_version(published: list[str], stays: bool) -> None:
    assert held(("{version}-{accelerator}", "latest-{accelerator}"), published) == (["latest-cpu"] if stays else [])


def test_a_shorter_version_belongs_to_the_newest_of_its_own() -> None:
    templates = ("{version}", "{major}.{minor}", "{major}", "latest")
    assert held(templates, ["1.2.7", "1.3.0", "2.0.0"]) == ["1.2", "1", "latest"]
    assert held(templates, ["1.1.9", "2.0.0"]) == ["latest"]


def test_a_prerelease_takes_no_tag_from_a_release() -> None:
    templates = ("{version}", "latest")
    assert held(templates, ["1.9.0"], scope("2.0.0-rc.1")) == ["latest"]
    assert held(templates, ["2.0.0-rc.1"], scope("2.0.0-rc.2")) == []
    assert held(templates, ["2.0.0-rc.2"], scope("1.9.1")) == []


def test_the_version_of_a_base_image_may_be_an_argument() -> None:
    templates = ("base-{args.base}", "base-latest", "base-rust{args.rust}", "base-{date:%Y.%m.%d}")
    given = scope(None, base="3.1.0", rust="1.92")
    tags = wanted_tags(image(*templates, given=given), given)
    assert [tag.tag for tag in tags] == ["base-3.1.0", "base-latest", "base-rust1.92", "base-2026.01.30"]
    assert held(templates, ["base-3.1.0", "base-2026.02.28", "base-rust1.93"], given) == []
    assert held_tags(tags, given, ["base-3.2.0"]) == (
        HeldTag("base-latest", "3.2.0"),
        HeldTag("base-rust1.92", "3.2.0"),
    )


def test_without_a_version_nothing_is_newer() -> None:
    assert held(("latest", "edge-{commit}"), ["latest", "1.0.0"], scope(None)) == []


def test_a_channel_adds_its_tags_and_keeps_stable_ones_from_prereleases() -> None:
    channel = ChannelSpec((), tags=(parse_template("ci-{commit}"),), stable_tags=("stable",))
    own = image("{version}")
    assert [tag.tag for tag in wanted_tags(own, scope(), channel)] == ["1.2.0", f"ci-{'0' * 40}", "stable"]
    assert [tag.tag for tag in wanted_tags(own, scope(), channel, prerelease=True)] == ["1.2.0", f"ci-{'0' * 40}"]


def test_build_metadata_becomes_a_legal_tag() -> None:
    channel = ChannelSpec((), tags=(parse_template("v{version}"),))
    assert wanted_tags(ImageSpec("shop"), scope("1.2.0+7"), channel)[0].tag == "v1.2.0-7"


def test_a_channels_tag_without_a_value_is_an_error() -> None:
    channel = ChannelSpec((), tags=(parse_template("v{version}"),))
    with pytest.raises(ConfigError, match="version"):
        wanted_tags(ImageSpec("shop"), scope(None), channel)
    with pytest.raises(ConfigError, match="no tag"):
        wanted_tags(ImageSpec("shop"), scope(), ChannelSpec((), tags=("a b",)))


@pytest.mark.parametrize(
    ("version", "expected"),
    [("1.0.0", False), ("1.0.0-rc.1", True), ("1.0rc1", True), ("v2.0-beta", True), ("2026.1.30", False)],
)
def test_prereleases(version: str, expected: bool) -> None:
    assert is_prerelease(version) is expected
