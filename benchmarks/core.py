"""``make bench-core``: start-up, no-op build, whole plans of a large workspace, step overhead, layer writing, scanning.

Figures are whole processes, started as people start them. Each part alternates with its peer where it has one, and the
median counts: of at least five runs, of three where one takes seconds. Results go to ``benchmarks/results/core.json``;
nothing here fails because a figure is bad.
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
from pathlib import Path
from typing import Any

from benchmarks import scan, starts, tar_writing
from benchmarks.planted import plant
from benchmarks.workspace import CRATES, make_workspace
from benchmarks.workspace import FILES as CRATE_FILES

RESULTS = Path(__file__).with_name("results") / "core.json"
LAMELLA = [str(Path(sys.executable).with_name("lamella"))]
FILES, RUNS, FIRST_RUNS, STEPS = 2000, 7, 3, 10
YOUNG = 2.5
"""Seconds until files are trusted by their times."""

PROJECT = """
[project]
schema = 1
name = "bench-core"

[layer.base]
bootstrap = "debian/bookworm"

[layer.app]
files = [{ from = "src", to = "/app" }]

[image.bench]
layers = ["base", STEPS"app"]
"""


def measured(argv: list[str], cwd: Path, env: dict[str, str]) -> tuple[float, int]:
    """Wall seconds and peak memory in MB of one process; a failure ends the benchmark."""
    start = time.perf_counter()
    process = subprocess.Popen(argv, cwd=cwd, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{argv} ended with {process.returncode}")
    return seconds, usage.ru_maxrss // 1024


def timed(argv: list[str], cwd: Path, env: dict[str, str]) -> float:
    """Wall seconds of one process."""
    return measured(argv, cwd, env)[0]


def row(
    name: str, work: str, ours: list[float], theirs: list[float], peer: str, goal: float, memory: int = 0
) -> dict[str, Any]:
    """One result; ``goal`` in seconds, ``memory`` in MB."""
    ratio = statistics.median(theirs) / statistics.median(ours) if theirs else 0.0
    return {
        "id": name,
        "work": work,
        "ours": [round(value, 4) for value in ours],
        "peer": peer,
        "theirs": [round(value, 4) for value in theirs],
        "ratio": round(ratio, 2),
        "bytes": 0,
        "goal": f"< {goal} s",
        "met": statistics.median(ours) < goal,
        **({"memory_mb": memory} if memory else {}),
    }


def start_up(folder: Path, env: dict[str, str]) -> dict[str, Any]:
    """``lamella --version`` against a bare interpreter."""
    ours, theirs = [], []
    for _ in range(RUNS):
        ours.append(timed([*LAMELLA, "--version"], folder, env))
        theirs.append(timed([sys.executable, "-c", "pass"], folder, env))
    return row("start-up", "lamella --version", ours, theirs, "bare interpreter", 0.06)


def no_op(folder: Path, env: dict[str, str]) -> dict[str, Any]:
    """P4: a project of 2,000 files, nothing changed."""
    project = folder / "noop"
    for number in range(FILES):
        path = project / "src" / f"d{number // 50:02}" / f"f{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number}\n")
    (project / "lamella.toml").write_text(PROJECT.replace("STEPS", ""))
    for _ in range(2):
        subprocess.run(
            [*LAMELLA, "build", "--progress", "quiet"], cwd=project, env=env, check=True, capture_output=True
        )
    time.sleep(YOUNG)
    timed([*LAMELLA, "build", "--progress", "quiet"], project, env)
    ours, theirs = [], []
    for _ in range(RUNS):
        ours.append(timed([*LAMELLA, "build", "--progress", "quiet"], project, env))
        theirs.append(timed([sys.executable, "-c", "import click"], project, env))
    return row("P4 no-op build", f"{FILES} files", ours, theirs, "import of click (a limit, no peer)", 0.15)


def whole_plans(folder: Path, env: dict[str, str]) -> list[dict[str, Any]]:
    """P6: ``lamella plan`` of 1,000 crates and 100,000 files whose records are all there, and nothing changed."""
    root, store = folder / "large", folder / "large-store"
    env = {**env, "LAMELLA_STORE": str(store)}
    make_workspace(root)
    plant(root / "lamella.toml", store)
    time.sleep(YOUNG)
    plan, status = [*LAMELLA, "plan", "--detailed-exitcode"], ["git", "status", "--porcelain", "-uall"]
    walk = [sys.executable, "-c", scan.WALK, str(root)]
    work = f"plan of {CRATES * CRATE_FILES} files, {CRATES} crates"

    def forgotten() -> tuple[float, int]:
        shutil.rmtree(store / "scan")
        (store / "scan").mkdir()
        return measured(plan, root, env)

    def part(name: str, goal: float, runs: int, peer: str, theirs: list[str], first: bool) -> dict[str, Any]:
        pairs = [(forgotten() if first else measured(plan, root, env), timed(theirs, root, env)) for _ in range(runs)]
        seconds, memory = zip(*(pair[0] for pair in pairs), strict=True)
        return row(f"P6 {name}", work, list(seconds), [pair[1] for pair in pairs], peer, goal, max(memory))

    rows = [part("first, git", 3.0, FIRST_RUNS, "walk", walk, first=True)]
    rows.append(part("unchanged, git", 0.25, RUNS, "git status", status, first=False))
    shutil.rmtree(root / ".git")
    rows.append(part("first, no git", 3.0, FIRST_RUNS, "walk", walk, first=True))
    rows.append(part("unchanged, no git", 0.4, RUNS, "walk", walk, first=False))
    return rows


def step_overhead(folder: Path, env: dict[str, str], *, changes: bool = False) -> dict[str, Any]:
    """Seconds per step of a chain of steps that do nothing, or just make a file, from the records of one build."""
    project = folder / ("files" if changes else "steps")
    (project / "src").mkdir(parents=True)
    (project / "src" / "a").write_text("a\n")
    commands = [f'"touch", "/srv/{number}"' if changes else '"true"' for number in range(STEPS)]
    layers = "".join(
        f'\n[layer.s{number}]\nrun = [[{command}]]\nenv = {{ N = "{number}" }}\n'
        for number, command in enumerate(commands)
    )
    names = "".join(f'"s{number}", ' for number in range(STEPS))
    (project / "lamella.toml").write_text(PROJECT.replace("STEPS", names) + layers)
    argv = [*LAMELLA, "build", "--progress", "quiet", "--format", "json"]
    done = subprocess.run(argv, cwd=project, env=env, check=True, capture_output=True)
    rows = json.loads(done.stdout)["vertices"]
    ours = [item["seconds"] for item in rows if item["name"].startswith("s")]
    if changes:
        return row("sandbox, a change", "a step that makes a file, with its commit and facts", ours, [], "", 0.1)
    return row("sandbox", "a step that does nothing, with its commit and facts", ours, [], "", 0.1)


def sandbox_start(env: dict[str, str]) -> dict[str, Any]:
    """Seconds from asking for a step to its command's first look at a clock, on the base of :func:`step_overhead`."""
    ours, theirs = starts.measure(Path(env["LAMELLA_STORE"]), "bench-core", "base", STEPS)
    return row("sandbox start", "asked for a step until its command runs", ours, theirs, "bubblewrap alone", 0.1)


def main() -> None:
    """Runs all parts, prints and keeps them."""
    with tempfile.TemporaryDirectory(prefix="lamella-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        env = {**os.environ, "LAMELLA_STORE": str(folder / "store")}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        rows = [start_up(folder, env), no_op(folder, env), *whole_plans(folder, env)]
        rows += [step_overhead(folder, env), step_overhead(folder, env, changes=True), sandbox_start(env)]
    for item in rows:
        median = statistics.median(item["ours"])
        against = f"  {item['peer']} {statistics.median(item['theirs']):.3f} s" if item["theirs"] else ""
        print(f"{item['id']:16} {item['work']:52} {median:.3f} s, goal {item['goal']}: {item['met']}{against}")
    machine = {
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"machine": machine, "results": rows}, indent=1) + "\n", encoding="utf-8")
    tar_writing.main()
    scan.main()


if __name__ == "__main__":
    main()
