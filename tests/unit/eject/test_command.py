"""``lamella eject`` on a project of files: what is written, shown, compared and refused."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Cli, cache, cli, project

__all__ = ["cache", "cli", "project"]

PROJECT = """
[project]
schema = 1
name = "shop"
version = "1.2.0"
repository = "registry.example/acme/shop"

[layer.base]
from = "scratch"

[layer.conf]
files = [{ from = "conf", to = "/etc/shop" }]

[image.shop]
layers = ["base", "conf"]
cmd = ["/x"]
tags = ["{version}", "latest"]
expose = [8080]

[image.shop.run]
volumes = ["./data:/data"]
env = { HERE = "{cwd}" }
"""


@pytest.fixture
def shop(project: Path) -> Path:
    """A project of files alone."""
    (project / "lamella.toml").write_text(PROJECT)
    (project / "conf").mkdir()
    (project / "conf" / "a.txt").write_text("a\n")
    return project


def names(folder: Path) -> set[str]:
    """Files of a folder that are none of the project's own."""
    return {path.name for path in folder.iterdir()} - {"lamella.toml", "conf"}


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        ("dockerfile", {"Dockerfile", "Dockerfile.dockerignore"}),
        ("bake", {"docker-bake.hcl", "Dockerfile", "Dockerfile.dockerignore"}),
        ("compose", {"compose.yaml", "compose.prod.yaml", "Dockerfile", "Dockerfile.dockerignore"}),
        ("script", {"build.sh", "Dockerfile", "Dockerfile.dockerignore"}),
        ("builder", {"builder.sh"}),
        (
            "makefile",
            {
                "Makefile",
                "docker-bake.hcl",
                "compose.yaml",
                "compose.prod.yaml",
                "Dockerfile",
                "Dockerfile.dockerignore",
            },
        ),
    ],
)
def test_a_kind_comes_with_what_it_stands_on(cli: Cli, shop: Path, kind: str, files: set[str]) -> None:
    outcome = cli("eject", kind)
    assert outcome.code == 0
    assert names(shop) == files
    assert {Path(line.split()[-1]).name for line in outcome.out.splitlines()} == files


def test_a_second_time_changes_nothing(cli: Cli, shop: Path) -> None:
    cli("eject", "bake")
    before = {name: (shop / name).stat().st_mtime_ns for name in names(shop)}
    outcome = cli("eject", "bake", "--format", "json")
    assert {row["state"] for row in json.loads(outcome.out)["files"]} == {"unchanged"}
    assert {name: (shop / name).stat().st_mtime_ns for name in names(shop)} == before


def test_a_file_of_somebody_is_not_replaced(cli: Cli, shop: Path) -> None:
    (shop / "Dockerfile").write_text("FROM mine\n")
    outcome = cli("eject", "bake")
    assert outcome.code == 2
    assert "Dockerfile in" in outcome.err
    assert "--force" in outcome.err
    assert names(shop) == {"Dockerfile"}, "nothing is written where one file is in the way"
    outcome = cli("eject", "bake", "--force", "--format", "json")
    states = {Path(row["path"]).name: row["state"] for row in json.loads(outcome.out)["files"]}
    assert states["Dockerfile"] == "replaced"
    assert states["docker-bake.hcl"] == "written"
    assert "FROM mine" not in (shop / "Dockerfile").read_text()


def test_check_says_what_has_drifted(cli: Cli, shop: Path) -> None:
    outcome = cli("eject", "dockerfile", "--check")
    assert outcome.code == 1
    assert outcome.out.count("missing") == 2
    cli("eject", "dockerfile")
    assert cli("eject", "dockerfile", "--check").code == 0
    (shop / "lamella.toml").write_text(PROJECT.replace("/x", "/y"))
    outcome = cli("eject", "dockerfile", "--check", "--format", "json")
    assert outcome.code == 1
    found = json.loads(outcome.out)
    assert found["drift"] is True
    assert [(Path(row["path"]).name, row["state"]) for row in found["files"]] == [("Dockerfile", "differs")]
    assert 'CMD ["/x"]' in (shop / "Dockerfile").read_text(), "a check writes nothing"


def test_standard_output_is_the_one_file(cli: Cli, shop: Path) -> None:
    outcome = cli("eject", "dockerfile", "-o", "-")
    assert outcome.out.startswith("# Images of shop")
    assert outcome.out.endswith('CMD ["/x"]\n')
    assert "Dockerfile.dockerignore" in outcome.err
    assert not names(shop)
    assert cli("eject", "dockerfile", "-o", "-", "--check").code == 2


def test_files_of_another_folder_point_back_to_the_project(cli: Cli, shop: Path) -> None:
    assert cli("eject", "makefile", "--output", "deploy/docker").code == 0
    folder = shop / "deploy" / "docker"
    assert 'context    = "../.."' in (folder / "docker-bake.hcl").read_text()
    assert 'dockerfile = "deploy/docker/Dockerfile"' in (folder / "docker-bake.hcl").read_text()
    compose = (folder / "compose.yaml").read_text()
    assert 'context: "../.."' in compose
    assert '- "../../data:/data"' in compose
    assert 'HERE: "${PWD}"' in compose
    assert "docker buildx build --file deploy/docker/Dockerfile" in (folder / "Dockerfile").read_text()
    assert names(shop) == {"deploy"}


def test_tags_follow_the_version(cli: Cli, shop: Path) -> None:
    text = cli("eject", "bake", "-o", "-").out
    assert 'default = "1.2.0"' in text
    assert '"registry.example/acme/shop:${VERSION}",' in text
    assert '"registry.example/acme/shop:latest",' in text
    assert 'tags     = ["shop/shop:dev"]' in text


def test_one_profile_can_be_asked_for(cli: Cli, shop: Path) -> None:
    cli("eject", "compose", "--prod")
    assert "compose.yaml" not in names(shop)
    assert "restart: unless-stopped" in (shop / "compose.prod.yaml").read_text()


def test_a_script_can_be_started(cli: Cli, shop: Path) -> None:
    cli("eject", "script")
    assert stat.S_IMODE((shop / "build.sh").stat().st_mode) & 0o100


def test_a_single_file_has_nothing_beside_it(cli: Cli, shop: Path) -> None:
    assert cli("eject", "dockerfile", "shop", "--monolithic").code == 0
    assert names(shop) == {"Dockerfile"}


def test_an_unknown_image_is_named_with_the_nearest(cli: Cli, shop: Path) -> None:
    outcome = cli("eject", "dockerfile", "shoop")
    assert outcome.code == 2
    assert "shop" in outcome.err


def test_a_control_character_ends_with_nine(cli: Cli, shop: Path) -> None:
    (shop / "lamella.toml").write_text(
        PROJECT.replace("expose", 'defaults = { as = "env", values = { A = "a\\nb" } }\nexpose')
    )
    outcome = cli("eject", "dockerfile")
    assert outcome.code == 9
    assert "U+000A" in outcome.err
    assert not names(shop)
