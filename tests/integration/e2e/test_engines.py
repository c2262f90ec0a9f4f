"""One project on every engine: the same images, each other's records, the right errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.components.buildkit import start_buildkitd
from tests.integration.components.presence import require_program
from tests.integration.components.tools import BuildKit, DockerEngine, run_tool
from tests.integration.e2e import test_cache_table as table
from tests.integration.e2e.conftest import Cli, write_tree
from tests.integration.e2e.engines import ENGINES, client, engine_environment

TOML = """
[project]
schema = 1
name = "NAME"

[layer.base]
bootstrap = "debian/bookworm"
users = [{ name = "app", uid = 10001, gid = 10001 }]

[layer.setup]
run = [["sh", "setup/run"]]
inputs = ["setup/**"]
env = { WORD = "hello" }

[layer.files]
files = [{ from = "conf", to = "/etc/app" }]
owner = "app"

[image.web]
layers = ["base", "setup", "files"]
user = "app"
cmd = ["cat", "/var/lib/app/all"]
"""

STEP = """
set -eu
mkdir -p /var/lib/app/empty
cat setup/word > /var/lib/app/all
echo "$WORD" >> /var/lib/app/all
ln /var/lib/app/all /var/lib/app/hard
ln -s nowhere /var/lib/app/link
rm /etc/debian_version
rm -r /usr/share/common-licenses
chmod 0600 /etc/issue
chmod 4755 /var/lib/app/all
chown app /etc/issue.net
mkfifo /var/lib/app/fifo
id -u > /var/lib/app/id
pwd >> /var/lib/app/id
umask >> /var/lib/app/id
env | LC_ALL=C sort >> /var/lib/app/id
mkdir /etc/pam.conf.d && rm /etc/pam.conf && mkdir /etc/pam.conf && echo x > "/etc/pam.conf/a b'c"
"""

FILES: dict[str, str | bytes] = {"setup/run": STEP, "setup/word": "one\n", "conf/app.conf": "x = 1\n"}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, cli: Cli, tmp_path: Path) -> Cli:
    """The command line on one engine, over the store that all share."""
    env = engine_environment(request.param, request.getfixturevalue, tmp_path / "client")
    return replace(cli, env=env)


def project(folder: Path, name: str) -> Path:
    """A project of its own: no other test finds its images or steps."""
    own = {"setup/run": f"# {name}\n{STEP}", "conf/name": name, "lamella.toml": TOML.replace("NAME", name)}
    return write_tree(folder, {**FILES, **own})


def digest(report: dict[str, object]) -> str:
    """The digest of a report's only image."""
    images = report["images"]
    assert isinstance(images, list)
    assert len(images) == 1
    return str(images[0]["containerimage.digest"])


def built(report: dict[str, object]) -> set[str]:
    """Names of what a build made."""
    rows = report["vertices"]
    assert isinstance(rows, list)
    return {row["name"] for row in rows if row["outcome"] == "built"}


