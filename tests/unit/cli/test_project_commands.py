"""A project of files alone goes through plan, build, explain, export: no sandbox is needed for that."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import pytest

from lamella.cli.run import run_cli
from lamella.cli.run_image import split_words
from tests.unit.cli.conftest import Cli

PROJECT = """
[project]
schema = 1
name = "shop"

[layer.base]
from = "scratch"

[layer.conf]
files = [{ from = "conf", to = "/etc/shop" }]

[layer.tool]
fetch = [{ file = "tool.sh", to = "/usr/bin/tool", mode = "0755" }]

[image.shop]
layers = ["base", "conf", "tool"]
entrypoint = ["/usr/bin/tool"]
expose = [8080]
when.profile.prod.labels = { kind = "prod" }

[image.shop.run]
env = { MODE = "project" }
env_file = "local.env"

[image.plain]
layers = ["base", "conf"]
cmd = ["/x"]
"""


@pytest.fixture
def shop(project: Path) -> Path:
    """A project with a lock."""
    (project / "lamella.toml").write_text(PROJECT)
    (project / "conf").mkdir()
    (project / "conf" / "a.txt").write_text("a\n")
    (project / "tool.sh").write_text("#!/bin/sh\n")
    return project


def test_a_plan_of_a_new_project_says_never_built(cli: Cli, shop: Path) -> None:
    outcome = cli("plan", "shop")
    assert outcome.code == 0
    assert "never built" in outcome.out
    assert "nothing to compile" in outcome.err


def test_a_plan_for_programs(cli: Cli, shop: Path) -> None:
    data = json.loads(cli("plan", "--format", "json").out)
    assert (data["format"], data["work"], data["steps"]) == (1, True, 0)
    assert [image["name"] for image in data["images"]] == ["shop/shop:dev", "shop/plain:dev"]
    assert {vertex["layer"] for vertex in data["vertices"]} == {"conf", "tool"}


def test_the_exit_code_says_whether_there_is_work_only_when_asked(cli: Cli, shop: Path) -> None:
    assert cli("plan").code == 0
    assert cli("plan", "--detailed-exitcode").code == 10
    assert cli("build", "--progress", "quiet").code == 0
    outcome = cli("plan", "--detailed-exitcode")
    assert outcome.code == 0
    assert "nothing to do" in outcome.err


def test_a_changed_file_is_named_in_plan_and_explain(cli: Cli, shop: Path) -> None:
    assert cli("build").code == 0
    (shop / "conf" / "b.txt").write_text("b\n")
    assert "b.txt (added)" in cli("plan").out
    explained = cli("explain", "conf")
    assert "changed since the last record" in explained.out
    assert "b.txt (added)" in explained.out
    [vertex] = json.loads(cli("explain", "conf", "--format", "json").out)["vertices"]
    assert vertex["changes"][0]["files"] == [{"path": "b.txt", "what": "added"}]
    assert vertex["parts"]["op"]["target"] == "/etc/shop"


def test_what_was_taken_up_again_is_what_the_next_change_is_told_against(cli: Cli, shop: Path) -> None:
    """A file came and went, so it has no part in what follows."""
    assert cli("build").code == 0
    (shop / "conf" / "b.txt").write_text("b\n")
    assert "built" in cli("build", "--progress", "plain").err
    (shop / "conf" / "b.txt").unlink()
    assert cli("build").code == 0
    (shop / "conf" / "a.txt").write_text("other\n")
    planned = cli("plan").out
    assert "a.txt (content)" in planned
    assert "b.txt" not in planned


def test_explain_says_where_the_record_is(cli: Cli, shop: Path) -> None:
    cli("build")
    [vertex] = json.loads(cli("explain", "conf", "--format", "json").out)["vertices"]
    assert Path(vertex["record"]["path"]).is_file()
    assert vertex["record"]["path"] in cli("explain", "conf").out


@pytest.mark.parametrize("words", [("explain", "cnf"), ("export", "cnf", "x"), ("shell", "cnf")])
def test_an_unknown_layer_names_the_nearest(cli: Cli, shop: Path, words: tuple[str, ...]) -> None:
    outcome = cli(*words)
    assert (outcome.code, "did you mean 'conf'?" in outcome.err) == (2, True)


def test_a_layer_without_a_step_has_no_shell(cli: Cli, shop: Path) -> None:
    outcome = cli("shell", "conf")
    assert (outcome.code, "runs no step" in outcome.err) == (2, True)


def test_build_prints_names_with_digests_and_writes_outputs(cli: Cli, shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "image.tar"
    outcome = cli(
        "build", "shop", "-o", f"type=docker-archive,dest={out}", "-o", f"type=oci,dest={tmp_path}/o,tar=false"
    )
    assert outcome.code == 0
    assert outcome.out.startswith("shop/shop:dev@sha256:")
    with tarfile.open(out) as archive:
        stream = archive.extractfile("manifest.json")
        assert stream is not None
        [row] = json.load(stream)
    assert row["RepoTags"] == ["shop/shop:dev"]
    assert (tmp_path / "o" / "index.json").is_file()
    assert "wrote docker-archive" in outcome.err


def test_two_checkouts_give_one_digest(cli: Cli, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cli("build").out
    other = tmp_path / "elsewhere"
    other.mkdir(mode=0o700)
    for name in ("conf/a.txt", "tool.sh", "lamella.toml"):
        (other / name).parent.mkdir(exist_ok=True)
        (other / name).write_bytes((shop / name).read_bytes())
        (other / name).chmod(0o600)
        os.utime(other / name, (1, 1))
    monkeypatch.chdir(other)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache2"))
    assert cli("build").out == first


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("-o", "type=nope"), 2, "unknown type"),
        (("-o", "type=tar,dest=x.tar"), 2, "writes one image"),
        (("-o", "conf"), 2, "not empty"),
        (("--target", "conf", "-o", "out"), 2, "a layer and no image"),
        (("--load",), 2, "docker"),
        (("--only", "profile"), 2, "AXIS=VALUE"),
        (("nope",), 2, "no image 'nope'"),
    ],
)
def test_a_build_that_cannot_be_written_does_not_start(
    cli: Cli, shop: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, message: str
) -> None:
    monkeypatch.setenv("PATH", str(shop))
    monkeypatch.setattr("lamella.process.SYSTEM_PATH", str(shop))
    outcome = cli("build", *words)
    assert (outcome.code, message in outcome.err) == (code, True)
    assert cli("images").out == ""


def test_export_copies_one_file_out(cli: Cli, shop: Path, tmp_path: Path) -> None:
    assert cli("export", "tool", str(tmp_path / "mine")).out == f"{tmp_path}/mine\n"
    assert (tmp_path / "mine").read_text() == "#!/bin/sh\n"
    (tmp_path / "folder").mkdir()
    assert cli("export", "tool", str(tmp_path / "folder")).code == 0
    assert (tmp_path / "folder" / "tool.sh").is_file()


def test_export_never_writes_through_a_link(cli: Cli, shop: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    assert cli("export", "tool", str(tmp_path / "link")).code == 2
    assert (tmp_path / "victim").read_text() == "mine"


def test_export_says_why_a_base_has_no_product(cli: Cli, shop: Path) -> None:
    outcome = cli("export", "base", "out")
    assert (outcome.code, "root file system" in outcome.err) == (2, True)


def test_export_of_a_folder_appears_whole_and_replaces_only_when_told(cli: Cli, shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert cli("export", "conf", f"{out}/").code == 0
    (out / "mine").write_text("mine")
    (shop / "conf" / "b.txt").write_text("b")
    outcome = cli("export", "conf", str(out))
    assert (outcome.code, "--force" in outcome.err) == (2, True)
    assert cli("export", "conf", str(out), "--force").code == 0
    assert sorted(path.name for path in out.iterdir()) == ["a.txt", "b.txt"]
    assert [path.name for path in tmp_path.glob(".out*")] == []


def test_run_shows_its_settings_and_where_they_come_from(cli: Cli, shop: Path) -> None:
    cli("build")
    (shop / "local.env").write_text("MODE=file\nTOKEN=x\n")
    data = json.loads(cli("run", "shop", "--show-config", "--format", "json", "-e", "EXTRA=1").out)
    origins = {row["name"]: row["from"] for row in data["env"]}
    assert origins == {"EXTRA": "--env", "MODE": "image.shop.run.env", "PATH": "default", "TOKEN": "local.env"}
    assert (data["program"], data["ports"]) == (["/usr/bin/tool"], ["8080:8080/tcp"])
    assert "MODE" in cli("run", "shop", "--show-config").out


def test_run_names_the_example_of_a_missing_env_file(cli: Cli, shop: Path) -> None:
    (shop / "local.env.example").write_text("TOKEN=\n")
    outcome = cli("run", "shop")
    assert (outcome.code, "cp local.env.example local.env" in outcome.err) == (2, True)


def test_run_starts_one_image(cli: Cli, shop: Path) -> None:
    outcome = cli("run")
    assert outcome.code == 2
    assert "shop, plain" in outcome.err


@pytest.mark.parametrize("option", [("--gpus", "all"), ("--device", "/dev/kvm"), ("--detect",), ("--with", "db")])
def test_what_comes_later_says_so(cli: Cli, shop: Path, option: tuple[str, ...]) -> None:
    outcome = cli("run", "plain", *option)
    assert (outcome.code, "not yet supported" in outcome.err) == (2, True)


def test_run_refuses_a_port_that_it_cannot_map(cli: Cli, shop: Path) -> None:
    outcome = cli("run", "plain", "-p", "81:80")
    assert outcome.code == 8
    assert "--engine docker" in outcome.err


@pytest.mark.parametrize("word", ["shp", "/bin/sh", "./x"])
def test_run_says_that_the_image_comes_first(cli: Cli, shop: Path, word: str) -> None:
    outcome = cli("run", word, "--", "-c", "true")
    assert outcome.code == 2
    assert "lamella run IMAGE -- ARGS" in outcome.err


def test_run_of_a_project_with_two_images_wants_a_name_before_the_arguments(cli: Cli, shop: Path) -> None:
    outcome = cli("run", "--", "/bin/sh", "-c", "true")
    assert outcome.code == 2
    assert "name one: lamella run IMAGE" in outcome.err


def test_a_plan_refuses_what_the_build_would_refuse(cli: Cli, shop: Path) -> None:
    (shop / "lamella.toml").write_text(PROJECT + 'user = "nobody-here"\n')
    planned, built = cli("plan"), cli("build")
    assert (planned.code, built.code) == (2, 2)
    assert "user 'nobody-here' is not in the base" in planned.err
    assert planned.err == built.err
    assert cli("plan", "shop").code == 0
    assert cli("plan", "--target", "conf").code == 0


def test_output_that_finds_no_space_is_no_defect(
    cli: Cli, shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli("build").code == 0
    capsys.readouterr()
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        monkeypatch.setattr("sys.stdout", os.fdopen(full, "w", closefd=False))
        assert run_cli(["plan"]) == 5
    finally:
        os.close(full)
    assert capsys.readouterr().err.startswith("error: writing the output of this command: no space left on device\n")


@pytest.mark.parametrize("layer", ['project = "svc"', 'project = "svc", lock = "uv.lock"'])
def test_outdated_asks_uv_about_the_lock_that_the_layer_installs(
    cli: Cli, project: Path, monkeypatch: pytest.MonkeyPatch, layer: str
) -> None:
    (project / "svc").mkdir()
    (project / "svc" / "pyproject.toml").write_text(
        '[project]\nname = "svc"\nversion = "1"\nrequires-python = ">=3.9"\n'
    )
    (project / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["svc"]\n')
    package = '[[package]]\nname = "svc"\nversion = "1"\nsource = { virtual = "svc" }\n'
    (project / "uv.lock").write_text(f'version = 1\nrequires-python = ">=3.9"\n\n{package}')
    toml = PROJECT.partition("[layer.conf]")[0] + f'[layer.deps]\npython = {{ {layer}, python = "3.11" }}\n'
    (project / "lamella.toml").write_text(toml + '[image.shop]\nlayers = ["base", "deps"]\n')
    monkeypatch.setenv("UV_PYTHON", str(project / "no-such-python"))  # uv then says so instead of asking an index
    outcome = cli("outdated")
    assert outcome.code == 0
    assert "not looked at: uv.lock:" in outcome.err
    assert "no-such-python" in outcome.err
    assert "nothing moved in what was looked at" in outcome.err


@pytest.mark.parametrize(
    ("typed", "image", "arguments"),
    [
        (("run", "--", "--verbose"), None, ("--verbose",)),
        (("run", "-d", "--", "serve", "-p"), None, ("serve", "-p")),
        (("run", "api", "--", "--verbose"), "api", ("--verbose",)),
        (("run", "api", "--", "api", "--"), "api", ("api", "--")),
        (("run", "api", "serve"), "api", ("serve",)),
        (("run", "api"), "api", ()),
    ],
)
def test_what_comes_after_two_dashes_is_the_programs(
    typed: tuple[str, ...], image: str | None, arguments: tuple[str, ...]
) -> None:
    words = tuple(word for word in typed[1:] if word != "-d")
    words = (*words[: words.index("--")], *words[words.index("--") + 1 :]) if "--" in words else words
    assert split_words(words[0], words[1:], typed) == (image, arguments)
