"""One container out of image, project and command line: the nearest to the user wins, and it is said who did."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from lamella.canonical import FrozenMap
from lamella.errors import ConfigError
from lamella.images.stored import StoredImage
from lamella.oci import media
from lamella.oci.config import Healthcheck, ImageConfig, RuntimeConfig
from lamella.oci.manifest import Descriptor, Manifest
from lamella.oci.platform import Platform
from lamella.project.spec import DefaultsSpec, HealthcheckSpec, ImageSpec, RunOptions
from lamella.runtime.settings import RunFlags, make_container, parse_port, parse_volume
from lamella.runtime.values import Container, Health, Port, Variable, Volume

RUNTIME = RuntimeConfig(
    user="shop",
    env=("PATH=/app", "MODE=image", "HOME_OF=base"),
    entrypoint=("/app/shop",),
    cmd=("serve",),
    working_dir="/app",
    exposed_ports=("8080/tcp",),
    stop_signal="SIGINT",
)


def image_of(runtime: RuntimeConfig = RUNTIME) -> StoredImage:
    config = Descriptor(media.IMAGE_CONFIG, f"sha256:{hashlib.sha256(b'c').hexdigest()}", 1)
    manifest = Manifest(config, ())
    return StoredImage(
        ("shop/api:dev",), manifest.descriptor(), manifest, ImageConfig(Platform("linux", "amd64"), runtime, ())
    )


def container(
    flags: RunFlags = RunFlags(),  # noqa: B008 - a frozen value
    spec: ImageSpec | None = None,
    runtime: RuntimeConfig = RUNTIME,
    said: list[str] | None = None,
) -> Container:
    return make_container(image_of(runtime), spec, flags, warn=(said if said is not None else []).append)


def test_an_image_alone_runs_as_it_says() -> None:
    made = container()
    assert (made.argv, made.user, made.workdir) == (("/app/shop", "serve"), "shop", "/app")
    assert made.ports == (Port(8080, 8080),)
    assert (made.stop_signal, made.network) == (2, "bridge")
    assert made.env["MODE"] == Variable("image", "image")


@pytest.mark.parametrize(
    ("flags", "argv"),
    [
        (RunFlags(arguments=("check", "-v")), ("/app/shop", "check", "-v")),
        (RunFlags(entrypoint="/bin/sh"), ("/bin/sh",)),
        (RunFlags(entrypoint="/bin/sh", arguments=("-c", "true")), ("/bin/sh", "-c", "true")),
        (RunFlags(entrypoint="", arguments=("/bin/id",)), ("/bin/id",)),
    ],
)
def test_arguments_take_the_place_of_cmd(flags: RunFlags, argv: tuple[str, ...]) -> None:
    assert container(flags).argv == argv


def test_an_image_without_a_program_needs_one() -> None:
    with pytest.raises(ConfigError, match="names no program"):
        container(runtime=RuntimeConfig())


def test_the_project_says_how_its_image_runs(tmp_path: Path) -> None:
    (tmp_path / "local.env").write_text("MODE=file\nONLY=file\n")
    options = RunOptions(
        ports=("9000:8080",),
        volumes=("./data:/data", "cache_{uid}:/cache"),
        env=FrozenMap({"MODE": "project"}),
        env_file="local.env",
        memory=1024,
        cpus="1.5",
        network="none",
        user="host",
        args=("--fast",),
    )
    made = container(RunFlags(root=tmp_path, caller=(7, 8)), ImageSpec("api", run=options, read_only=True, init=True))
    assert made.argv == ("/app/shop", "--fast")
    assert (made.user, made.memory, made.cpus, made.network) == ("7:8", 1024, "1.5", "none")
    assert (made.read_only, made.init) == (True, True)
    assert made.ports == (Port(9000, 8080),)
    assert made.volumes[0] == Volume(str(tmp_path / "data"), "/data")
    assert (made.env["MODE"].value, made.env["ONLY"]) == ("project", Variable("file", "local.env"))


def test_the_command_line_wins_over_the_project(tmp_path: Path) -> None:
    (tmp_path / "mine.env").write_text("MODE=mine\n")
    options = RunOptions(ports=("8080:8080", "9090:9090"), volumes=("a:/data",), env=FrozenMap({"MODE": "project"}))
    flags = RunFlags(
        publish=("81:8080",),
        volumes=("b:/data:ro",),
        env=("TOKEN", "UNSET", "EXTRA=1"),
        env_files=(Path("mine.env"),),
        user="root",
        workdir="/tmp",
        memory=5,
        network="host",
        cwd=tmp_path,
        environ={"TOKEN": "secret"},
    )
    made = container(flags, ImageSpec("api", run=options))
    assert made.ports == (Port(81, 8080), Port(9090, 9090))
    assert made.volumes == (Volume("b", "/data", read_only=True),)
    assert (made.user, made.workdir, made.memory, made.network) == ("root", "/tmp", 5, "host")
    assert {name: made.env[name].origin for name in ("MODE", "TOKEN", "EXTRA")} == {
        "MODE": "mine.env",
        "TOKEN": "--env",
        "EXTRA": "--env",
    }
    assert "UNSET" not in made.env


@pytest.mark.parametrize(
    ("there", "wanted", "hint"),
    [
        ([".env.example"], ".env", "cp .env.example .env"),
        ([".env.example", "other.example"], ".env.local", "cp .env.example .env.local"),
        (["x.example", "y.example"], ".env", "make it"),
        ([], "no/folder/.env", "make it"),
    ],
)
def test_a_missing_env_file_names_its_example(tmp_path: Path, there: list[str], wanted: str, hint: str) -> None:
    for name in there:
        (tmp_path / name).write_text("A=b\n")
    with pytest.raises(ConfigError, match="is not there") as caught:
        container(RunFlags(root=tmp_path), ImageSpec("api", run=RunOptions(env_file=wanted)))
    assert hint in caught.value.hint


def test_env_files_are_read_as_docker_reads_them(tmp_path: Path) -> None:
    (tmp_path / "e").write_text('# comment\n\n  A=1\nB="quoted # kept"\nC=a=b\nTAKEN\nGONE\nEMPTY=\n')
    made = container(RunFlags(env_files=(Path("e"),), cwd=tmp_path, environ={"TAKEN": "here"}))
    names = {name: variable.value for name, variable in made.env.items() if variable.origin == "e"}
    assert names == {"A": "1", "B": '"quoted # kept"', "C": "a=b", "TAKEN": "here", "EMPTY": ""}


@pytest.mark.parametrize("line", ["=x", "A B=x", "two words"])
def test_a_malformed_line_of_an_env_file_has_its_place(tmp_path: Path, line: str) -> None:
    (tmp_path / "e").write_text(f"OK=1\n{line}\n")
    with pytest.raises(ConfigError, match="e:2:"):
        container(RunFlags(env_files=(Path("e"),), cwd=tmp_path))


def test_a_variable_that_only_looks_like_a_default_is_warned_of() -> None:
    said: list[str] = []
    defaults = DefaultsSpec(file="/d.yaml", env_prefix="SHOP_", values=FrozenMap({"PORT": 80}))
    flags = RunFlags(env=("SHOP_PORT=81", "SHOP_PROT=82", "OTHER=1"))
    container(flags, ImageSpec("api", defaults=defaults), said=said)
    assert len(said) == 1
    assert "SHOP_PROT (--env)" in said[0]


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("8080", Port(8080, 8080)),
        ("81:80", Port(81, 80)),
        ("127.0.0.1:81:80/udp", Port(81, 80, "udp", "127.0.0.1")),
        ("[::1]:81:80", Port(81, 80, "tcp", "[::1]")),
    ],
)
def test_ports_are_spelled_as_docker_does(text: str, port: Port) -> None:
    assert parse_port(text) == port


@pytest.mark.parametrize("text", ["", "80:", "0", "70000", "80:80:80", "80/icmp", "a:80"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_port(text)


def test_volumes_are_paths_or_names(tmp_path: Path) -> None:
    assert parse_volume("./a:/b", tmp_path) == Volume(str(tmp_path / "a"), "/b")
    assert parse_volume(".:/b:ro", tmp_path) == Volume(str(tmp_path), "/b", read_only=True)
    assert parse_volume("/x/../y:/b", tmp_path).source == "/y"
    assert parse_volume("name:/b", tmp_path).is_named


@pytest.mark.parametrize("text", ["a", "a:b", ":/b", "a/b:/c", "a:/b:ro:x"])
def test_what_is_no_volume_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        parse_volume(text, tmp_path)


@pytest.mark.parametrize(
    ("check", "health"),
    [
        (HealthcheckSpec(http="/healthz", port=9), Health(9, "/healthz")),
        (HealthcheckSpec(http="/healthz"), Health(8080, "/healthz")),
        (HealthcheckSpec(http=":81/up", port=81), Health(81, "/up")),
        (HealthcheckSpec(tcp=5432), Health(5432, "")),
        (HealthcheckSpec(cmd=("/app/ok",)), None),
    ],
)
def test_a_health_check_of_the_project_is_asked_from_outside(check: HealthcheckSpec, health: Health | None) -> None:
    assert container(spec=ImageSpec("api", healthcheck=check)).health == health


def test_a_health_check_of_an_image_alone_is_read_from_its_command() -> None:
    second = 1_000_000_000
    check = Healthcheck(("CMD", "curl", "-f", "http://127.0.0.1:8080/healthz"), 30 * second, 5 * second, second, 2)
    assert container(runtime=replace(RUNTIME, healthcheck=check)).health == Health(8080, "/healthz", 30, 5, 1, 2)
    own = Healthcheck(("CMD", "/app/check"))
    assert container(runtime=replace(RUNTIME, healthcheck=own)).health is None


def test_an_unknown_stop_signal_is_refused() -> None:
    with pytest.raises(ConfigError, match="SIGNOPE"):
        container(runtime=replace(RUNTIME, stop_signal="SIGNOPE"))
