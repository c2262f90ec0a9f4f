"""A noted answer is given before the command line is read, and only when the command itself would give it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lamella.cli.again import answer_again
from tests.unit.cli import test_standing
from tests.unit.cli.conftest import Cli, Outcome
from tests.unit.cli.test_standing import CHANGES, HARMLESS, LOSSES, PROJECT, Plans

plans, shop = test_standing.plans, test_standing.shop


@pytest.fixture
def noted(cli: Cli, shop: Path, plans: Plans) -> Outcome:
    """What ``lamella build`` said when it noted its words."""
    return cli("build")


def without_time(text: str) -> str:
    return re.sub(r" in \d+\.\d+ s", " in TIME", text)


def test_the_words_are_those_of_the_command(cli: Cli, shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = cli("build")
    assert answer_again(["build"])
    again = capsys.readouterr()
    assert (again.out, without_time(again.err)) == (said.out, without_time(said.err))
    assert "TIME" in without_time(again.err)


def test_quiet_stays_quiet(cli: Cli, shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = cli("build", "--progress", "quiet")
    assert answer_again(["build", "--progress", "quiet"])
    again = capsys.readouterr()
    assert (again.out, again.err) == (said.out, "")


@pytest.mark.parametrize("change", [*CHANGES, *HARMLESS])
def test_after_a_change_the_command_decides(
    cli: Cli, shop: Path, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli("build")
    {**CHANGES, **HARMLESS}[change](shop)
    assert not answer_again(["build"])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("lost", LOSSES)
def test_after_a_loss_the_command_decides(cli: Cli, cache: Path, shop: Path, lost: str) -> None:
    cli("build")
    LOSSES[lost](cache)
    assert not answer_again(["build"])


@pytest.mark.parametrize(
    "arguments",
    [(), ("plan",), ("build", "shop"), ("build", "--load"), ("build", "--format", "json"), ("build", "--nonsense")],
    ids=" ".join,
)
def test_other_words_are_another_question(cli: Cli, shop: Path, arguments: tuple[str, ...]) -> None:
    cli("build")
    assert not answer_again(list(arguments))


@pytest.mark.parametrize("name", ["SOURCE_DATE_EPOCH", "DOCKER_HOST", "LAMELLA_ENGINE", "NO_COLOR", "SOMETHING"])
def test_another_environment_is_another_question(
    cli: Cli, shop: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("build")
    monkeypatch.setenv(name, "1")
    assert not answer_again(["build"])


def test_another_folder_is_another_question(cli: Cli, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("build")
    monkeypatch.chdir(shop / "conf")
    assert not answer_again(["build"])


def test_shells_own_variables_do_not_matter(cli: Cli, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("build")
    monkeypatch.setenv("SHLVL", "7")
    assert answer_again(["build"])


def test_a_builder_that_was_removed_is_said_by_the_command(
    cli: Cli, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    builder = tmp_path / "docker" / "buildx" / "instances" / "fleet"
    builder.parent.mkdir(parents=True)
    builder.touch()
    words = ["build", "--builder", "fleet"]
    assert cli(*words).code == 0
    assert answer_again(words)
    builder.unlink()
    assert not answer_again(words)
    said = cli(*words)
    assert (said.code, "no builder 'fleet' found" in said.err) == (2, True)


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b"\xff", b'{"surroundings": 1}'])
def test_damaged_notes_are_no_answer(cli: Cli, cache: Path, shop: Path, damage: bytes) -> None:
    cli("build")
    (note,) = (path for path in cache.glob("scan/*.words") if b"quiet" not in path.read_bytes())
    note.write_bytes(damage)
    assert not answer_again(["build"])
    assert cli("build").code == 0
    assert answer_again(["build"])


@pytest.mark.parametrize(
    "options",
    [("--format", "json"), ("--metadata-file", "m.json"), ("--rebuild",), ("-o", "type=oci,dest=out.tar")],
    ids=" ".join,
)
def test_what_writes_or_tells_more_is_not_noted(cli: Cli, cache: Path, shop: Path, options: tuple[str, ...]) -> None:
    for path in cache.glob("scan/*.words"):
        path.unlink()
    for _ in range(2):
        assert cli("build", *options).code == 0
    assert [*cache.glob("scan/*.words")] == []


def test_a_project_without_a_kept_answer_notes_nothing(cli: Cli, cache: Path, shop: Path) -> None:
    (shop / "lamella.toml").write_text(PROJECT.replace("{args.word}", "{date}"))
    for path in cache.glob("scan/*.words"):
        path.unlink()
    for _ in range(3):
        assert cli("build").code == 0
    assert [*cache.glob("scan/*.words")] == []


def test_an_output_that_nobody_reads_ends_it_as_it_ends_the_command(
    cli: Cli, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("build")

    def write(text: str) -> int:
        raise BrokenPipeError

    monkeypatch.setattr("sys.stdout.write", write)
    with pytest.raises(BrokenPipeError):
        answer_again(["build"])
