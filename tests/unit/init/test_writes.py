"""What counts as writing into the working directory, and what that does to an image."""

from __future__ import annotations

import tomllib

import pytest

from lamella.init.render import render_proposal
from lamella.init.writes import find_write
from lamella.stacks.base import Detection
from lamella.testing.tree import MemoryTree
from tests.unit.init.kinds import FASTAPI
from tests.unit.init.proposals import first_plan, proposal


def written(stack: str, text: str) -> str:
    name = {"python": "app.py", "node": "server.js", "cargo": "main.rs"}[stack]
    return find_write(MemoryTree({name: f"\n{text}\n"}), Detection(stack, ".", ()))


@pytest.mark.parametrize(
    "text",
    [
        "os.mkdir('logs')",
        'os.makedirs("data/x")',
        "RotatingFileHandler('logs/a.log')",
        'sqlite3.connect("app.db")',
        "open('out.txt', 'w')",
        "URI = 'sqlite:///app.db'",
        "URI = 'sqlite:///' + os.path.join(basedir, 'app.db')",
        'Path("data").mkdir()',
    ],
)
def test_python_that_writes(text: str) -> None:
    assert written("python", text) == "app.py:2"


@pytest.mark.parametrize(
    "text",
    [
        "os.mkdir('/data')",
        "os.mkdir(folder)",
        "open('in.txt')",
        "open('in.txt', 'r')",
        "URI = 'sqlite:////data/app.db'",
        "URI = 'sqlite:///:memory:'",
        "open(f'{folder}/x', 'w')",
        'Path("data").read_text()',
    ],
)
def test_python_that_does_not(text: str) -> None:
    assert written("python", text) == ""


def test_javascript() -> None:
    assert written("node", 'fs.mkdirSync("uploads")') == "server.js:2"
    assert written("node", "fs.writeFile('/tmp/x', d)") == ""


def test_rust_is_judged_by_its_own_adapter() -> None:
    assert written("cargo", 'fs::write("x", y)') == ""


def test_the_user_owns_the_working_directory_then() -> None:
    files = {"requirements.txt": "fastapi\nuvicorn\n", "main.py": FASTAPI + "os.mkdir('logs')\n"}
    text = render_proposal(proposal(files))
    first_plan(text, files)
    (image,) = tomllib.loads(text)["image"].values()
    assert image["dirs"] == {"/app": "app"}
    assert "main.py:9 writes into the working directory" in text
