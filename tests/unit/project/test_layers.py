"""One layer of one cell: kinds, defaults, references, variables."""

from __future__ import annotations

import pytest

from lamella.canonical import FrozenMap
from lamella.errors import ConfigError
from lamella.project.expand import expand
from lamella.project.spec import (
    BaseSpec,
    CargoSpec,
    FetchItem,
    FetchSpec,
    FileItem,
    FilesSpec,
    IndexSpec,
    KindSpec,
    LayerSpec,
    ModelSpec,
    Need,
    NodeSpec,
    PythonSpec,
    RepoSpec,
    RunSpec,
    ToolSpec,
    UserSpec,
)
from lamella.project.template import Deferred, TemplateFacts, Variable
from tests.unit.project.project_files import FACTS, HEAD, expanded, first_cell, hints, load, problems

WEB = HEAD + (
    'version = "git:v*"\n[args]\ntool = "2.1"\n[secrets]\ntoken = { env = "TOKEN", version = "3" }\n'
    '[image.web]\nlayers = ["base", "x"]\n[layer.base]\nfrom = "debian:bookworm-slim"\n[layer.x]\n'
)  # the layer's keys begin in line 14


def layer(text: str, **axes: str) -> LayerSpec:
    return expanded(WEB + text, "web", FACTS, **axes).layer("x")


@pytest.mark.parametrize(
    ("text", "expected", "to"),
    [
        ("[layer.x.cargo]\n", CargoSpec(), None),
        ("[layer.x.cargo]\nbin = 'shop'\n", CargoSpec(bin="shop"), "/app/shop"),
        (
            "to = '/bin/s'\n[layer.x.cargo]\nbin = 'shop'\nprofile = 'thin'\ndefault_features = false\n",
            CargoSpec(bin="shop", profile="thin", default_features=False),
            "/bin/s",
        ),
        ("to = '/bin/'\n[layer.x.cargo]\nbin = 'shop'\n", CargoSpec(bin="shop"), "/bin/shop"),
        ("to = '/bin/'\n[layer.x.cargo]\n", CargoSpec(), "/bin/"),
        ("to = '/srv/'\nnode = { dir = 'ui' }\n", NodeSpec("ui"), "/srv"),
        ("node = { dir = 'ui', script = 'build:x', output = 'dist' }\n", NodeSpec("ui", "build:x", "dist"), "/app"),
        ("python = { requirements = ['r.txt'] }\n", PythonSpec(("r.txt",)), "/opt/venv"),
        (
            (
                "[layer.x.python]\nproject = '.'\ngroups = ['ml']\n"
                "indexes = [{ url = 'https://w.example', packages = ['a'] }]\n"
            ),
            PythonSpec(project=".", groups=("ml",), indexes=(IndexSpec("https://w.example", ("a",)),)),
            "/opt/venv",
        ),
        ("model = { hub = 'acme/small', revision = 'main' }\n", ModelSpec(hub="acme/small", revision="main"), "/app"),
        (
            f"model = {{ file = 'm.onnx', sha256 = 'sha256:{'A' * 64}' }}\n",
            ModelSpec(file="m.onnx", sha256="a" * 64),
            "/app/m.onnx",
        ),
        ("to = '/opt/'\nmodel = { file = 'model/m.onnx' }\n", ModelSpec(file="model/m.onnx"), "/opt/m.onnx"),
        ("to = '/opt/m'\nmodel = { file = 'model/m.onnx' }\n", ModelSpec(file="model/m.onnx"), "/opt/m"),
        (
            "model = { url = 'https://models.example/a/m.onnx?download=1' }\n",
            ModelSpec(url="https://models.example/a/m.onnx?download=1"),
            "/app/m.onnx",
        ),
        ("run = ['make', 'a\\nb']\n", RunSpec((("make", "a\\nb"),)), None),
        ("run = [['a'], [\"b\\tc\"]]\n", RunSpec((("a",), ("b\tc",))), None),
        (
            "files = [{ from = './src/' }, { from = 'a/b', to = '/etc/', owner = 'me', mode = '0640' }]\n",
            FilesSpec((FileItem("src", "/app/src"), FileItem("a/b", "/etc/b", "me", 0o640))),
            "/app",
        ),
        (
            "to = '/srv'\nowner = '7:8'\nmode = '755'\nfiles = [{ from = 'src' }]\n",
            FilesSpec((FileItem("src", "/srv/src", "7:8", 0o755),)),
            "/srv",
        ),
        ("needs = { base = '/x' }\n", FilesSpec(()), "/app"),
        (
            (
                "to = '/bin/'\nmode = '0755'\nfetch = [{ file = 'bin/t', optional = true }, "
                "{ url = 'https://r.example/t-{args.tool}-{arch}.tgz?x=1', sums = 'https://r.example/S', "
                "secret = 'token' }]\n"
            ),
            FetchSpec(
                (
                    FetchItem("/bin/t", file="bin/t", mode=0o755, optional=True),
                    FetchItem(
                        "/bin/t-2.1-amd64.tgz",
                        url="https://r.example/t-2.1-amd64.tgz?x=1",
                        sums="https://r.example/S",
                        mode=0o755,
                        secret="token",
                    ),
                )
            ),
            "/bin/",
        ),
    ],
)
def test_a_kind_with_its_defaults(text: str, expected: KindSpec, to: str | None) -> None:
    found = layer(text)
    assert found.spec == expected
    assert found.to == to
    assert found.kind == expected.kind


