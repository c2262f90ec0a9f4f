"""What is written is read back by the programs it is for: BuildKit, bake, compose, make, sh."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lamella.canonical import FrozenMap
from lamella.eject.dockerfile_text import stage_lines
from lamella.eject.hcl import Template, block_lines
from lamella.eject.make_text import make_word, script_word
from lamella.eject.values import Copy, Entrypoint, Env, Instruction, Label, Prefixed, Run, Stage, Workdir
from lamella.eject.yaml_text import yaml_text
from tests.integration.components.presence import require_program
from tests.integration.components.tools import DockerEngine, run_tool
from tests.integration.eject.conftest import BASE
from tests.unit.eject.projects import EVERYTHING, GOLDEN, ejected, schema_example
from tests.unit.planning.example_trees import TREES

NASTY = (
    "a b", "$HOME", "${HOME}", "a\\", "\\n", '"', "'", "a\"b'c", "`id`", "#x", "a=b", "$$", "%{x}", "<<EOF", "--flag",
    "[a]", "*", "é ü", "a;b&&c||d|e>f", "{{x}}", " lead", "trail ", '\\"', "$(id)", "!x",
)  # fmt: skip


def dockerfile(*stages: tuple[str, Stage]) -> str:
    """Stages without references as a file."""
    return "\n".join(line for name, stage in stages for line in stage_lines(stage, name, {0: "first"})) + "\n"


def built(docker: DockerEngine, folder: Path, text: str) -> str:
    """The id of the image that a Dockerfile makes."""
    (folder / "Dockerfile").write_text(text, encoding="utf-8")
    docker.buildx("build", "--iidfile", str(folder / "iid"), str(folder))
    return (folder / "iid").read_text()


def config(docker: DockerEngine, image: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(docker.cli("image", "inspect", "--format", "{{json .Config}}", image))
    return found


def test_buildkit_reads_every_value_as_it_was(docker: DockerEngine, tmp_path: Path) -> None:
    env = {f"V{number}": value for number, value in enumerate(NASTY)}
    labels = {f"l.{number} {value.replace('=', '')}": value for number, value in enumerate(NASTY)}
    argv = (*NASTY, "tab\there", "two\nlines")
    items: tuple[Instruction, ...] = (
        Env(FrozenMap({"PATH": "/bin", **env})),
        Env(FrozenMap({"PATH": Prefixed("/x y")})),
        Label(FrozenMap(labels)),
        Workdir('/w "$x" \\y'),
        Entrypoint(argv),
    )
    found = config(docker, built(docker, tmp_path, dockerfile(("first", Stage("scratch", items)))))
    assert dict(entry.split("=", 1) for entry in found["Env"]) == {"PATH": "/x y:/bin", **env}
    assert found["Labels"] == labels
    assert found["WorkingDir"] == '/w "$x" \\y'
    assert tuple(found["Entrypoint"]) == argv


def test_a_shell_of_a_step_gets_every_word_as_it_was(docker: DockerEngine, tmp_path: Path) -> None:
    items: tuple[Instruction, ...] = (
        Run((("sh", "-c", 'printf "%s\\0" "$@" "$E" > /out', "sh", *NASTY),), env=FrozenMap({"E": "a $b 'c'"})),
    )
    last = Stage("scratch", (Copy(("/out",), "/", 0),))
    (tmp_path / "Dockerfile").write_text(dockerfile(("first", Stage(BASE, items)), ("last", last)), encoding="utf-8")
    docker.buildx("build", "--output", f"type=local,dest={tmp_path / 'o'}", str(tmp_path))
    assert (tmp_path / "o" / "out").read_bytes().decode().split("\0")[:-1] == [*NASTY, "a $b 'c'"]


def test_a_copied_path_stands_for_itself(docker: DockerEngine, tmp_path: Path) -> None:
    """Brackets, dollars, quotes and spaces in names are no patterns; what they would match is not copied."""
    names = ("[b]", "$d", "e f", "g'h", 'i"j', "#k", "-l")
    for name in (*names, "b"):
        (tmp_path / name).write_text(name)
    stage = Stage("scratch", (*(Copy((name,), f"/one/{name}") for name in names), Copy(names, "/all/")))
    (tmp_path / "Dockerfile").write_text(dockerfile(("first", stage)), encoding="utf-8")
    docker.buildx("build", "--output", f"type=local,dest={tmp_path / 'o'}", str(tmp_path))
    for folder in ("one", "all"):
        assert {path.name: path.read_text() for path in (tmp_path / "o" / folder).iterdir()} == {n: n for n in names}


def test_bake_reads_every_value_as_it_was(docker: DockerEngine, tmp_path: Path) -> None:
    lines = block_lines("variable", "VERSION", {"default": "2.0"})
    lines += block_lines("target", "default", {"context": ".", "no-cache-filter": [*NASTY], "dockerfile": "a $b"})
    lines += block_lines("target", "tagged", {"tags": [Template(("x:", "-${y}"), "VERSION")]})
    (tmp_path / "b.hcl").write_text("\n".join(lines), encoding="utf-8")
    printed = json.loads(docker.buildx("bake", "-f", "b.hcl", "--print", "default", "tagged", cwd=tmp_path).stdout)
    assert printed["target"]["default"]["no-cache-filter"] == [*NASTY]
    assert printed["target"]["default"]["dockerfile"] == "a $b"
    assert printed["target"]["tagged"]["tags"] == ["x:2.0-${y}"]


def test_compose_reads_every_value_as_it_was(docker: DockerEngine, tmp_path: Path) -> None:
    env = {f"V{number}": value for number, value in enumerate((*NASTY, "yes", "1e3", "~", "a\nb", "12:30", ""))}
    service = {"image": "x", "environment": env, "command": [*NASTY]}
    (tmp_path / "c.yaml").write_text(yaml_text({"services": {"s": service}}), encoding="utf-8")
    found = json.loads(docker.cli("compose", "-f", str(tmp_path / "c.yaml"), "config", "--format", "json"))
    read = found["services"]["s"]
    # What compose prints is a compose file again, so that its dollars are written twice.
    assert {name: value.replace("$$", "$") for name, value in read["environment"].items()} == env
    assert [word.replace("$$", "$") for word in read["command"]] == [*NASTY]


def test_make_and_sh_get_every_word_as_it_was(tmp_path: Path) -> None:
    make = require_program("make")
    words = " ".join(make_word(word) for word in NASTY)
    (tmp_path / "Makefile").write_text(f"all:\n\t@printf '%s\\0' {words}\n", encoding="utf-8")
    assert run_tool([make, "-s", "-C", str(tmp_path)]).split("\0")[:-1] == [*NASTY]
    (tmp_path / "s.sh").write_text(f"printf '%s\\0' {' '.join(script_word(word) for word in NASTY)}\n")
    assert run_tool(["sh", str(tmp_path / "s.sh")]).split("\0")[:-1] == [*NASTY]


# ---- whole files -----------------------------------------------------------------------------------------------------

FOLDERS = sorted(path.name for path in GOLDEN.iterdir())
MATRICES = sorted(TREES)


def written(case: str, folder: Path) -> Path:
    """The files of a case with every external base replaced by one that is there without a registry."""
    if case.startswith("all of "):
        given = schema_example(case.removeprefix("all of "))
        texts = {
            name: file.text
            for kind in ("makefile", "script")
            for name, file in ejected(given, kind, EVERYTHING).items()
        }
    else:
        texts = {path.name: path.read_text(encoding="utf-8") for path in (GOLDEN / case).iterdir()}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    external = re.compile(r"^FROM (--platform=\S+ )?\S*[:/@]\S* AS", re.MULTILINE)
    bases = external.sub(rf"FROM \1{BASE} AS", texts["Dockerfile"])
    (folder / "Dockerfile").write_text(bases, encoding="utf-8")
    for name in (".env", "devops/.env.local"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    return folder


CASES = [*FOLDERS, *(f"all of {name}" for name in MATRICES)]


@pytest.mark.parametrize("case", CASES)
def test_buildkit_has_nothing_to_say_about_the_dockerfile(docker: DockerEngine, tmp_path: Path, case: str) -> None:
    """``buildx build --check`` of every target of the bake file: syntax, stages, and Docker's own lint."""
    folder = written(case, tmp_path)
    docker.buildx("bake", "--file", "docker-bake.hcl", "--set", "*.platform=linux/amd64", "--check", "all", cwd=folder)


