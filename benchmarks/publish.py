"""``make bench-publish``: from a change to an image in a registry, against BuildKit and Docker, in the same run.

P3 and P5 of the goals, publishing and building when nothing changed, ``--load`` of a changed application layer, and
the memory of a large push. Times are taken with docker-registry; bytes and requests with the registry in memory, which
logs them, but hashes a blob anew for each question about it and so would add as much as the rest to a time. Sides
alternate, medians count, every command is a whole process. The peers' daemons are started and know their builder
before anything is measured, and what earlier runs left behind is done. Results: ``benchmarks/results/publish.json``.

LAMELLA_BENCH_SCALE  size of the dependency layer (1: 868 MB) · LAMELLA_BENCH_PUSH_GB  size of the large push (10)
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.core import LAMELLA, row
from benchmarks.core import RESULTS as CORE_RESULTS
from benchmarks.publish_places import (
    SCALE,
    Buildx,
    Place,
    RequestLog,
    daemon,
    fresh_builder,
    make_place,
)
from tests.integration.components.bases import base_layout
from tests.integration.components.installed import DOCKER_28, GO, component_versions, find_component
from tests.integration.components.presence import find_program
from tests.integration.components.tools import Skopeo, Umoci

RESULTS = CORE_RESULTS.with_name("publish.json")
RUNS, LONG_RUNS = 5, 3
PUSH_GB = float(os.environ.get("LAMELLA_BENCH_PUSH_GB", "10"))
QUIET = ("--progress", "quiet")
PUBLISH = ("publish", "--attest", "none", *QUIET)


def against(name: str, work: str, ours: list[float], theirs: list[float], peer: str, times: float) -> dict[str, Any]:
    """One result whose goal is a ratio."""
    made = row(name, work, ours, theirs, peer, 0)
    return made | {"goal": f">= {times:g}x", "met": made["ratio"] >= times}


def settle() -> None:
    """Before a run that is timed: what earlier ones left to the disk is written, and daemons are done with them."""
    os.sync()
    time.sleep(3)


def push_base(registry: str) -> None:
    """The Debian of the tests, as every side pulls it."""
    layout = base_layout(Umoci(find_program("umoci") or "umoci"), "amd64")
    Skopeo(find_program("skopeo") or "skopeo").copy(f"oci:{layout}:base", f"docker://{registry}/base:bookworm")


class Fresh:
    """P3: a machine with a checkout, one changed file and nothing else; the registry has what was built before."""

    def __init__(self, folder: Path, registry: str) -> None:
        self.folder, self.registry = folder, registry
        self.seed = make_place(folder / "seed", registry)
        self.number = 0

    def cache(self, *, link: bool) -> str:
        return f"type=registry,ref={self.registry}/peer/{'link' if link else 'plain'}-cache"

    def image(self, *, link: bool) -> str:
        return f"{self.registry}/peer/{'link' if link else 'plain'}:latest"

    def fill_ours(self) -> None:
        """What earlier builds of ours left: the image and its records."""
        self.seed.lamella("lock")
        self.seed.lamella("build", "--prod", "--push-records", *QUIET)
        self.seed.lamella(*PUBLISH)

    def fill_theirs(self) -> None:
        """The same of theirs: images, and their cache with every stage."""
        with fresh_builder(self.folder / "seed-builder") as buildx:
            for link in (False, True):
                to = f"{self.cache(link=link)},mode=max"
                buildx.build(self.seed, "--cache-to", to, "--push", "-t", self.image(link=link), link=link)

    def machine(self) -> Place:
        """The next fresh machine, with its change."""
        self.number += 1
        place = self.seed.copy(self.folder / f"machine{self.number}")
        place.edit(self.number)
        settle()
        return place

    def ours(self) -> float:
        place = self.machine()
        seconds = place.lamella(*PUBLISH)
        shutil.rmtree(place.folder.parent)
        return seconds

    def theirs(self, *, link: bool) -> float:
        place = self.machine()
        with fresh_builder(self.folder / "builder") as buildx:
            source = ("--cache-from", self.cache(link=link))
            seconds = buildx.build(place, *source, "--push", "-t", self.image(link=link), link=link)
        shutil.rmtree(place.folder.parent)
        return seconds


def fresh_machine(fresh: Fresh) -> list[dict[str, Any]]:
    """P3 against the ordinary and the expert Dockerfile."""
    rows = []
    work = "fresh machine, one of 200 application files changed, to the published image"
    for link, peer, runs, times in (
        (False, "BuildKit, registry cache, COPY", LONG_RUNS, 50.0),
        (True, "BuildKit, registry cache, COPY --link", RUNS, 1.5),
    ):
        pairs = [(fresh.ours(), fresh.theirs(link=link)) for _ in range(runs)]
        rows.append(against("P3", work, [own for own, _ in pairs], [other for _, other in pairs], peer, times))
    return rows


def fresh_bytes(fresh: Fresh, log: RequestLog) -> list[dict[str, Any]]:
    """What P3 moves, by the log of a registry that writes down the bytes of every request."""
    log.since()
    fresh.ours()
    own = log.since()
    sent = sum(received for method, _, received, _ in own.requests if method in {"PUT", "PATCH"})
    made = row("P3 bytes", "bodies in both directions against those sent", [own.bytes], [sent], "what changed", 0)
    over = round(own.bytes / sent, 2)
    return [
        made
        | {"ratio": over, "bytes": own.bytes, "requests": len(own.requests), "goal": "<= 1.05x", "met": over <= 1.05}
    ]


def nothing_to_publish(fresh: Fresh, log: RequestLog) -> list[dict[str, Any]]:
    """The seed's machine publishes again: time, and the requests of our side."""
    place = fresh.seed
    place.lamella(*PUBLISH)
    time.sleep(2.5)  # files that are younger than two seconds are hashed again
    place.lamella(*PUBLISH)
    ours, theirs = [], []
    requests: list[str] = []
    with fresh_builder(fresh.folder / "builder") as buildx:
        output = ("--push", "-t", f"{fresh.registry}/peer/again:latest")
        buildx.build(place, *output)
        for _ in range(RUNS):
            log.since()
            ours.append(place.lamella(*PUBLISH))
            requests = [path for _, path, *_ in log.since().requests]
            theirs.append(buildx.build(place, *output))
    made = row("no-op publish", "nothing changed, one image", ours, theirs, "BuildKit, warm, --push", 0.3)
    one = len(requests) == 1 and "/manifests/" in requests[0]
    return [made | {"goal": "< 0.3 s, one manifest request", "requests": len(requests), "met": made["met"] and one}]


