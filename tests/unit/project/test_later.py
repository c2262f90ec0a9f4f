"""Keys whose feature comes later are named and refused by what would use them, never ignored."""

from __future__ import annotations

import pytest

from lamella.errors import ConfigError
from lamella.project.later import later_features, refuse_later
from lamella.project.schema.reference import reference_page
from tests.unit.project.project_files import HEAD, IMAGE, load

TEXT = HEAD + IMAGE + (
    "ssh = []\n[layer.step]\nrun = ['a']\nssh = ['default']\nmissing = 'fail'\nwhen.profile.dev.services = ['db']\n"
    "add.services = ['db']\n[layer.pull]\nfrom = 'x'\nmissing = 'pull'\n[image.other]\nlayers = ['base', 'step']\n"
    "[image.other.healthcheck]\ncmd = ['a']\ndevice = 'cpu'\n[service.db]\nfrom = 'pg'\n[engine]\nname = 'local'\n"
    "[cache]\nstate = false\n"
)  # fmt: skip


def test_every_such_key_is_found_with_its_place() -> None:
    found = [(item.path, item.use, item.position.line) for item in later_features(load(TEXT))]
    assert found == [
        ("layer.step.ssh", "build", 11),
        ("layer.step.services", "build", 13),
        ("layer.step.services", "build", 14),
        ("layer.pull.missing", "build", 17),
        ("image.other.healthcheck.device", "run", 22),
        ("service.db", "service", 23),
    ]


def test_a_value_that_asks_for_nothing_and_a_value_that_works_are_not_later() -> None:
    assert later_features(load(HEAD + IMAGE + "missing = 'build'\nservices = []\n[engine]\nname = 'auto'\n")) == ()
    assert later_features(load(HEAD + IMAGE + "[engine]\nname = 'buildkit'\n")) == ()


def test_the_command_that_would_use_one_refuses() -> None:
    project = load(TEXT)
    with pytest.raises(ConfigError) as caught:
        refuse_later(project, "build")
    assert caught.value.exit_code == 2
    assert [item.line for item in caught.value.problems] == [11, 13, 14, 17]
    assert caught.value.problems[0].message == "layer.step.ssh: not yet: SSH agents in steps"
    assert caught.value.problems[0].hint == "see docs/reference/lamella-toml.md"


def test_what_the_command_does_not_touch_does_not_stop_it() -> None:
    project = load(TEXT)
    refuse_later(project, "plan")
    refuse_later(project, "build", layers=["base"])
    refuse_later(project, "run", images=["web"])
    with pytest.raises(ConfigError, match="device"):
        refuse_later(project, "run", images=["other"])
    with pytest.raises(ConfigError, match="not yet: pulling layers"):
        refuse_later(project, "build", layers=["pull"])


def test_a_key_without_effect_is_told_by_the_plan_and_refused_by_nothing() -> None:
    """``volatile``; the note is in tests/unit/stacks/cargo/test_lower.py, the row of the page is generated."""
    project = load(HEAD + IMAGE + "[layer.app]\n[layer.app.cargo]\nbin = 'app'\nvolatile = ['app']\n")
    assert later_features(project) == ()
    assert "such crates are reused as long as their inputs are equal; a plan says so" in reference_page()