def test_a_base_with_everything() -> None:
    text = (
        WEB.replace('from = "debian:bookworm-slim"\n', "")
        + "run = ['true']\n[layer.base.base]\n"
        + (
            "bootstrap = 'debian/bookworm@20260101T000000Z'\napt = ['g++', 'libc6:arm64', 'curl=7.88.1-10+deb12u5']\n"
            "repos = [{ url = 'https://p.example/deb', key = 'keys/p.asc', suite = 'stable', components = ['main'] }]\n"
            "users = [{ name = 'app', uid = 10001 }, "
            "{ name = 'b', uid = 5, gid = 6, home = '/', shell = '/bin/bash', sudo = true }]\n"
            "tools = ['cargo-deny', 'sqlx-cli@0.8', 'npm:@scope/x@1', 'uv:ruff']\n"
        )
    )
    spec = expanded(text).layer("base").spec
    assert spec == BaseSpec(
        bootstrap="debian/bookworm@20260101T000000Z",
        apt=("g++", "libc6:arm64", "curl=7.88.1-10+deb12u5"),
        repos=(RepoSpec("https://p.example/deb", "keys/p.asc", suite="stable", components=("main",)),),
        users=(UserSpec("app", 10001, 10001, "/home/app"), UserSpec("b", 5, 6, "/", "/bin/bash", True)),
        tools=(
            ToolSpec("cargo-deny"),
            ToolSpec("sqlx-cli", "0.8"),
            ToolSpec("@scope/x", "1", "npm"),
            ToolSpec("ruff", source="uv"),
        ),
    )
    assert spec.is_root
    assert not BaseSpec(apt=("x",)).is_root


def test_keys_that_any_layer_has() -> None:
    found = layer(
        "on = 'base'\nneeds = { y = 'a/b', base = { '/usr/x' = '/y' } }\ninputs = ['m/**', '!m/x']\nscratch = ['t']\n"
        "env = { A = '{version}', P = '/x:{base.PATH}' }\nsecrets = ['token']\nnetwork = true\ncaches = ['/c']\n"
        "freshness = '1h30m'\nmissing = 'fail'\nadvice = \"a\\nb\"\nrun = ['make']\n"
        "[layer.y]\nfiles = [{ from = 'f' }]\n"
    )
    assert found == LayerSpec(
        name="x",
        spec=RunSpec((("make",),)),
        on="base",
        needs=(Need("y", FrozenMap({".": "a/b"})), Need("base", FrozenMap({"/usr/x": "/y"}))),
        inputs=("m/**", "!m/x"),
        scratch=("t",),
        env=FrozenMap({"A": "1.4.0", "P": Deferred(("/x:", Variable("base.PATH")))}),
        secrets=("token",),
        network=True,
        caches=("/c",),
        freshness=5400,
        missing="fail",
        advice="a\nb",
        variables=("base.PATH", "version"),
    )
    assert (found.position.line, found.position.column) == (13, 1)


