"""Where publishing is measured: a project like an ML service, its Dockerfiles, registries that log, fresh builders.

The image has the shape of BENCHMARKS.md's Python image: a Debian, a layer of 9,184 files and 868 MB of which 39 % are
left after gzip, and 200 application files. The large layer comes from a step that both sides run alike, so that no
package registry is part of a figure. ``LAMELLA_BENCH_SCALE`` makes it smaller.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.core import LAMELLA
from tests.integration.components.installed import DOCKER_28, docker_plugins, find_component
from tests.integration.components.processes import DaemonError
from tests.integration.components.starters import STARTERS

SCALE = float(os.environ.get("LAMELLA_BENCH_SCALE", "1"))
DEPENDENCY_FILES, FILE_BYTES, APP_FILES = round(9184 * SCALE), 94_500, 200

MAKE = r"""
my ($root, $files, $bytes, $seed) = @ARGV;
srand($seed);
my $pool = pack("N*", map { int(rand(4294967296)) } 1 .. 2097152);
my $noise = int($bytes * 0.39);
my $rest = "lamella " x ($bytes / 8);
mkdir $root;
for my $number (0 .. $files - 1) {
  my $folder = sprintf("%s/package_%03d", $root, $number % 200);
  mkdir $folder;
  open(my $out, ">:raw", "$folder/module_$number.so") or die $!;
  print $out $number, substr($pool, int(rand(length($pool) - $noise)), $noise), substr($rest, 0, $bytes - $noise);
  close($out);
}
"""
"""Perl, which every Debian has: writes the dependency layer, always the same for one seed."""

PROJECT = """
[project]
schema = 1
name = "service"
repository = "REGISTRY/ours/service"

[layer.base]
from = "REGISTRY/base:bookworm"

[layer.deps]
run = [["perl", "make.pl", "/opt/deps", "FILES", "BYTES", "SEED"]]
inputs = ["make.pl"]

[layer.app]
files = [{ from = "app", to = "/app" }]

[image.service]
layers = ["base", "deps", "app"]
workdir = "/app"
cmd = ["/bin/true"]
tags = ["latest"]
"""

DOCKERFILE = """\
FROM REGISTRY/base:bookworm
WORKDIR /app
RUN --mount=type=bind,source=make.pl,target=/make.pl perl /make.pl /opt/deps FILES BYTES SEED
COPYapp /app
CMD ["/bin/true"]
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A copy of the project on some machine: its folder, and the store that machine has."""

    folder: Path
    store: Path

    @property
    def env(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return {**kept, "LAMELLA_STORE": str(self.store)}

    def lamella(self, *arguments: str, env: Mapping[str, str] | None = None) -> float:
        """Wall seconds of one command of ours."""
        return timed([*LAMELLA, *arguments], self.folder, {**self.env, **(env or {})})

    def edit(self, number: int) -> None:
        """One application file changes."""
        (self.folder / "app" / "pkg_3" / "module_3.py").write_text(f"EDITED = {number}\n" * 20, encoding="utf-8")

    def copy(self, folder: Path) -> Place:
        """The same project, checked out by a machine that has nothing else."""
        shutil.copytree(self.folder, folder / "project")
        return Place(folder / "project", folder / "store")


def make_place(folder: Path, registry: str, seed: int = 1) -> Place:
    """Writes the project and its Dockerfiles."""
    project = folder / "project"
    words = {"REGISTRY": registry, "FILES": str(DEPENDENCY_FILES), "BYTES": str(FILE_BYTES), "SEED": str(seed)}
    for number in range(APP_FILES):
        path = project / "app" / f"pkg_{number % 10}" / f"module_{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"ANSWER = {number}\n" * 20, encoding="utf-8")
    (project / "make.pl").write_text(MAKE, encoding="utf-8")
    copies = {"Dockerfile": "COPY ", "Dockerfile.link": "COPY --link "}
    texts = {"lamella.toml": PROJECT} | {name: DOCKERFILE.replace("COPY", copy) for name, copy in copies.items()}
    for name, text in texts.items():
        for word, value in words.items():
            text = text.replace(word, value)  # noqa: PLW2901
        (project / name).write_text(text, encoding="utf-8")
    return Place(project, folder / "store")


def timed(argv: list[str], cwd: Path, env: Mapping[str, str]) -> float:
    """Wall seconds of one process; a failure ends the benchmark with the process's words."""
    start = time.perf_counter()
    done = subprocess.run(argv, cwd=cwd, env=env, check=False, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return seconds


@contextlib.contextmanager
def daemon(name: str, folder: Path) -> Iterator[Mapping[str, str]]:
    """A real component for as long as the block runs, with all its state below ``folder``."""
    folder.mkdir(parents=True)
    try:
        running = STARTERS[name](folder)
    except DaemonError as error:
        sys.exit(f"{name} does not start: {error}")
    try:
        yield running.info
    finally:
        running.stop()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(slots=True)
class Buildx:
    """The buildx plugin with state of its own, against one builder."""

    config: Path
    env: dict[str, str] = field(default_factory=dict)
    builder: str = "default"

    def run(self, cwd: Path, *arguments: str) -> float:
        """Wall seconds of one buildx command."""
        component = find_component(DOCKER_28)
        if component is None:
            sys.exit("component docker28 is not there; `scripts/components.sh docker28` brings it")
        env = {**os.environ, "DOCKER_CONFIG": str(self.config), "BUILDX_BUILDER": self.builder, **self.env}
        return timed([str(docker_plugins(component)["docker-buildx"]), *arguments], cwd, env)

    def build(self, place: Place, *arguments: str, link: bool = False) -> float:
        """Wall seconds of ``buildx build`` of one of the Dockerfiles, without provenance, which ours has not either."""
        file = "Dockerfile.link" if link else "Dockerfile"
        return self.run(place.folder, "build", "--progress", "quiet", "--provenance=false", "-f", file, *arguments, ".")


@contextlib.contextmanager
def fresh_builder(folder: Path) -> Iterator[Buildx]:
    """A buildkitd that has nothing, started and known to buildx before anything is measured."""
    with daemon("buildkitd", folder / "daemon") as info:
        buildx = Buildx(folder / "config", builder="fresh")
        buildx.run(folder, "create", "--name", "fresh", "--driver", "remote", "--bootstrap", info["address"])
        yield buildx
    shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a registry's clients sent in some time: one (method, path, received bytes, sent bytes) per request."""

    requests: tuple[tuple[str, str, int, int], ...]

    @property
    def bytes(self) -> int:
        """Bodies in both directions."""
        return sum(received + sent for _, _, received, sent in self.requests)

    def manifests(self) -> tuple[str, ...]:
        """Requests for or of manifests, as ``GET /v2/…``."""
        return tuple(f"{method} {path}" for method, path, *_ in self.requests if "/manifests/" in path)


class RequestLog:
    """The log of the in-memory registry, read from where it stands on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size

    def since(self) -> Traffic:
        """What came since the last question."""
        with self._path.open("rb") as log:
            log.seek(self._offset)
            data = log.read()
        self._offset += len(data)
        rows = [line.split() for line in data.decode().splitlines()]
        return Traffic(tuple((row[0], row[1], int(row[3]), int(row[4])) for row in rows if len(row) == 5))
