"""``when``, ``add`` and ``extends``: what holds in which cell."""

from __future__ import annotations

import pytest

from lamella.project.spec import BaseSpec, CargoSpec, RunSpec
from tests.unit.project.project_files import HEAD, expanded, hints, load, problems

AXES = '[axes]\naccelerator = ["cpu", "cuda", "rocm"]\n'
WEB = HEAD + AXES + '[image.web]\nlayers = ["base"]\ntags = ["{accelerator}"]\n[layer.base]\n'  # line 10 follows


def base(text: str, *, accelerator: str = "cpu", profile: str = "dev") -> BaseSpec:
    spec = expanded(WEB + text, accelerator=accelerator, profile=profile).layer("base").spec
    assert isinstance(spec, BaseSpec)
    return spec


def test_tables_merge_and_lists_and_scalars_replace() -> None:
    text = (
        "from = 'a'\napt = ['x']\nenv = { A = '1', B = '2' }\n"
        "[layer.base.when.accelerator.cuda]\nfrom = 'b'\napt = ['y']\nenv = { B = '3', C = '4' }\n"
    )
    assert base(text, accelerator="cpu").from_ == "a"
    cuda = expanded(WEB + text, accelerator="cuda").layer("base")
    assert dict(cuda.env) == {"A": "1", "B": "3", "C": "4"}
    assert cuda.spec == BaseSpec(from_="b", apt=("y",))


def test_one_key_names_several_values() -> None:
    text = "from = 'a'\nwhen.accelerator.'cuda|rocm'.apt = ['gpu']\n"
    assert [base(text, accelerator=value).apt for value in ("cpu", "cuda", "rocm")] == [(), ("gpu",), ("gpu",)]


def test_add_appends_also_in_nested_tables_and_where_nothing_was() -> None:
    text = "from = 'a'\napt = ['x']\nadd.apt = ['y']\nwhen.profile.prod.add = { apt = ['z'], dnf = ['d'] }\n"
    assert base(text).apt == ("x", "y")
    assert base(text, profile="prod").apt == ("x", "y", "z")
    assert base(text, profile="prod").dnf == ("d",)
    cargo = (
        "[layer.base.cargo]\nbin = 'a'\nfeatures = ['f']\n[layer.base.when.profile.prod]\nadd.cargo.features = ['g']\n"
    )
    spec = expanded(WEB + cargo, profile="prod").layer("base").spec
    assert isinstance(spec, CargoSpec)
    assert spec.features == ("f", "g")


def test_add_to_a_bare_command_makes_two() -> None:
    text = WEB + "from = 'a'\n[layer.step]\nrun = ['make']\nadd.run = [['make', 'install']]\n"
    spec = expanded(text.replace('["base"]', '["base", "step"]')).layer("step").spec
    assert spec == RunSpec((("make",), ("make", "install")))


def test_the_deeper_when_wins_wherever_it_is_written() -> None:
    text = (
        "when.accelerator.cuda.when.profile.prod.from = 'deep'\n"
        "when.profile.prod.from = 'prod'\nwhen.profile.dev.from = 'dev'\n"
    )
    assert base(text, accelerator="cuda", profile="prod").from_ == "deep"
    assert base(text, accelerator="cpu", profile="prod").from_ == "prod"
    assert base(text, accelerator="cuda", profile="dev").from_ == "dev"


def test_a_deeper_list_takes_what_a_shallower_add_appended() -> None:
    text = (
        "from = 'a'\napt = ['x']\nwhen.profile.dev.add.apt = ['y']\nwhen.profile.dev.when.accelerator.cpu.apt = ['z']\n"
    )
    assert base(text).apt == ("z",)


def test_equal_depth_and_different_values_is_an_error_at_the_second() -> None:
    text = WEB + "from = 'a'\nwhen.accelerator.cuda.apt = ['x']\nwhen.profile.dev.apt = ['y']\n"
    (found,) = problems(text)
    assert found.startswith("12:24: apt differs between when.accelerator.cuda and when.profile.dev, and both hold in ")
    assert "accelerator=cuda,profile=dev" in found
    assert hints(text) == ["say which one counts: when.accelerator.cuda.when.profile.dev.apt"]


def test_equal_depth_with_equal_values_or_in_other_cells_is_none() -> None:
    same = "from = 'a'\nwhen.accelerator.cuda.apt = ['x']\nwhen.profile.dev.apt = ['x']\n"
    assert base(same, accelerator="cuda").apt == ("x",)
    excluded = "[cells]\nexclude = [{ accelerator = 'cuda', profile = 'dev' }]\n"
    apart = "from = 'a'\nwhen.accelerator.cuda.apt = ['x']\nwhen.profile.dev.apt = ['y']\n"
    assert problems(WEB + apart + excluded) == []


