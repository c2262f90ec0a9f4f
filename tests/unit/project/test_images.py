"""One image of one cell: defaults, tags, health, what its layers may be."""

from __future__ import annotations

import pytest

from lamella.canonical import FrozenMap
from lamella.errors import ConfigError
from lamella.project.expand import expand
from lamella.project.spec import DefaultsSpec, HealthcheckSpec, ImageSpec, PlainValue, RunOptions
from lamella.project.template import Deferred, TemplateFacts
from tests.unit.project.project_files import FACTS, HEAD, expanded, first_cell, hints, load, problems

AXES = '[axes]\naccelerator = ["cpu", "cuda"]\nplatform = ["linux/amd64", "linux/arm64"]\n'
BASE = "[layer.base]\nfrom = 'debian'\n[layer.files]\nfiles = [{ from = 'a' }]\n"
WEB = HEAD + BASE + "[image.web]\nlayers = ['base', 'files']\n"  # the image's keys begin in line 10


def image(text: str, facts: TemplateFacts = FACTS, profile: str = "dev") -> ImageSpec:
    return expanded(WEB + text, "web", facts, profile=profile).image("web")


def test_an_image_of_two_lines_has_the_defaults() -> None:
    found = image("")
    assert found == ImageSpec(name="web", layers=("base", "files"), local_name="shop/web:dev")
    assert (found.position.line, found.entrypoint, found.cmd, found.healthcheck) == (8, None, None, None)
    assert found.run == RunOptions()


EVERYTHING = """
repository = 'r.example/shop'
user = 'me:staff'
workdir = '/srv'
entrypoint = ['/app/x', '{base.HOME}']
cmd = []
env = { PATH = '/x:{base.PATH}' }
expose = [8080, '53/udp']
volumes = ['/data']
dirs = { '/data' = 'me', '/home/{uid}' = '0:0' }
labels = { 'org.x' = '{arch}' }
stop_signal = 'SIGINT'
init = true
read_only = true
[image.web.defaults]
file = '/app/d.yaml'
env_prefix = 'X_'
values = { a = 1, b = 1.5, c = ['{commit}', true], d = { e = "x\\ny" } }
[image.web.run]
ports = [80, '127.0.0.1:8080:80/udp']
volumes = ['./d:/data:ro', 'v_{uid}:/v']
env_file = '.env'
memory = '1.5GiB'
cpus = 2
network = 'host'
user = 'host'
args = ['--x']
env = { A = '{cwd}' }
"""


def test_an_image_with_everything() -> None:
    found = image(EVERYTHING)
    home, path = found.entrypoint, found.env["PATH"]
    assert home is not None
    assert isinstance(home[1], Deferred)
    assert isinstance(path, Deferred)
    assert (home[0], home[1].resolve({"HOME": "/root"}), path.resolve({"PATH": "/bin"})) == (
        "/app/x",
        "/root",
        "/x:/bin",
    )
    assert (path.names, str(path)) == (("PATH",), "/x:{base.PATH}")
    assert (found.repository, found.user, found.workdir, found.cmd) == ("r.example/shop", "me:staff", "/srv", ())
    assert (found.expose, found.volumes) == (("8080/tcp", "53/udp"), ("/data",))
    assert found.dirs == FrozenMap({"/data": "me", "/home/1000": "0:0"})
    assert found.labels == FrozenMap({"org.x": "amd64"})
    assert (found.stop_signal, found.init, found.read_only) == ("SIGINT", True, True)
    values: FrozenMap[str, PlainValue] = FrozenMap(
        {"a": 1, "b": 1.5, "c": ("abc1234", True), "d": FrozenMap({"e": "x\ny"})}
    )
    assert found.defaults == DefaultsSpec("/app/d.yaml", "X_", values)
    assert found.run == RunOptions(
        ports=("80", "127.0.0.1:8080:80/udp"),
        volumes=("./d:/data:ro", "v_1000:/v"),
        env=FrozenMap({"A": "/home/me/shop"}),
        env_file=".env",
        memory=1_610_612_736,
        cpus="2",
        network="host",
        user="host",
        args=("--x",),
    )
    assert found.variables == ("arch", "base.HOME", "base.PATH", "commit", "cwd", "uid")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("healthcheck = { http = '/healthz' }\n", HealthcheckSpec(http="/healthz")),
        ("expose = ['53/udp', 80]\nhealthcheck = { http = '/' }\n", HealthcheckSpec(http="/", port=53)),
        ("expose = [80]\nhealthcheck = { http = ':81/x' }\n", HealthcheckSpec(http="/x", port=81)),
        ("healthcheck = { tcp = 5432, retries = 5 }\n", HealthcheckSpec(tcp=5432, retries=5)),
        (
            (
                "[image.web.healthcheck]\ncmd = ['pg', '-U']\ninterval = '1m'\ntimeout = '2s'\nstart = '0s'\n"
                "device = '{profile}'\n"
            ),
            HealthcheckSpec(cmd=("pg", "-U"), interval=60, timeout=2, start=0, device="dev"),
        ),
    ],
)
def test_health(text: str, expected: HealthcheckSpec) -> None:
    assert image(text).healthcheck == expected


