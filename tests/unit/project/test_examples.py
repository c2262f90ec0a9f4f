"""The five complete project files: they parse, validate, and expand to their cells without a tag clash."""

from __future__ import annotations

import json
import tomllib

import jsonschema  # type: ignore[import-untyped]
import pytest

from lamella.canonical import canonical_json
from lamella.project.expand import expand
from lamella.project.later import later_features
from lamella.project.schema.json_schema import json_schema
from lamella.project.select import select_cells
from lamella.project.spec import BaseSpec, CargoSpec, PythonSpec
from lamella.project.template import Deferred
from tests.unit.project.project_files import EXAMPLES, FACTS, example, first_cell

CELLS = {"A": 10, "B": 26, "C": 4, "D": 24, "E": 18}


@pytest.mark.parametrize("letter", CELLS)
def test_a_file_has_its_cells_and_each_expands(letter: str) -> None:
    project = example(letter)
    cells = project.cells()
    assert len(cells) == CELLS[letter]
    assert len(set(cells)) == len(cells)
    written: dict[tuple[str | None, str], set[object]] = {}
    for item in cells:
        spec = expand(project, cell=item.cell, facts=FACTS, images=(item.image,))
        image = spec.image(item.image)
        assert [name for name in image.layers if name not in {layer.name for layer in spec.layers}] == []
        canonical_json((spec.layers, image.env, image.labels))
        for tag in image.tags:
            owner = (item.image, item.cell.without("platform"))
            written.setdefault((image.repository, tag), set()).add(owner)
    assert {tag: owners for tag, owners in written.items() if len(owners) > 1} == {}


def test_all_cells_together() -> None:
    assert sum(len(example(letter).cells()) for letter in "ABCDE") == 82


@pytest.mark.parametrize("letter", CELLS)
def test_the_json_schema_accepts_it(letter: str) -> None:
    (path,) = EXAMPLES.glob(f"{letter}-*.toml")
    validator = jsonschema.Draft202012Validator(json_schema())
    found = [error.message for error in validator.iter_errors(tomllib.loads(path.read_text()))]
    assert found == []


@pytest.mark.parametrize(
    ("letter", "image", "axes", "expected"),
    [
        ("A", "desk", {"profile": "prod", "accelerator": "vulkan"}, ("1.4.0-vulkan",)),
        ("A", "desk", {}, ()),
        ("B", "desk", {"accelerator": "musa"}, ("1.4.0-musa-development", "latest-musa-development")),
        ("B", "multi-tenant", {"profile": "prod"}, ("1.4.0-multi-tenant", "latest-multi-tenant")),
        ("C", "ui", {"profile": "prod"}, ("ui-1.4.0", "ui-latest")),
        ("D", "base", {"profile": "prod"}, ("cpu-base-amd64-1.4.0", "cpu-base-amd64-latest")),
        ("D", "base", {"accelerator": "cuda"}, ()),
        (
            "D",
            "app",
            {"profile": "prod", "platform": "linux/arm64"},
            ("1.4.0-cpu-arm64", "latest-cpu-arm64", "1.4.0-cpu", "latest-cpu"),
        ),
        (
            "D",
            "app",
            {"profile": "prod", "accelerator": "rocm"},
            ("1.4.0-rocm-amd64", "rocm-amd64", "1.4.0-rocm", "rocm-latest"),
        ),
        (
            "E",
            "base",
            {"distro": "fedora"},
            ("base-fedora-3.1.0", "base-fedora-latest", "base-fedora-rust1.95", "base-fedora-2026.01.01"),
        ),
        ("E", "forge", {"distro": "opensuse"}, ("v3-opensuse-dev",)),
        ("E", "forge", {"profile": "prod"}, ("1.4.0-ubuntu", "1.4-ubuntu")),
    ],
)
def test_tags_of_a_cell(letter: str, image: str, axes: dict[str, str], expected: tuple[str, ...]) -> None:
    project = example(letter)
    cell = first_cell(project, image, **axes)
    assert expand(project, cell=cell, facts=FACTS, images=(image,)).image(image).tags == expected


def test_the_ubuntu_base_has_eight_tags() -> None:
    project = example("E")
    found = expand(project, cell=first_cell(project, "base"), facts=FACTS, images=("base",)).image("base")
    assert found.tags[4:] == ("base-3.1.0", "base-latest", "base-rust1.95", "base-2026.01.01")
    assert found.manifest_tags == ()