def export(folder: Path, registry: str) -> list[dict[str, Any]]:
    """P5: the step has run, nothing is exported yet: compress the dependency layer and push the image."""
    ours, theirs, zstd = [], [], []
    store = folder / "store"
    with fresh_builder(folder / "builder") as buildx:
        for number in range(LONG_RUNS + 1):
            place = Place(make_place(folder / f"p5-{number}", registry, seed=number + 2).folder, store)
            place.lamella("lock")
            place.lamella("build", "--prod", "--target", "deps", *QUIET)
            buildx.build(place)
            options = "push=true,compression=zstd,compression-level=1,force-compression=true"
            output = f"type=image,name={registry}/peer/zstd:{number},{options}"
            settle()
            own = place.lamella(*PUBLISH)
            settle()
            gzip = buildx.build(place, "--push", "-t", f"{registry}/peer/export:{number}")
            settle()
            fast = buildx.build(place, "--output", output)
            if number:  # the first also moves the base
                ours.append(own)
                theirs.append(gzip)
                zstd.append(fast)
            shutil.rmtree(place.folder.parent)
    work = f"export and push of the {868 * SCALE:.0f} MB layer after its step"
    return [
        against("P5 export", work, ours, theirs, "BuildKit, --push (gzip)", 3.0),
        against("P5 export", work, ours, zstd, "BuildKit, push=true, zstd level 1", 1.0),
    ]


def docker_engines(folder: Path, place: Place) -> list[dict[str, Any]]:
    """No-op builds and ``--load`` of a changed application layer, on both image stores of Docker Engine."""
    rows = []
    for name, goal in (("docker28", 0.25), ("docker28-containerd", 0.5)):
        with daemon(name, folder / name) as info:
            host = {"DOCKER_HOST": info["host"], "DOCKER_CONFIG": info["config"]}
            buildx = Buildx(Path(info["config"]), host)
            load, theirs_load = ("build", "--load", *QUIET), ("--load", "-t", "service:peer")
            place.lamella(*load, env=host)
            buildx.build(place, *theirs_load)
            ours, theirs = [], []
            for number in range(RUNS + 1):
                place.edit(1000 + number)
                ours.append(place.lamella(*load, env=host))
                theirs.append(buildx.build(place, *theirs_load))
            work = "--load after a change of one application file"
            rows.append(row(f"load {name}", work, ours[1:], theirs[1:], "buildx build --load", goal))
            if name == "docker28":
                rows += nothing_to_build(place, partial(buildx.build, place, *theirs_load))
    return rows