@pytest.mark.parametrize(
    ("head", "facts", "expected"),
    [
        ("", TemplateFacts(), ("latest",)),
        ("version = 'git:v*'\n", TemplateFacts(), ("latest",)),
        ("version = 'git:v*'\n", TemplateFacts("1.2.3+cu121"), ("1.2.3-cu121", "latest")),
    ],
)
def test_a_prod_image_without_tags_has_the_version_if_there_is_one_and_latest(
    head: str, facts: TemplateFacts, expected: tuple[str, ...]
) -> None:
    text = WEB.replace('name = "shop"\n', f'name = "shop"\n{head}')
    assert expanded(text, "web", facts, profile="prod").image("web").tags == expected
    assert expanded(text, "web", facts).image("web").tags == ()


def test_a_written_version_tag_needs_a_version() -> None:
    assert problems(WEB + "tags = ['{version}']\n") == ["10:9: {version} has no value: no version is known"]
    project = load(WEB.replace('name = "shop"\n', 'name = "shop"\nversion = "git:v*"\n') + "tags = ['v{major}']\n")
    cell = first_cell(project, "web", profile="prod")
    with pytest.raises(ConfigError, match="has no value"):
        expand(project, cell=cell)
    assert expand(project, cell=first_cell(project, "web")).image("web").tags == ()
    assert expand(project, cell=cell, facts=TemplateFacts("3.1")).image("web").tags == ("v3",)


def test_tags_with_a_platform_variable_name_manifests() -> None:
    text = HEAD + AXES + BASE + "[image.web]\nlayers = ['base']\ntags = ['a-{accelerator}', 'b-{accelerator}-{arch}']\n"
    found = expanded(text, profile="prod", platform="linux/arm64").image("web")
    assert (found.tags, found.manifest_tags) == (("a-cpu", "b-cpu-arm64"), ("b-cpu-arm64",))