def test_equal_depth_conflicts_are_seen_inside_tables_and_between_keys_that_exclude_each_other() -> None:
    nested = "from = 'a'\nwhen.accelerator.cuda.env.A = '1'\nwhen.profile.dev.env = { A = '2' }\n"
    assert problems(WEB + nested)[0].startswith("12:30: env.A differs between")
    other = "when.accelerator.cuda.from = 'x'\nwhen.profile.dev.bootstrap = 'debian/bookworm'\napt = ['y']\n"
    assert problems(WEB + other)[0].startswith("11:30: bootstrap differs between")


def test_a_key_takes_away_the_one_it_excludes() -> None:
    text = "from = 'a'\nwhen.accelerator.cuda.bootstrap = 'debian/bookworm'\n"
    assert base(text, accelerator="cuda") == BaseSpec(bootstrap="debian/bookworm")
    health = HEAD + (
        "[image.a]\nlayers = ['l']\nhealthcheck = { http = '/x', interval = '9s' }\n"
        "[image.web]\nextends = 'a'\nhealthcheck = { cmd = ['true'] }\n[layer.l]\nfrom = 'a'\n"
    )
    check = expanded(health).image("web").healthcheck
    assert check is not None
    assert (check.http, check.cmd, check.interval) == (None, ("true",), 9)


def test_a_kind_may_come_from_when_as_long_as_each_cell_has_one() -> None:
    text = WEB + "when.profile.dev.run = ['a']\nwhen.profile.prod.files = [{ from = 'a' }]\n"
    text = text.replace('layers = ["base"]', 'layers = ["root", "base"]') + "[layer.root]\nfrom = 'a'\n"
    assert problems(text) == []
    assert expanded(text, profile="prod").layer("base").kind == "files"


def test_extends_is_resolved_in_each_cell_and_leaves_tags_and_cells() -> None:
    text = HEAD + AXES + (
        "[layer.l]\nfrom = 'a'\n"
        "[image.a]\nlayers = ['l']\ncells = { accelerator = 'cpu' }\nenv = { X = 'a' }\ntags = ['a-{accelerator}']\n"
        "expose = [80]\nwhen.accelerator.cuda.env = { GPU = '1' }\n"
        "[image.b]\nextends = 'a'\nadd.expose = [81]\nenv = { Y = 'b' }\ntags = ['b-{accelerator}']\n"
        "[image.web]\nextends = 'b'\ntags = ['c-{accelerator}']\nwhen.profile.prod.expose = [99]\n"
    )  # fmt: skip
    image = expanded(text, accelerator="cuda").image("web")
    assert image.layers == ("l",)
    assert dict(image.env) == {"X": "a", "GPU": "1", "Y": "b"}
    assert image.expose == ("80/tcp", "81/tcp")
    assert image.tags == ()
    prod = expanded(text, accelerator="cuda", profile="prod").image("web")
    assert (prod.tags, prod.expose) == (("c-cuda",), ("99/tcp",))
    assert len([cell for cell in load(text).cells() if cell.image == "web"]) == 6
    assert image.position.line == 20


def test_base_keys_may_stand_in_a_table_of_their_own() -> None:
    text = "[layer.base.base]\nfrom = 'a'\napt = ['x']\n[layer.base.when.accelerator.cuda.base]\napt = ['y']\n"
    assert base(text, accelerator="cuda") == BaseSpec(from_="a", apt=("y",))
    twice = WEB + "from = 'a'\n[layer.base.base]\nfrom = 'b'\n"
    assert problems(twice) == ["12:1: layer.base.from is written twice, here and in line 10"]


@pytest.mark.parametrize(
    ("profile", "expected"),
    [("dev", ("x-dev", "y-dev")), ("prod", ("x", "z"))],
)
def test_tags_of_dev_cells_are_those_under_when_profile_dev(profile: str, expected: tuple[str, ...]) -> None:
    text = HEAD + (
        "[layer.l]\nfrom = 'a'\n[image.web]\nlayers = ['l']\ntags = ['x']\nadd.tags = ['z']\n"
        "when.profile.dev = { tags = ['x-dev'], add = { tags = ['y-dev'] } }\n"
    )
    assert expanded(text, profile=profile).image("web").tags == expected
