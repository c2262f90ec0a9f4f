"""What is taken over of Dockerfiles and compose files, and what is said instead."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from lamella.errors import ConfigError
from lamella.init.evidence import is_foreign
from lamella.init.render import render_proposal
from lamella.init.values import Line, Proposal, Table
from tests.unit.init.kinds import FASTAPI, KINDS, RUST, SERVER, below, bun_package, cargo_lock, cargo_package
from tests.unit.init.proposals import BARE, first_plan, proposal

REQUIREMENTS = {"requirements.txt": "fastapi\nuvicorn\n", "app/__init__.py": "", "app/main.py": FASTAPI}


def document(files: dict[str, str], *notes: str) -> dict[str, Any]:
    """The proposal's file as values; each of ``notes`` must be part of one that is said."""
    found = proposal(files)
    text = render_proposal(found)
    first_plan(text, files)
    for note in notes:
        assert any(note in said for said in found.notes), found.notes
    return tomllib.loads(text)


def image(files: dict[str, str], *notes: str) -> dict[str, Any]:
    (found,) = document(files, *notes)["image"].values()
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ('CMD ["uvicorn", "app.main:app", "--port", "80"]', ["/opt/venv/bin/uvicorn", "app.main:app", "--port", "80"]),
        ("CMD uvicorn app.main:app --port 80", ["/opt/venv/bin/uvicorn", "app.main:app", "--port", "80"]),
        ('CMD ["poetry", "run", "uvicorn", "app.main:app"]', ["/opt/venv/bin/uvicorn", "app.main:app"]),
        ('ENTRYPOINT ["tini", "--", "python", "-m", "app"]', ["/opt/venv/bin/python", "-m", "app"]),
        ('CMD ["python", "/code/app/main.py"]', ["/opt/venv/bin/python", "/app/app/main.py"]),
    ],
)
def test_how_a_python_service_is_started(command: str, expected: list[str]) -> None:
    assert (
        image({**REQUIREMENTS, "Dockerfile": f"FROM python:3.13\nWORKDIR /code\n{command}\n"})["entrypoint"] == expected
    )


def test_a_start_script_is_named_and_not_taken() -> None:
    found = image(
        {**REQUIREMENTS, "Dockerfile": 'FROM python:3.13\nENTRYPOINT ["/start.sh"]\n'},
        "starts /start.sh: what that script",
    )
    assert found["entrypoint"][0] == "/opt/venv/bin/uvicorn"


def test_the_port_of_the_command_is_exposed() -> None:
    docker = 'FROM python:3.13\nCMD ["uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", "8123"]\n'
    assert image({**REQUIREMENTS, "Dockerfile": docker})["expose"] == [8123]


def test_root_is_not_taken_over() -> None:
    assert image({**REQUIREMENTS, "Dockerfile": "FROM python:3.13\nUSER root\n"})["user"] == "app"
    assert image({**REQUIREMENTS, "Dockerfile": "FROM python:3.13\nUSER web:web\n"})["user"] == "web"


def test_secrets_are_named_and_left_out() -> None:
    docker = "FROM python:3.13\nENV API_TOKEN=abc DATABASE_URL=postgres://u:p@h/d MODE=x{y}\n"
    found = image({**REQUIREMENTS, "Dockerfile": docker}, "sets API_TOKEN, DATABASE_URL, which may be secret")
    assert found["env"] == {"PYTHONUNBUFFERED": "1", "MODE": "x{{y}}"}


def test_compose_ports_environment_and_volumes() -> None:
    compose = (
        "services:\n  web:\n    build: .\n    ports: ['9000:8000']\n"
        "    environment: {MODE: prod, DB_PASSWORD: x, KEY_FILE:}\n"
        "    volumes: ['./app:/app/app', 'data:/data']\n"
    )
    files = {**REQUIREMENTS, "compose.yaml": compose}
    found = image(files, "gives web DB_PASSWORD, KEY_FILE", "lamella run --engine docker -p 9000:8000 does the same")
    assert found["run"] == {"volumes": ["data:/data"], "env": {"MODE": "prod"}}
    assert found["expose"] == [8000]
    assert found["dirs"] == {"/data": "app"}


def test_files_of_variables_that_compose_reads() -> None:
    compose = (
        "services:\n  web:\n    build: .\n"
        "    env_file: [.env, {path: local.env, required: false}, {path: more.env}, ../x.env]\n"
    )
    found = image({**REQUIREMENTS, "compose.yaml": compose}, "compose.yaml reads more.env, ../x.env")
    assert found["run"] == {"env_file": ".env"}


def test_a_port_that_is_published_as_it_is_needs_no_word() -> None:
    compose = "services:\n  web:\n    build: .\n    ports: ['8000:8000', '127.0.0.1:9:9/tcp']\n"
    assert not proposal({**REQUIREMENTS, "compose.yaml": compose}).notes


def test_each_server_gets_its_own_dockerfile() -> None:
    files = dict(KINDS["rust-workspace"])
    found = document(
        {
            **{name: str(text) for name, text in files.items()},
            "crates/api/Dockerfile": 'FROM debian:bookworm\nEXPOSE 81\nCMD ["shop-api"]\n',
            "docker/worker.Dockerfile": 'FROM debian:bookworm\nEXPOSE 82\nENTRYPOINT ["/x/shop-worker"]\n',
        }
    )
    assert {name: table["expose"] for name, table in found["image"].items()} == {"shop-api": [81], "shop-worker": [82]}


