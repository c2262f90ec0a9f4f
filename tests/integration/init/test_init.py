"""``lamella init`` on projects on disk: what it writes is locked, planned, built and started without a hand edit."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.components.presence import missing
from tests.integration.e2e.conftest import Cli, cli, shared_store, write_tree
from tests.unit.init.kinds import CLI, KINDS, cargo_package

__all__ = ["cli", "shared_store"]


def init(cli: Cli, folder: Path, *arguments: str) -> str:
    """What was said while the files were written."""
    done = cli.run(folder, "init", *arguments, check=False)
    if done.returncode == 6:
        missing(f"no package index answers: {done.stderr}")
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("name", KINDS)
def test_a_written_project_is_locked_and_planned(tmp_path: Path, name: str) -> None:
    files = {path: data.decode() if isinstance(data, bytes) else data for path, data in KINDS[name].items()}
    if "pyproject.toml" in files:  # the samples' own backend is nobody's
        files["pyproject.toml"] = (
            files["pyproject.toml"].replace('"backend"', '"hatchling"').replace("backend.api", "hatchling.build")
        )
    folder = write_tree(tmp_path / "shop", dict(files))
    cli = Cli(tmp_path / "store")
    said = init(cli, folder, "--no-host")
    assert "next: lamella plan" in said
    assert ("lamella.lock" in said) == (folder / "lamella.lock").exists()
    statuses = set(cli.planned(folder).values())
    assert statuses == {"build", "expected"}
    cli.run(folder, "lock", "--check")


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "shop", {"lamella.toml": "mine", **dict(KINDS["bun-page"])})
    done = Cli(tmp_path / "store").run(folder, "init", check=False)
    assert (done.returncode, (folder / "lamella.toml").read_text()) == (2, "mine")
    shown = Cli(tmp_path / "store").run(folder, "init", "--stdout")
    assert "[image.page]" in shown.stdout
    assert (folder / "lamella.toml").read_text() == "mine"
    init(Cli(tmp_path / "store"), folder, "--force", "--no-host")
    assert "[image.page]" in (folder / "lamella.toml").read_text()


def image_of(requires: str) -> dict[str, str]:
    """A service whose Dockerfile stands on an image of a registry that nobody runs."""
    return {
        "pyproject.toml": f'[project]\nname = "api"\nversion = "1"\nrequires-python = "{requires}"\n',
        "pylock.toml": 'lock-version = "1.0"\ncreated-by = "test"\n',
        "main.py": "import http.server\nhttp.server.test(port=8000)\n",
        "Dockerfile": 'FROM localhost:1/python:3.10\nCOPY . .\nCMD ["python", "main.py"]\n',
    }


def test_a_base_that_cannot_be_pulled_gives_way_where_the_project_allows_debians_python(tmp_path: Path) -> None:
    folder, cli = write_tree(tmp_path / "api", image_of(">=3.10")), Cli(tmp_path / "store")  # type: ignore[arg-type]
    said = init(cli, folder)
    assert "localhost:1 cannot be reached" in said
    assert "Debian from its archive instead" in said
    written = (folder / "lamella.toml").read_text()
    assert 'bootstrap = "debian/trixie"' in written
    assert "localhost:1/python:3.10 of Dockerfile could not be pulled" in " ".join(written.split("#")).replace("\n", "")
    assert set(cli.planned(folder).values()) == {"build", "expected"}


def test_a_base_that_cannot_be_pulled_and_nothing_else_will_do_is_exit_6(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "api", image_of("==3.10.*"))  # type: ignore[arg-type]
    done = Cli(tmp_path / "store").run(folder, "init", check=False)
    assert done.returncode == 6
    assert "lamella.toml is written, lamella.lock is not" in done.stderr
    assert "instead" not in done.stderr
    assert 'from = "localhost:1/python:3.10"' in (folder / "lamella.toml").read_text()
    assert not (folder / "lamella.lock").exists()


def test_an_empty_folder_is_refused_with_what_is_known(tmp_path: Path) -> None:
    done = Cli(tmp_path / "store").run(tmp_path, "init", check=False)
    assert done.returncode == 2
    assert "no Cargo workspace, Python or JavaScript project was found" in done.stderr


def test_a_lock_that_fails_leaves_the_project_file_and_says_what_is_left(tmp_path: Path) -> None:
    files = {**dict(KINDS["rust-program"])}
    del files["Cargo.lock"]
    folder = write_tree(tmp_path / "shop", files)
    done = Cli(tmp_path / "store").run(folder, "init", "--no-host", check=False)
    assert done.returncode == 2
    assert "lamella.toml is written, lamella.lock is not" in done.stderr
    assert "instead" not in done.stderr
    assert "cargo generate-lockfile" in done.stderr
    assert (folder / "lamella.toml").exists()


def test_a_rust_program_is_built_with_the_hosts_tools_and_runs(cli: Cli, tmp_path: Path) -> None:
    for program in ("cargo", "rustc", "cc"):
        if shutil.which(program) is None:
            missing(f"{program} is not here")
    manifest = cargo_package("greet").partition("[dependencies]")[0]
    folder = write_tree(tmp_path / "greet", {"Cargo.toml": manifest, "src/main.rs": CLI})
    subprocess.run(["cargo", "generate-lockfile", "--offline"], cwd=folder, check=True, capture_output=True)
    init(cli, folder)
    assert "host = true" in (folder / "lamella.toml").read_text()
    assert cli.run(folder, "run", "greet", "--progress", "plain").stdout == "hello\n"
    assert set(cli.planned(folder).values()) == {"reused"}


def test_a_page_is_built_by_npm_and_lies_where_the_web_server_looks(cli: Cli, tmp_path: Path) -> None:
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            missing(f"{program} is not here")
    manifest = '{"name": "page", "version": "1.0.0", "scripts": {"build": "node build.js --outDir dist"}}'
    lock = '{"name": "page", "version": "1.0.0", "lockfileVersion": 3, "packages": {"": {"name": "page"}}}'
    script = 'const fs = require("fs"); fs.mkdirSync("dist"); fs.writeFileSync("dist/index.html", "<h1>hello</h1>");'
    files = {"package.json": manifest, "package-lock.json": lock, "build.js": script}
    folder = write_tree(tmp_path / "page", dict(files))
    init(cli, folder)
    target = tmp_path / "out"
    cli.run(folder, "export", "ui", str(target))  # one file, so it is the path itself
    assert target.read_text() == "<h1>hello</h1>"