def test_cargo_profile_follows_dev_and_prod() -> None:
    for profile, expected in (("dev", "dev"), ("prod", "release")):
        spec = layer("[layer.x.cargo]\nbin = 'a'\n", profile=profile).spec
        assert isinstance(spec, CargoSpec)
        assert spec.profile == expected


def test_a_cell_has_the_layers_its_images_use_each_after_those_it_uses() -> None:
    text = WEB + (
        "on = 'tools'\nneeds = { ui = 'ui/dist' }\n[layer.x.cargo]\nbin = 'x'\n"
        "[layer.ui]\non = 'nodejs'\nneeds = { client = 'c' }\n[layer.ui.node]\ndir = 'ui'\n"
        "[layer.client]\non = 'nodejs'\nnode.dir = 'c'\n[layer.nodejs]\nfrom = 'node'\n[layer.tools]\nfrom = 'rust'\n"
        "[layer.unused]\nfrom = 'z'\n"
    )
    spec = expanded(text)
    assert [item.name for item in spec.layers] == ["base", "tools", "nodejs", "client", "ui", "x"]
    project = load(text)
    cell = first_cell(project, "web")
    more = expand(project, cell=cell, facts=FACTS, images=(), layers=["unused"])
    assert [item.name for item in more.layers] == ["unused"]
    assert more.images == ()
    with pytest.raises(KeyError):
        spec.layer("unused")
    with pytest.raises(KeyError):
        spec.image("nope")


def test_secrets_of_a_cell_are_those_its_layers_use() -> None:
    assert not expanded(WEB + "run = ['a']\n").secrets
    used = expanded(WEB + "run = ['a']\nsecrets = ['token']\n").secrets["token"]
    assert (used.name, used.env, used.file, used.optional, used.version) == ("token", "TOKEN", None, False, "3")
    fetch = "to = '/x'\nfetch = [{ url = 'https://a.example/b', sha256 = '" + "0" * 64 + "', secret = 'token' }]\n"
    assert list(expanded(WEB + fetch).secrets) == ["token"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("to = '/x'\n", "13:1: layer.x has no kind"),
        ("run = ['a']\n[layer.x.cargo]\nbin = 'x'\n", "14:7: layer.x is cargo and run; a layer has exactly one kind"),
        ("apt = ['a']\nfiles = [{ from = 'a' }]\n", "15:9: layer.x is base and files; a layer has exactly one kind"),
        ("on = 'base'\nfiles = [{ from = 'a' }]\n", "14:6: layer.x.on does nothing in a files layer"),
        ("to = '/x'\nrun = ['a']\n", "14:6: layer.x.to does nothing in a run layer"),
        ("inputs = ['a']\nmodel = { file = 'm' }\n", "14:10: layer.x.inputs does nothing in a model layer"),
        ("needs = { base = 'x' }\n", "14:18: layer.x.needs.base: a files layer has no step"),
        ("fetch = [{ file = 'a' }]\n", "14:10: layer.x.fetch needs a to"),
        ("to = '/a'\nfetch = [{ url = 'https://a.example/b' }]\n", "15:10: layer.x.fetch: what the URL gives"),
        ("python = { python = '3.12' }\n", "14:10: layer.N.python needs one of requirements, project"),
        ("model = { revision = 'a' }\n", "14:9: layer.N.model needs one of hub, url, file"),
        ("on = 'bsae'\nrun = ['a']\n", "14:6: layer.x.on: there is no layer 'bsae'"),
        ("needs = { bsae = 'a' }\nrun = ['a']\n", "14:18: layer.x.needs: there is no layer 'bsae'"),
        ("on = 'f'\nrun = ['a']\n[layer.f]\nfiles = [{ from = 'a' }]\n", "14:6: layer.x.on: f is a files layer"),
        ("python = { project = '.', above = 'base' }\n", "14:35: layer.x.python.above: base is no python layer"),
        ("secrets = ['tokn']\nrun = ['a']\n", "14:12: layer.x.secrets: there is no secret 'tokn'"),
        ("services = ['db']\nrun = ['a']\n", "14:13: layer.x.services: there is no service 'db'"),
        ("to = '/a'\nfetch = [{ file = 'a', secret = 'tokn' }]\n", "15:33: layer.x.fetch: there is no secret 'tokn'"),
        ("on = 'x'\nrun = ['a']\n", "14:6: layers wait for each other: x -> x"),
        (
            "needs = { y = 'a' }\nrun = ['a']\n[layer.y]\nneeds = { x = 'b' }\nrun = ['b']\n",
            "17:15: layers wait for each other: x -> y",
        ),
    ],
)
def test_a_rule_of_layers_and_its_place(text: str, expected: str) -> None:
    found = problems(WEB + text)
    assert len(found) == 1
    assert found[0].startswith(expected), found