def test_a_dockerfile_of_another_stack_is_not_taken() -> None:
    assert image({**RUST, "Dockerfile": 'FROM python:3.13\nEXPOSE 5\nCMD ["uvicorn", "a:b"]\n'})["expose"] == [8080]


def test_a_broken_compose_file_is_said_and_not_in_the_way() -> None:
    image({**REQUIREMENTS, "compose.yaml": "services:\n  a: }\n"}, "compose.yaml:2:6: not YAML")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"package.json": "{}", "yarn.lock": ""}, "yarn's lock file cannot be read"),
        ({"package.json": '{"scripts": {"build": "nx build"}}', "package-lock.json": "{}"}, "package-lock.json"),
        ({"Cargo.toml": '[workspace]\nmembers = ["a"]\n'}, "member 'a' has no Cargo.toml"),
        (
            {"Cargo.toml": '[package]\nname = "x"\n', "src/lib.rs": "", "Cargo.lock": cargo_lock("x")},
            "no package of it has",
        ),
        ({"pyproject.toml": "[tool.ruff]\n"}, "pyproject.toml is there, and names no project"),
        ({"Pipfile": ""}, "pipenv requirements"),
    ],
)
def test_nothing_recognised_says_what_is_there_and_why_it_is_not_enough(files: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match="no Cargo workspace, Python or JavaScript project") as caught:
        proposal(files)
    assert any(said in detail for detail in caught.value.details), caught.value.details


def test_features_of_the_dockerfile_are_those_of_the_layer() -> None:
    docker = (
        'FROM rust AS b\nARG DB=sqlite,mysql\nRUN cargo build --release --no-default-features --features "${DB}"\n'
        'FROM debian:bookworm\nCMD ["shop"]\n'
    )
    manifest = RUST["Cargo.toml"].replace("[dependencies]", "[features]\nsqlite = []\nmysql = []\n[dependencies]")
    layer = document({**RUST, "Cargo.toml": manifest, "Dockerfile": docker})["layer"]["app"]
    assert layer["cargo"] == {"bin": "shop", "features": ["mysql", "sqlite"], "default_features": False}


def test_files_of_a_python_dockerfile_move_with_its_working_directory() -> None:
    docker = "FROM python:3.13\nWORKDIR /srv/api\nCOPY ./conf/prod.yaml conf/\nCMD uvicorn app.main:app\n"
    layer = document({**REQUIREMENTS, "conf/prod.yaml": "a: 1", "Dockerfile": docker})["layer"]["data"]
    assert layer["files"] == [{"from": "conf/prod.yaml", "to": "/app/conf/prod.yaml"}]


def test_a_guessed_command_is_exposed_at_its_own_port() -> None:
    found = image({**REQUIREMENTS, "Dockerfile": 'FROM python:3.13\nEXPOSE 5000\nENTRYPOINT ["./boot.sh"]\n'})
    assert (found["entrypoint"][-1], found["expose"]) == ("8000", [8000])


def test_layers_of_several_projects_have_names_of_their_own() -> None:
    files = {
        **below("a", {"Cargo.toml": cargo_package("one"), "Cargo.lock": cargo_lock("one"), "src/main.rs": SERVER}),
        **below("b", {"Cargo.toml": cargo_package("two"), "Cargo.lock": cargo_lock("two"), "src/main.rs": SERVER}),
        **below("c", bun_package("app", {"build": "vite build"})),
    }
    found = document(files)
    assert set(found["layer"]) == {"host", "base", "app", "two", "c", "c-nginx", "c-files"}
    assert len(found["image"]) == 3


def test_names_and_reasons_cannot_break_the_file() -> None:
    odd = 'line\nbreak = "x" \u202e # [table]'
    text = render_proposal(
        Proposal(
            Table("project", (Line("schema = 1"), Line('name = "x"', (odd, odd)))), (Table("layer.a", (), (odd,)),)
        )
    )
    assert tomllib.loads(text) == {"project": {"schema": 1, "name": "x"}, "layer": {"a": {}}}
    assert "\u202e" not in text


def test_a_bare_machine_says_why_it_takes_other_toolchains() -> None:
    assert "cargo steps install their own toolchain: cargo, rustc, cc are not on PATH" in proposal(RUST, BARE).notes


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("Dockerfile", True),
        ("docker/api.dockerfile", True),
        ("Dockerfile.prod", True),
        ("Containerfile", True),
        ("Dockerfile.dockerignore", False),
        ("Dockerfile.j2", False),
        ("dockerfile_test.py", False),
        ("dockerfiles/readme.md", False),
        ("compose.yaml", True),
    ],
)
def test_which_files_are_read(path: str, counts: bool) -> None:
    assert is_foreign(path) == counts


def test_a_dockerfile_that_starts_something_is_taken_before_one_that_only_builds() -> None:
    files = {
        **REQUIREMENTS,
        "docker/builder.dockerfile": "FROM registry.example/tools:1\nRUN make\n",
        "docker/dist.dockerfile": 'FROM registry.example/run:1\nENTRYPOINT ["/start.sh"]\n',
    }
    assert document(files)["layer"]["base"]["from"] == "registry.example/run:1"
    del files["docker/dist.dockerfile"]
    assert document(files)["layer"]["base"]["bootstrap"] == "debian/trixie"
