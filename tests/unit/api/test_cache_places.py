"""Which cache repositories a run reads and writes, by project, options, channel and surroundings."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamella.api.cache import cache_places
from lamella.api.options import SessionOptions
from lamella.canonical import FrozenMap
from lamella.errors import ConfigError
from lamella.project.load import parse_project

HEAD = '[project]\nschema = 1\nname = "shop"\n'
REPOSITORY = 'repository = "registry.example/acme/shop"\n'
REST = """
[layer.conf]
files = [{ from = "conf", to = "/etc/app" }]

[image.shop]
layers = ["conf"]

[channel.stable]
on = ["tag:v{version}"]
trust = "release"

[channel.nightly]
on = ["manual"]

[channel.wrong]
on = ["manual"]
trust = "root"
"""


def places(toml: str, trust: str = "", **options: object) -> tuple[list[str], str]:
    project = parse_project((toml + REST).encode(), file="lamella.toml")
    environ = FrozenMap({"LAMELLA_TRUST": trust, "USER": "ann"} if trust else {"USER": "ann"})
    found = cache_places(project, SessionOptions(Path("/nowhere"), environ=environ, **options))  # type: ignore[arg-type]
    return [str(place) for place in found.readers], str(found.writer or "")


OWN = "registry.example/acme/shop-cache"


def test_a_project_without_repository_has_none() -> None:
    assert places(HEAD) == ([], "")


def test_the_projects_repository_with_a_suffix_is_the_default() -> None:
    assert places(HEAD + REPOSITORY, "release") == ([OWN], OWN)


def test_the_cache_table_says_another_one() -> None:
    toml = HEAD + REPOSITORY + '[cache]\nrepository = "registry.example/acme/other"\n'
    assert places(toml, "branch") == (
        ["registry.example/acme/other", "registry.example/acme/other-branch"],
        "registry.example/acme/other-branch",
    )


def test_a_repository_that_differs_by_cell_gives_no_default() -> None:
    assert places(HEAD + 'repository = "registry.example/acme/shop-{profile}"\n', "release") == ([], "")


def test_options_add_readers_and_name_the_writer() -> None:
    readers, writer = places(
        HEAD + REPOSITORY, "release", cache_from=("r.example/a",), cache_to="type=registry,ref=r.example/b"
    )
    assert readers == [OWN, "r.example/a", "r.example/b"]
    assert writer == "r.example/b"


@pytest.mark.parametrize(
    ("channel", "trust", "writer"),
    [
        ("stable", "", OWN),
        ("stable", "branch", f"{OWN}-branch"),
        ("nightly", "", f"{OWN}-person"),
        ("", "", f"{OWN}-person"),
    ],
)
def test_a_channels_trust_counts_unless_the_environment_says_another(channel: str, trust: str, writer: str) -> None:
    assert places(HEAD + REPOSITORY, trust, channel=channel)[1] == writer


@pytest.mark.parametrize("channel", ["wrong", "absent"])
def test_a_channel_that_makes_no_sense_is_refused(channel: str) -> None:
    with pytest.raises(ConfigError):
        places(HEAD + REPOSITORY, channel=channel)
