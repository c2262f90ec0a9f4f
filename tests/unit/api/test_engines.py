"""Which engine a session has, and what the command line says about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lamella.api.builders import check_builder
from lamella.api.options import EngineOptions, SessionOptions
from lamella.api.session import Session, open_session
from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.cli.options import engine_from
from lamella.errors import ConfigError

PROJECT = "[project]\nschema = 1\nname = 'p'\n[layer.base]\nbootstrap = 'debian/trixie'\n[image.p]\nlayers = ['base']\n"


@contextmanager
def session(
    folder: Path, options: EngineOptions, text: str = "", environ: Mapping[str, str] = EMPTY_MAP
) -> Iterator[Session]:
    """A session of a small project with these options."""
    (folder / "lamella.toml").write_text(PROJECT + text)
    plain = SessionOptions(store=folder / "store", docker_config=folder / "docker", environ=FrozenMap(dict(environ)))
    with open_session(None, folder, replace(plain, engine=options)) as opened:
        yield opened


@pytest.mark.parametrize(
    ("given", "written", "expected"),
    [
        ("", "", "auto"),
        ("", "[engine]\nname = 'buildkit'\n", "buildkit"),
        ("local", "[engine]\nname = 'buildkit'\n", "local"),
        ("buildkit", "[engine]\nname = 'local'\n", "buildkit"),
        ("auto", "[engine]\nname = 'local'\n", "auto"),
    ],
)
def test_who_asks_goes_before_what_the_project_says(given: str, written: str, expected: str, tmp_path: Path) -> None:
    with session(tmp_path, EngineOptions(given), written) as opened:
        assert opened.engine().name == expected


def test_an_unknown_engine_is_named_with_those_that_are(tmp_path: Path) -> None:
    with (
        session(tmp_path, EngineOptions("podman")) as opened,
        pytest.raises(ConfigError, match="no engine 'podman'") as caught,
    ):
        opened.engine()
    assert "auto, local, buildkit" in caught.value.hint


@pytest.mark.parametrize(
    ("flags", "environ", "expected"),
    [
        ({}, {}, EngineOptions()),
        (
            {},
            {"LAMELLA_ENGINE": "buildkit", "LAMELLA_BUILDER_NETWORK": "host"},
            EngineOptions("buildkit", network="host"),
        ),
        ({"engine": "local"}, {"LAMELLA_ENGINE": "buildkit"}, EngineOptions("local")),
        ({"builder": "fleet"}, {}, EngineOptions("buildkit", "fleet")),
        ({"builder": "fleet", "engine": "auto"}, {}, EngineOptions("auto", "fleet")),
        ({"allow_network": True, "emulate": True}, {}, EngineOptions(allow_network=True, emulate=True)),
    ],
)
def test_options_go_before_the_environment(
    flags: dict[str, object], environ: dict[str, str], expected: EngineOptions
) -> None:
    assert engine_from(flags, environ) == expected


def test_a_builder_for_the_engine_that_has_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="the local engine has none"):
        engine_from({"builder": "fleet", "engine": "local"}, {})


NAMED = {"BUILDX_BUILDER": "nobody"}
BUILDKIT = "[engine]\nname = 'buildkit'\n"


@pytest.mark.parametrize(
    ("options", "environ", "text"),
    [
        (EngineOptions("buildkit", "nobody"), {}, ""),
        (EngineOptions("auto", "nobody"), {}, ""),
        (EngineOptions("buildkit"), NAMED, ""),
        (EngineOptions(), NAMED, BUILDKIT),
    ],
)
def test_a_named_builder_that_is_not_there_is_said_before_anything_is_looked_for(
    options: EngineOptions, environ: Mapping[str, str], text: str, tmp_path: Path
) -> None:
    with session(tmp_path, options, text, environ) as opened:
        for act in (lambda: check_builder(opened), opened.engine):
            with pytest.raises(ConfigError, match="no builder 'nobody' found"):
                act()


@pytest.mark.parametrize(
    ("options", "environ"),
    [(EngineOptions(), NAMED), (EngineOptions("local"), NAMED), (EngineOptions("buildkit", "default"), {})],
)
def test_a_name_that_nobody_uses_is_not_looked_at(
    options: EngineOptions, environ: Mapping[str, str], tmp_path: Path
) -> None:
    with session(tmp_path, options, "", environ) as opened:
        check_builder(opened)