def nothing_to_build(place: Place, peer: Callable[[], float]) -> list[dict[str, Any]]:
    """A local build when nothing changed, against Docker Engine."""
    time.sleep(2.5)
    place.lamella("build", *QUIET)
    ours, theirs = [], []
    for _ in range(RUNS):
        ours.append(place.lamella("build", *QUIET))
        theirs.append(peer())
    return [against("no-op build", "nothing changed", ours, theirs, "docker buildx build, Docker Engine 28", 2.0)]


LARGE = """
[project]
schema = 1
name = "large"
repository = "REGISTRY/large"

[layer.data]
files = [{ from = "data", to = "/data" }]

[image.large]
layers = ["data"]
tags = ["latest"]
"""


def large_push(folder: Path) -> list[dict[str, Any]]:
    """Peak resident memory of a push whose one layer is large and not compressed.

    The file is sparse but for 2 % of noise: a layer that shrinks without bounds is refused as a decompression bomb.
    """
    project = folder / "large"
    (project / "data").mkdir(parents=True)
    with (project / "data" / "blob").open("wb") as blob:
        for number in range(max(1, round(PUSH_GB * 20))):
            blob.seek(number * 50_000_000)
            blob.write(os.urandom(1_000_000))
        blob.truncate(int(PUSH_GB * 1e9))
    argv = [sys.executable, "-m", "benchmarks.discarding_registry"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as registry:
        assert registry.stdin
        assert registry.stdout
        port = registry.stdout.readline().strip()
        (project / "lamella.toml").write_text(LARGE.replace("REGISTRY", f"127.0.0.1:{port}"), encoding="utf-8")
        command = [*LAMELLA, *PUBLISH, "--compression", "none"]
        seconds, peak = watched(command, project, Place(project, folder / "large-store").env)
        registry.stdin.close()
        taken = registry.stdout.readline()
    shutil.rmtree(folder / "large-store", ignore_errors=True)
    made = row("memory", f"publish of {int(taken) / 1e9:.1f} GB, peak of the largest process", [seconds], [], "", 0)
    return [made | {"bytes": peak, "goal": "< 256 MB", "met": peak < 256_000_000}]


def watched(argv: list[str], cwd: Path, env: Mapping[str, str]) -> tuple[float, int]:
    """Wall seconds and peak resident bytes of one process (wait4(2), the larger of it and its children)."""
    start = time.perf_counter()
    child = subprocess.Popen(argv, cwd=cwd, env=dict(env), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{' '.join(argv)} ended with {child.returncode}")
    return time.perf_counter() - start, usage.ru_maxrss * 1024


def show(item: dict[str, Any]) -> None:
    """A result as a line."""
    theirs = f"; {item['peer']} {statistics.median(item['theirs']):.2f}, {item['ratio']}x" if item["theirs"] else ""
    moved = f"; {item['bytes']} bytes" if item["bytes"] else ""
    met = "met" if item["met"] else "NOT met"
    ours = statistics.median(item["ours"])
    print(f"{item['id']:14} {item['work']}: {ours:.3f}{theirs}{moved}; {item['goal']} {met}", flush=True)


def versions() -> dict[str, str]:
    """What the peers are."""
    folders = [folder for name in (DOCKER_28, GO) if (folder := find_component(name))]
    return {name: version for folder in folders for name, version in component_versions(folder).items()}


def main() -> None:
    """Runs all parts, prints and keeps them."""
    rows: list[dict[str, Any]] = []

    def keep(more: list[dict[str, Any]]) -> None:
        for item in more:
            show(item)
        rows.extend(more)

    with tempfile.TemporaryDirectory(prefix="lamella-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with daemon("registry", folder / "registry") as info:
            push_base(info["address"])
            fresh = Fresh(folder / "fresh", info["address"])
            fresh.fill_ours()
            fresh.fill_theirs()
            keep(fresh_machine(fresh))
            keep(docker_engines(folder, fresh.seed))
            keep(export(folder, info["address"]))
        with daemon("oci-registry", folder / "oci-registry") as info:
            push_base(info["address"])
            fresh, log = Fresh(folder / "logged", info["address"]), RequestLog(Path(info["log"]))
            fresh.fill_ours()
            keep(fresh_bytes(fresh, log))
            keep(nothing_to_publish(fresh, log))
        keep(large_push(folder))
    machine = {
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
        "scale": SCALE,
        **versions(),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"machine": machine, "results": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
