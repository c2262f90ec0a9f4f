"""A kept answer is given again only while nothing that it depends on has changed."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

import lamella.api.standing
import lamella.build.parts
import lamella.planning.plan
from lamella.clock import SystemClock
from tests.unit.cli.conftest import Cli

PROJECT = """
[project]
schema = 1
name = "shop"

[args]
word = "hello"

[layer.base]
from = "scratch"

[layer.conf]
files = [{ from = "conf", to = "/etc/shop" }]

[image.shop]
layers = ["base", "conf"]
labels = { word = "{args.word}" }
"""

Plans = list[str]


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> Plans:
    """One entry for each time that a command planned."""
    made: Plans = []
    for module in (lamella.planning.plan, lamella.build.parts):
        real = module.make_plan

        def counted(*args: Any, real: Callable[..., Any] = real, **kwargs: Any) -> Any:
            made.append("plan")
            return real(*args, **kwargs)

        monkeypatch.setattr(module, "make_plan", counted)
    return made


@pytest.fixture
def shop(project: Path, cli: Cli, plans: Plans, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that was built, whose files are no longer young, and for which both commands have an answer."""
    (project / "lamella.toml").write_text(PROJECT)
    (project / "conf").mkdir()
    for name in ("a", "c"):
        (project / "conf" / name).write_text("1\n")
    (project / "README.md").write_text("text\n")
    real = SystemClock.now
    monkeypatch.setattr(SystemClock, "now", lambda self: real(self) + 1000)
    for _ in range(3):
        assert cli("build").code == 0
        assert cli("plan").code == 0
    plans.clear()
    return project


def digest(cli: Cli, *arguments: str) -> str:
    report = json.loads(cli("build", "--format", "json", *arguments).out)
    return str(report["images"][0]["containerimage.digest"])


def test_without_a_change_nothing_is_planned(cli: Cli, shop: Path, plans: Plans) -> None:
    assert cli("build").err.startswith("image shop/shop:dev")
    assert "nothing to do: all 1 reused" in cli("plan").err
    assert cli("plan", "--detailed-exitcode").code == 0
    assert plans == []


def test_the_answer_is_the_one_of_planning(cli: Cli, shop: Path, plans: Plans) -> None:
    kept = [json.loads(cli(*command).out) for command in (("build", "--format", "json"), ("plan", "--format", "json"))]
    text = cli("plan").out
    assert plans == []
    forget(cli, shop)
    planned = [
        json.loads(cli(*command).out) for command in (("build", "--format", "json"), ("plan", "--format", "json"))
    ]
    forget(cli, shop)
    assert cli("plan").out == text
    assert len(plans) == 3
    for report in (kept[0], planned[0]):
        del report["seconds"]
    assert kept == planned


def forget(cli: Cli, shop: Path) -> None:
    answers = list((shop.parent / "cache" / "lamella" / "scan").glob("*.answer"))
    assert answers
    for answer in answers:
        answer.unlink()