def test_local_names_say_what_is_not_at_its_default() -> None:
    text = HEAD + AXES + BASE + "[image.web]\nlayers = ['base']\ntags = ['{accelerator}']\n"
    names = [
        expanded(text, "web", TemplateFacts(host=host), accelerator=accelerator, platform=platform)
        .image("web")
        .local_name
        for host, accelerator, platform in (
            ("linux/amd64", "cpu", "linux/amd64"),
            ("linux/amd64", "cuda", "linux/arm64"),
            ("linux/arm64", "cpu", "linux/arm64"),
            ("linux/riscv64", "cpu", "linux/amd64"),
        )
    ]
    assert names == ["shop/web:dev", "shop/web:dev-cuda-arm64", "shop/web:dev", "shop/web:dev"]
    own = expanded(WEB, "web", TemplateFacts(host="linux/arm64"), profile="prod").image("web").local_name
    assert own == "shop/web:prod-amd64"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEAD + "[image.web]\n", "4:1: image.web has no layers"),
        (HEAD + BASE + "[image.web]\nlayers = ['base', 'base']\n", "9:19: image.web: layer 'base' is listed twice"),
        (HEAD + BASE + "[image.web]\nlayers = ['bsae']\n", "9:11: image.web.layers: there is no layer 'bsae'"),
        (
            HEAD + BASE + "[image.web]\nlayers = ['files', 'base']\n",
            "9:20: image.web: base is a base and must be",
        ),
        (
            HEAD + "[layer.h]\nhost = true\n[image.web]\nlayers = ['h']\n",
            "7:11: image.web: h is the host's tools, which go into no image",
        ),
        (WEB + "defaults = { values = { a = 1 } }\n", "10:12: image.web.defaults has no file to write"),
        (WEB + "healthcheck = { interval = '3s' }\n", "10:15: image.N.healthcheck needs one of http, tcp, cmd"),
        (WEB + "tags = ['a/b']\n", "10:9: image.web.tags: 'a/b' is not a tag"),
        (WEB + "tags = ['{platform}']\n", "10:9: 'linux/amd64' is not a tag"),
        (WEB + "extends = 'wbe'\n", "10:11: image.web.extends: there is no image 'wbe'"),
        (WEB + "extends = 'web'\n", "10:11: image.web.extends leads back to itself: web -> web"),
        (WEB + "repository = 'r.example/x:1'\n", "10:14: image.web.repository: 'r.example/x:1' names a tag or digest"),
        (WEB + "cells = { profile = 'dev' }\n[cells]\nexclude = [{ profile = 'dev' }]\n", "8:1: image.web has no cell"),
    ],
)
def test_a_rule_of_images_and_its_place(text: str, expected: str) -> None:
    found = problems(text)
    assert len(found) == 1
    assert found[0].startswith(expected), found


def test_a_pinned_image_needs_no_layers() -> None:
    assert problems(HEAD + "[image.web]\npin = 'r.example/x:1'\n") == []


def test_packages_alone_may_come_after_the_base() -> None:
    assert problems(HEAD + BASE + "[layer.more]\napt = ['a']\n[image.web]\nlayers = ['base', 'more']\n") == []


class TestTagClash:
    """Two cells that would write one tag are an error at load."""

    def test_cells_of_one_image(self) -> None:
        text = HEAD + AXES + BASE + "[image.web]\nlayers = ['base']\ntags = ['x', '{accelerator}']\n"
        (found,) = problems(text)
        assert found == (
            "13:9: tag 'x' of shop/web would be written by web (accelerator=cpu,profile=prod,platform=linux/amd64) "
            "and by web (accelerator=cuda,profile=prod,platform=linux/amd64)"
        )
        assert hints(text) == ["put {accelerator} into the tag"]

    def test_the_default_tag(self) -> None:
        text = HEAD + AXES + BASE + "[image.web]\nlayers = ['base']\n"
        assert problems(text)[0].startswith("11:1: tag 'latest' of shop/web would be written by")

    def test_dev_and_prod(self) -> None:
        assert problems(WEB + "tags = ['x']\nwhen.profile.dev.tags = ['x']\n")[0].startswith("10:9: tag 'x'")

    def test_images_that_share_a_repository(self) -> None:
        text = WEB + "[image.two]\nlayers = ['base']\n"
        assert problems(text) == []
        shared = text.replace('name = "shop"\n', 'name = "shop"\nrepository = "r.example/shop"\n')
        assert problems(shared)[0].startswith("11:1: tag 'latest' of r.example/shop would be written by web ")
        assert hints(shared) == ["give the images tags or a repository of their own"]
        assert problems(shared + "repository = 'r.example/two'\n") == []

    def test_platforms_share_an_index_but_not_a_manifest(self) -> None:
        platforms = '[axes]\nplatform = ["linux/arm/v6", "linux/arm/v7"]\n'
        text = HEAD + platforms + BASE + "[image.web]\nlayers = ['base']\ntags = ['x']\n"
        assert problems(text) == []
        single = text.replace("'x'", "'x-{arch}'")
        assert problems(single)[0].startswith("12:9: tag 'x-{arch}' of shop/web would be written by")
        assert hints(single) == ["put {platform} or {arch} into the tag"]

    def test_templates_are_compared_not_their_values_of_today(self) -> None:
        text = WEB.replace('name = "shop"\n', 'name = "shop"\nversion = "1.1.1"\n')
        assert problems(text + "tags = ['{major}', '{minor}', '{version}', '1.1.1', '{commit}']\n") == []