@pytest.mark.parametrize("case", CASES)
def test_bake_and_compose_read_the_files(docker: DockerEngine, tmp_path: Path, case: str) -> None:
    folder = written(case, tmp_path)
    printed = json.loads(docker.buildx("bake", "--file", "docker-bake.hcl", "--print", "all", cwd=folder).stdout)
    stages = set(re.findall(r" AS (\S+)$", (folder / "Dockerfile").read_text(), flags=re.MULTILINE))
    assert {target["target"] for target in printed["target"].values()} <= stages
    for name in ("compose.yaml", "compose.prod.yaml"):
        path = str(folder / name)
        found = json.loads(docker.cli("compose", "-f", path, "--profile", "*", "config", "--format", "json"))
        for service in found["services"].values():
            assert "build" not in service or service["build"]["target"] in stages


@pytest.mark.parametrize("case", FOLDERS)
def test_make_and_sh_read_the_files(tmp_path: Path, case: str) -> None:
    folder = written(case, tmp_path)
    make = require_program("make")
    targets = re.findall(r"^([\w.-]+):.*## ", (folder / "Makefile").read_text(), flags=re.MULTILINE)
    assert run_tool([make, "-n", "-C", str(folder), *targets])
    script = folder / "build.sh"
    asked = subprocess.run(["sh", str(script)], capture_output=True, text=True, check=False)
    assert asked.returncode == 2
    assert "usage: build.sh IMAGE" in asked.stderr
    said = run_tool(["sh", str(script), "all", "--push"], env={"DOCKER": "echo"})
    assert said.count("buildx build --file Dockerfile --target") == len(re.findall(r"\) build ", script.read_text()))
    assert all(line.endswith("--push .") for line in said.splitlines())