def test_all_engines_make_one_image_and_find_each_others_records(
    engine: Cli, cli: Cli, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Local first, then again on the engine: bytes are equal, and what either made the other has."""
    folder = project(tmp_path / "project", request.node.callspec.id.replace("_", "-"))
    local = replace(cli, env={"LAMELLA_ENGINE": "local"})
    first = local.build(folder)
    assert "setup" in built(first)
    assert built(engine.build(folder)) == set(), "the engine finds the records of the embedded one"
    again = engine.build(folder, "--rebuild")
    assert built(again) == {"setup"}
    assert digest(again) == digest(first)
    write_tree(folder, {"setup/word": "two\n"})
    changed = engine.build(folder)
    assert built(changed) == {"setup"}
    assert digest(changed) != digest(first)
    assert built(local.build(folder)) == set(), "the embedded engine finds the records of the other"
    assert digest(local.build(folder, "--rebuild")) == digest(changed)
    write_tree(folder, {"conf/app.conf": "x = 2\n"})
    assert built(engine.build(folder)) == {"files -> /etc/app"}
    assert engine.run(folder, "run", "web", "--no-build").stdout == "two\nhello\n"


def test_other_bytes_under_the_same_size_and_time_are_seen(
    engine: Cli, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """What BuildKit's transfer takes for the same file (see the next test) is another one for us."""
    folder = project(tmp_path / "project", f"stale-{request.node.callspec.id.replace('_', '-')}")
    word = folder / "setup" / "word"
    status = word.stat()
    engine.build(folder)
    word.write_text("uno\n")
    os.utime(word, ns=(status.st_atime_ns, status.st_mtime_ns))
    engine.build(folder, "--output", f"type=tar,dest={tmp_path}/image.tar")
    assert member(tmp_path / "image.tar", "var/lib/app/all") == "uno\nhello\n"


def member(archive: Path, name: str) -> str:
    """A file of a tar."""
    with tarfile.open(archive) as tar:
        found = tar.extractfile(next(item for item in tar if item.name.strip("./") == name))
        assert found is not None
        return found.read().decode()


@pytest.mark.parametrize("name", ["docker20", "docker28"])
def test_buildkit_itself_takes_old_bytes_for_new_ones(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The fault that our context folders avoid (MECHANICS A2; moby/buildkit issues 2592 and 4817), on the real engine.

    When this fails because BuildKit compares bytes, times in contexts need no digests any more.
    """
    docker: DockerEngine = request.getfixturevalue(name)
    context = write_tree(tmp_path / "stale-context", {"Dockerfile": "FROM scratch\nCOPY word /\n", "word": "one\n"})
    seen = []
    for text in ("one\n", "uno\n"):
        (context / "word").write_text(text)
        os.utime(context / "word", (1_000_000_000, 1_000_000_000))
        docker.buildx("build", "--no-cache", "--output", f"type=local,dest={tmp_path}/{text.strip()}", str(context))
        seen.append((tmp_path / text.strip() / "word").read_text())
    assert seen == ["one\n", "one\n"]


@pytest.mark.parametrize("name", ["local", "docker20", "docker28"])
def test_a_failed_step_is_told_with_its_own_words(
    name: str, cli: Cli, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    engine = replace(cli, env=engine_environment(name, request.getfixturevalue, tmp_path / "client"))
    folder = project(tmp_path / "project", f"fails-{name}")
    write_tree(folder, {"setup/run": f"echo first {name}\necho the reason >&2\nexit 7\n"})
    done = engine.run(folder, "build", "--progress", "quiet", check=False)
    assert done.returncode == 1
    assert "setup: sh setup/run ended with exit status 7" in done.stderr
    assert "the reason" in done.stderr
    key = next(line for line in done.stderr.splitlines() if line.strip().startswith("key: sha256:"))
    log = next(line.split("log: ")[1] for line in done.stderr.splitlines() if "log: " in line)
    said = Path(log).read_text().splitlines()
    assert sorted(said) == [f"first {name}", "the reason"], "the order of two streams is not kept by every builder"
    same = replace(cli, env={"LAMELLA_ENGINE": "local"}).run(folder, "build", "--progress", "quiet", check=False)
    assert key in same.stderr, "the key is that of the embedded engine"


def test_no_daemon_and_no_such_builder(cli: Cli, docker28: DockerEngine, tmp_path: Path) -> None:
    """Each with the exit code of who must act."""
    folder = project(tmp_path / "project", "no-builder")
    silent = {**docker28.env, "LAMELLA_ENGINE": "buildkit", "DOCKER_HOST": f"unix://{tmp_path}/nobody.sock"}
    dead = replace(cli, env=silent).run(folder, "build", check=False)
    assert (dead.returncode, "does not answer" in dead.stderr) == (6, True)
    unknown = replace(cli, env=docker28.env).run(folder, "build", "--builder", "nobody", check=False)
    assert (unknown.returncode, "no builder 'nobody' found" in unknown.stderr) == (2, True)
    assert "the only builder is 'default'" in unknown.stderr


def test_the_hosts_tools_are_not_on_a_builder(cli: Cli, docker28: DockerEngine, tmp_path: Path) -> None:
    require_program("cargo", "rustup")
    text = table.TOML.replace("NAME", "host-tools")
    folder = write_tree(tmp_path / "project", {**table.FILES, "lamella.toml": text, "crate/own.txt": str(tmp_path)})
    env = {**docker28.env, "LAMELLA_ENGINE": "buildkit"}
    done = replace(cli, env=env).run(folder, "build", "--target", "app", check=False)
    assert (done.returncode, "host = true uses this machine's own tools" in done.stderr) == (8, True), done.stderr


def test_a_builder_that_dies_is_told_and_the_next_build_goes_on(cli: Cli, buildkitd: BuildKit, tmp_path: Path) -> None:
    """The daemon is killed while a step runs: exit 6; on a living one the same build ends well."""
    folder = project(tmp_path / "project", "dies")
    write_tree(folder, {"setup/run": "echo running; sleep 30\n"})
    home = tmp_path / "daemon"
    home.mkdir()
    daemon = start_buildkitd(home)
    env = client(buildkitd.buildx_path, tmp_path / "client")
    run_tool(
        [buildkitd.buildx_path, "create", "--name", "mortal", "--driver", "remote", daemon.info["address"]], env=env
    )
    argv = [sys.executable, "-m", "lamella.cli", "build", "--progress", "plain", "--builder", "mortal"]
    environ = {**os.environ, **env, "LAMELLA_STORE": str(cli.store)}
    with subprocess.Popen(argv, cwd=folder, env=environ, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if "| running" in line:
                daemon.stop()
        code = process.wait(60)
    assert code == 6, "".join(said)
    assert any("builder 'mortal'" in line and "did not finish" in line for line in said), "".join(said)
    write_tree(folder, {"setup/run": "echo running\n"})
    living = engine_environment("buildkitd", lambda name: buildkitd, tmp_path / "other")
    assert "setup" in replace(cli, env=living).built(folder)


def test_an_interrupted_build_leaves_nothing_behind(cli: Cli, docker28: DockerEngine, tmp_path: Path) -> None:
    """Ctrl-C: exit 130, and the builder has stopped the step."""
    folder = project(tmp_path / "project", "interrupted")
    write_tree(folder, {"setup/run": "echo running; sleep 31.4159\n"})
    argv = [sys.executable, "-m", "lamella.cli", "build", "--progress", "plain"]
    environ = {**os.environ, **docker28.env, "LAMELLA_ENGINE": "buildkit", "LAMELLA_STORE": str(cli.store)}
    with subprocess.Popen(argv, cwd=folder, env=environ, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "| running" in line:
                process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and _runs("sleep 31.4159"):
        time.sleep(0.2)
    assert not _runs("sleep 31.4159")


def _runs(words: str) -> bool:
    """Whether any process of this machine has this command line (proc(5))."""
    wanted = words.replace(" ", "\0").encode()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(wanted):
                return True
        except OSError:
            continue
    return False