def test_hints_of_names_that_are_not_there() -> None:
    assert hints(WEB + "on = 'bsae'\nrun = ['a']\n") == ["did you mean 'base'?"]
    assert hints(WEB + "secrets = ['tokn']\nrun = ['a']\n") == ["did you mean 'token'?"]


def test_layers_that_wait_for_each_other_only_in_different_cells_are_fine() -> None:
    text = WEB + (
        "run = ['a']\nwhen.profile.dev.needs = { y = 'a' }\n"
        "[layer.y]\nrun = ['b']\nwhen.profile.prod.needs = { x = 'b' }\n"
    )
    text = text.replace('["base", "x"]', '["base", "x", "y"]')
    assert problems(text) == []


def test_a_root_runs_on_nothing_else_and_packages_may_run_on_a_root() -> None:
    found = problems(WEB + "on = 'base'\nfrom = 'a'\n")
    assert "14:6: layer.x.on does nothing: the layer is a root file system itself" in found
    assert layer("on = 'base'\napt = ['a']\n").on == "base"


def test_unused_layers_are_checked_and_their_variables_need_no_value() -> None:
    head = HEAD + '[image.web]\nlayers = ["base"]\n[layer.base]\nfrom = "a"\n[layer.x]\n'
    assert problems(head + "from = 'b:{version}'\n") == []
    assert problems(head + "to = '/x'\n") == ["8:1: layer.x has no kind"]
    assert problems(head + "on = 'nope'\nrun = ['a']\n") == ["9:6: layer.x.on: there is no layer 'nope'"]


def test_a_variable_without_a_value_is_an_error_where_it_stands() -> None:
    text = WEB.replace('version = "git:v*"\n', "") + "env = { A = '{version}' }\nrun = ['a']\n"
    assert problems(text) == ["13:13: {version} has no value: no version is known"]
    project = load(WEB + "run = ['a', '{commit}', '{minor}']\n")
    with pytest.raises(ConfigError) as caught:
        expand(project, cell=first_cell(project, "web"), facts=TemplateFacts(version="7"))
    assert [(item.line, item.column, item.message) for item in caught.value.problems] == [
        (14, 13, "{commit} has no value here"),
        (14, 25, "{minor} has no value: version '7' has no such number"),
    ]


def test_a_filled_in_string_is_checked_like_a_written_one() -> None:
    project = load(WEB + "to = '/x/{args.tool}'\nfiles = [{ from = 'a' }]\n")
    cell = first_cell(project, "web")
    assert expand(project, cell=cell, args={"tool": "9"}).layer("x").to == "/x/9"
    for value, message in (
        ("../y", "'/x/../y' is not a plain path"),
        ("a\nb", "control character U+000A cannot stand here"),
    ):
        with pytest.raises(ConfigError) as caught:
            expand(project, cell=cell, args={"tool": value})
        assert [(item.line, item.message) for item in caught.value.problems] == [(14, message)]


def test_arguments_and_images_that_do_not_exist_are_refused() -> None:
    project = load(WEB + "run = ['a']\n")
    cell = first_cell(project, "web")
    for call, message in (
        ({"args": {"tol": "1"}}, "there is no build argument 'tol'"),
        ({"images": ["wbe"]}, "there is no image 'wbe'"),
        ({"layers": ["y"]}, "there is no layer 'y'"),
    ):
        with pytest.raises(ConfigError, match=message):
            expand(project, cell=cell, **call)
    limited = load(WEB + "run = ['a']\n[image.web.cells]\nprofile = 'dev'\n")
    prod = first_cell(project, "web", profile="prod")
    with pytest.raises(ConfigError, match="image web has no cell profile=prod"):
        expand(limited, cell=prod, images=["web"])