def test_a_variant_matrix_merges_defaults_per_accelerator() -> None:
    project = example("B")
    cell = first_cell(project, "desk", accelerator="rocm", profile="prod")
    image = expand(project, cell=cell, facts=FACTS, images=("desk",)).image("desk")
    assert image.defaults is not None
    values = image.defaults.values
    assert values["DESK_SERVER_ARGS"] == "--jinja --no-webui --keep 24"
    assert values["DESK_EXEC_VARIANTS"] == "rocm,cpu"
    assert values["DESK_EXEC_TARGET"] == "x86_64-unknown-linux-gnu"
    assert (values["DESK_VERSION"], values["DESK_COMMIT_SHA"], values["DESK_PORT"]) == ("1.4.0", "abc1234", 8080)
    assert image.healthcheck is not None
    assert (image.healthcheck.device, image.healthcheck.port) == ("rocm", 8080)


def test_an_extended_image_keeps_what_it_does_not_say() -> None:
    project = example("B")
    cell = first_cell(project, "multi-tenant")
    image = expand(project, cell=cell, facts=FACTS, images=("multi-tenant",)).image("multi-tenant")
    assert image.layers == ("slim", "app")
    assert dict(image.env) == {"RUST_LOG": "debug"}
    assert (image.user, image.expose, image.run.ports) == ("serve", ("1135/tcp",), ("1135:1135",))
    assert image.defaults is not None
    assert image.defaults.file == "/app/defaults.yaml"
    assert image.defaults.values["DESK_DEPLOYMENT"] == "multi_tenant"
    assert image.defaults.values["DESK_EXEC_VARIANTS"] == "cpu"


def test_one_binary_for_all_accelerators_and_features_by_profile() -> None:
    project = example("A")
    apps = {
        (cell.cell.profile, cell.cell.platform): expand(project, cell=cell.cell, facts=FACTS).layer("app")
        for cell in select_cells(project, all=True)
    }
    assert len(set(apps.values())) == 4
    spec = apps["prod", "linux/arm64"].spec
    assert isinstance(spec, CargoSpec)
    assert (spec.features, spec.profile) == (("production",), "release")
    assert apps["dev", "linux/arm64"].env["CI_BUILD_TARGET"] == "aarch64-unknown-linux-gnu"


def test_python_sets_per_accelerator_and_platform() -> None:
    project = example("D")
    cell = first_cell(project, "app", platform="linux/arm64")
    spec = expand(project, cell=cell, facts=FACTS).layer("ml").spec
    assert isinstance(spec, PythonSpec)
    assert spec.requirements == ("requirements/base-ml.txt", "requirements/cpu-arm64.txt")
    assert (spec.indexes, spec.lock, spec.python) == ((), "requirements/lock/cpu-arm64.txt", "3.10")
    app = expand(project, cell=cell, facts=FACTS).image("app")
    assert isinstance(app.env["PATH"], Deferred)
    assert app.run.volumes == (".:/workspace:ro", "finder_user_1000:/data")


def test_distributions_of_a_base_family_follow_arguments() -> None:
    project = example("E")
    cell = first_cell(project, "base", distro="fedora")
    spec = expand(project, cell=cell, args={"fedora": "43"}, facts=FACTS).layer("system").spec
    assert isinstance(spec, BaseSpec)
    assert spec.from_ == "fedora:43"
    (need,) = expand(project, cell=cell, facts=FACTS).layer("rust").needs
    assert (need.layer, len(need.paths)) == ("toolchain", 2)


def test_what_comes_later_is_named_not_ignored() -> None:
    tables = {letter: {item.path.split(".")[0] for item in later_features(example(letter))} for letter in "ABCDE"}
    assert tables == {
        "A": {"check"},
        "B": {"image", "device", "generate", "service", "ci"},
        "C": {"service", "generate", "check", "bench"},
        "D": {"layer", "check", "ci", "bench"},
        "E": {"check", "cycle", "ci"},
    }


def test_tables_of_later_features_are_typed_already() -> None:
    b, c, e = (example(letter).delivery for letter in "BCE")
    assert b.device["cuda"].probe == ("nvidia-smi", "-L")
    assert b.channel["main"].publish is False
    assert [(event.kind, event.value) for event in b.channel["docker"].on] == [
        ("tag", "docker/v{version}"),
        ("manual", ""),
    ]
    assert (c.bench.cold, c.check["deny"].step.network, c.check["lint"].step.dir) == (240, True, "backend")
    assert c.service["ui"].dev is not None
    assert (c.service["ui"].dev.port, c.service["ui"].dev.command) == (3000, ("bun", "run", "dev"))
    assert (e.retain["base"].keep, e.retain["base"].min_age, e.cycle.vars) == (5, 604_800, ("config",))
    assert dict(e.channel["v3"].only) == dict(e.channel["base"].only) == {"profile": ("prod",)}
    assert json.dumps(sorted(e.check)) == '["base-tools", "cli"]'