def same_size_and_time(shop: Path) -> None:
    path = shop / "conf" / "a"
    status = path.stat()
    path.write_text("2\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "a file": lambda shop: (shop / "conf" / "a").write_text("22\n"),
    "a file, same size and time": same_size_and_time,
    "a new file": lambda shop: (shop / "conf" / "b").write_text("1\n"),
    "a file less": lambda shop: (shop / "conf" / "c").unlink(),
    "a mode": lambda shop: (shop / "conf" / "a").chmod(0o755),
    "a link": lambda shop: (shop / "conf" / "l").symlink_to("a"),
    "an ignore rule": lambda shop: (shop / ".dockerignore").write_text("conf/c\n"),
    "the project": lambda shop: (shop / "lamella.toml").write_text(PROJECT.replace("hello", "bye")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen(cli: Cli, shop: Path, plans: Plans, change: str) -> None:
    before = digest(cli)
    assert plans == []
    CHANGES[change](shop)
    assert digest(cli) != before
    assert plans


HARMLESS: dict[str, Callable[[Path], object]] = {
    "a file in no layer": lambda shop: (shop / "README.md").write_text("other\n"),
    "a comment": lambda shop: (shop / "lamella.toml").write_text(f"# hello\n{PROJECT}"),
    "a lock": lambda shop: (shop / "lamella.lock").write_text('{"lock": 1}\n'),
}


@pytest.mark.parametrize("change", HARMLESS)
def test_what_may_matter_is_planned_and_found_harmless(cli: Cli, shop: Path, plans: Plans, change: str) -> None:
    before = digest(cli)
    HARMLESS[change](shop)
    assert "nothing to do" in cli("plan").err
    assert digest(cli) == before
    assert len(plans) == 2


def remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink()


LOSSES: dict[str, Callable[[Path], object]] = {
    "record": lambda store: next(store.glob("records/*/*.json")).unlink(),
    "blobs": lambda store: remove(store.glob("oci/blobs/sha256/*")),
    "names": lambda store: (store / "oci" / "index.json").write_text('{"schemaVersion": 2, "manifests": []}'),
    "state of the tree": lambda store: remove(path for path in store.glob("scan/*") if path.suffix != ".answer"),
    "answers": lambda store: [path.write_bytes(path.read_bytes()[:-9]) for path in store.glob("scan/*.answer")],
}


@pytest.mark.parametrize("lost", LOSSES)
def test_what_is_lost_in_the_store_is_made_again(cli: Cli, cache: Path, shop: Path, plans: Plans, lost: str) -> None:
    before = digest(cli)
    LOSSES[lost](cache)
    assert plans == []
    assert digest(cli) == before
    assert plans
    assert cli("images").out.startswith("NAME")
    assert "shop/shop:dev" in cli("images").out


@pytest.mark.parametrize(
    "arguments",
    [
        ("--rebuild",),
        ("--no-cache",),
        ("--refresh",),
        ("--no-cache-filter", "conf"),
        ("--build-arg", "word=bye"),
        ("--label", "more=1"),
        ("-t", "other:1"),
        ("--prod",),
        ("--compression", "gzip"),
        ("--target", "conf"),
    ],
    ids=" ".join,
)
def test_another_question_has_no_answer_yet(cli: Cli, shop: Path, plans: Plans, arguments: tuple[str, ...]) -> None:
    assert cli("build", *arguments).code == 0
    assert plans


def test_another_state_of_this_program_plans_again(
    cli: Cli, shop: Path, plans: Plans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lamella.api.standing, "program_stamp", lambda: "another")
    cli("build")
    assert plans


def test_the_stamp_of_this_program_is_of_its_files() -> None:
    assert lamella.api.standing.program_stamp() == lamella.api.standing.program_stamp()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{args.word}", "{date}"),
        ("{args.word}", "{commit}"),
        ("{args.word}", "{uid}"),
        ("{args.word}", "\\u007bdate}"),
        ('name = "shop"', 'name = "shop"\nversion = "git:v*"'),
    ],
    ids=["date", "commit", "uid", "date, escaped", "tag"],
)
def test_what_no_file_tells_is_planned_every_time(cli: Cli, shop: Path, plans: Plans, old: str, new: str) -> None:
    (shop / "lamella.toml").write_text(PROJECT.replace(old, new))
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for words in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", *words], cwd=shop, check=True)
    for _ in range(3):
        assert cli("build").code == 0
    assert len(plans) == 3


def test_a_build_context_is_looked_at_every_time(cli: Cli, shop: Path, plans: Plans, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "x").write_text("1\n")
    for _ in range(3):
        assert cli("build", "--build-context", f"more={tmp_path / 'more'}").code == 0
    assert len(plans) == 3


def test_a_young_file_leaves_no_answer(cli: Cli, shop: Path, plans: Plans, monkeypatch: pytest.MonkeyPatch) -> None:
    (shop / "conf" / "a").write_text("young\n")
    young = (shop / "conf" / "a").stat().st_ctime
    monkeypatch.setattr(SystemClock, "now", lambda self: int(young))
    for _ in range(4):
        cli("build")
    assert len(plans) == 4
    monkeypatch.setattr(SystemClock, "now", lambda self: int(young) + 1000)
    for _ in range(4):
        cli("build")
    assert len(plans) == 5
