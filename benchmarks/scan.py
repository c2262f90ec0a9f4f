"""The scan of a source tree (P6): first time, nothing changed, one edit; with git and without; time and memory.

Each run is a process of its own, so that interpreter start and imports count. Peers, alternating with ours:
`git status` of the same work tree, and a bare stat walk in Python of the same files, which is the physical limit of a
scan without git. ``python -m benchmarks.scan [FILES]`` (default 100,000) prints a table, writes
``benchmarks/results/scan.json`` and removes the tree again.
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
from collections.abc import Callable
from pathlib import Path

FILES, CRATES, RUNS, FIRST_RUNS = 100_000, 1000, 7, 3
RESULTS = Path(__file__).parent / "results" / "scan.json"
FOLDERS = ("src", "src/a", "src/b", "tests", "benches/x")

PROGRAM = """
import os, resource, sys
from pathlib import Path
from lamella.clock import SystemClock
from lamella.sources.worktree import WorkTree
root, cache, crates = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
with WorkTree(root, clock=SystemClock(), env=dict(os.environ), cache=cache) as tree:
    tree.digest(("**",))
    tree.paths(("**/Cargo.toml",))
    for number in range(crates):
        tree.digest((f"crates/c{number:04}/**", "!**/target"))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""

WALK = """
import os, sys
pending = [sys.argv[1]]
while pending:
    with os.scandir(pending.pop()) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
            else:
                entry.stat(follow_symlinks=False)
"""


def make_tree(root: Path, files: int) -> None:
    """A workspace of 1,000 crates whose files lie in five folders each."""
    for crate in range(CRATES):
        home = root / "crates" / f"c{crate:04}"
        for folder in FOLDERS:
            (home / folder).mkdir(parents=True)
        (home / "Cargo.toml").write_text(f'[package]\nname = "c{crate}"\n')
        for number in range(files // CRATES - 1):
            text = f"// {crate} {number}\n" * (20 + number)
            (home / FOLDERS[number % len(FOLDERS)] / f"f{number:03}.rs").write_text(text)


def git(root: Path, *args: str) -> None:
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@example.org", "-c", "gc.auto=0"]
    subprocess.run(["git", *identity, *args], cwd=root, check=True, stdout=subprocess.DEVNULL)


def timed(argv: list[str], cwd: Path) -> tuple[float, str]:
    start = time.perf_counter()
    done = subprocess.run(argv, cwd=cwd, check=True, capture_output=True, text=True)
    return time.perf_counter() - start, done.stdout


class Bench:
    def __init__(self, folder: Path, files: int) -> None:
        self.folder, self.files = folder, files
        self.memory: list[int] = []
        self.rows: list[dict[str, object]] = []

    def ours(self, root: Path, cache: str) -> float:
        seconds, printed = timed(
            [sys.executable, "-c", PROGRAM, str(root), str(self.folder / cache), str(CRATES)], root
        )
        self.memory.append(int(printed) // 1024)
        return seconds

    def row(
        self,
        name: str,
        goal: float,
        ours: Callable[[], float],
        peer: str,
        theirs: Callable[[], float],
        runs: int = RUNS,
    ) -> None:
        """Alternates both sides; the goal is in seconds."""
        self.memory.clear()
        pairs = [(ours(), theirs()) for _ in range(runs)]
        mine, other = ([round(pair[side], 4) for pair in pairs] for side in (0, 1))
        median, their_median = statistics.median(mine), statistics.median(other)
        self.rows.append(
            {
                "id": name,
                "work": f"{self.files} files, {CRATES} crates",
                "ours": mine,
                "peer": peer,
                "theirs": other,
                "ratio": round(their_median / median, 2),
                "bytes": 0,
                "goal": f"< {goal} s",
                "met": median < goal,
                "memory_mb": max(self.memory),
            }
        )
        verdict = "met" if median < goal else "MISSED"
        spread = f"{min(mine):.3f}-{max(mine):.3f}"
        print(f"{name:18} {median:6.3f} s ({spread})  < {goal} s {verdict}  {max(self.memory)} MB", end="   ")
        print(f"{peer} {their_median:.3f} s", flush=True)


def run(folder: Path, files: int) -> list[dict[str, object]]:
    plain, worktree = folder / "plain", folder / "git"
    make_tree(plain, files)
    shutil.copytree(plain, worktree)
    git(worktree, "init", "-q")
    git(worktree, "add", "-A")
    git(worktree, "commit", "-q", "-m", "all")
    time.sleep(3)  # what changed less than two seconds ago is never trusted by its times
    bench = Bench(folder, files)
    status = ["git", "status", "--porcelain", "-uall"]
    edited = worktree / "crates/c0500/src/f000.rs"

    def walk(root: Path) -> float:
        return timed([sys.executable, "-c", WALK, str(root)], root)[0]

    def first(root: Path, cache: str) -> float:
        shutil.rmtree(folder / cache, ignore_errors=True)
        return bench.ours(root, cache)

    def after_edit() -> float:
        edited.write_text(f"// {time.perf_counter_ns()}\n")
        return bench.ours(worktree, "cache-git")

    bench.row("first, git", 3.0, lambda: first(worktree, "cache-git"), "walk", lambda: walk(worktree), FIRST_RUNS)
    bench.row("first, no git", 3.0, lambda: first(plain, "cache-plain"), "walk", lambda: walk(plain), FIRST_RUNS)
    bench.row("unchanged, git", 0.25, lambda: bench.ours(worktree, "cache-git"), "git status",
              lambda: timed(status, worktree)[0])  # fmt: skip
    bench.row("unchanged, no git", 0.4, lambda: bench.ours(plain, "cache-plain"), "walk", lambda: walk(plain))
    bench.row("one edit, git", 1.0, after_edit, "git status", lambda: timed(status, worktree)[0])
    return bench.rows


def main() -> int:
    files = int(sys.argv[1]) if len(sys.argv) > 1 else FILES
    with tempfile.TemporaryDirectory(prefix="lamella-bench-") as name:
        rows = run(Path(name), files)
    machine = {
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"machine": machine, "results": rows}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
