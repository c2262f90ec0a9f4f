"""``make demo``: an example from nothing to a running service, an edit, a no-op, and what each build did and cost.

Runs the command line as a person would, in a copy of ``examples/python-ml`` with a store of its own.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "python-ml"
LAMELLA = [sys.executable, "-m", "lamella.cli"]
EDITED = "src/digits/service.py"
HEALTH = "http://127.0.0.1:8000/healthz"


@dataclass
class Build:
    """One build of the demo: what people call it, its wall seconds and its report."""

    name: str
    seconds: float
    report: dict[str, Any]


class Demo:
    """The example's copy, its store, and the builds so far."""

    def __init__(self, folder: Path) -> None:
        self.project = folder / "digits"
        shutil.copytree(EXAMPLE, self.project, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
        self.env = {**os.environ, "LAMELLA_STORE": str(folder / "store")}
        self.builds: list[Build] = []
        self.metadata = folder / "metadata.json"

    def lamella(self, *arguments: str, quiet: bool = False) -> str:
        """Runs the command line; its talk goes to the terminal, its data is returned."""
        show(f"lamella {shlex.join(arguments)}")
        argv = [*LAMELLA, *arguments]
        done = subprocess.run(argv, cwd=self.project, env=self.env, stdout=subprocess.PIPE, check=False)
        text = done.stdout.decode()
        if done.returncode:
            sys.exit(f"demo: lamella {shlex.join(arguments)} ended with {done.returncode}")
        if not quiet:
            sys.stdout.write(text)
        return text

    def build(self, name: str) -> None:
        """One build, timed as a whole process."""
        start = time.monotonic()
        self.lamella("build", "--metadata-file", str(self.metadata), "--progress", PROGRESS)
        self.builds.append(Build(name, time.monotonic() - start, json.loads(self.metadata.read_text())))

    def serve(self) -> str:
        """Starts the service, asks for its health, stops it; returns the answer."""
        process = int(self.lamella("run", "digits", "--detach", "--no-build", quiet=True).split()[0])
        try:
            with urllib.request.urlopen(HEALTH, timeout=10) as answer:
                text = str(answer.read().decode())
        finally:
            os.kill(process, signal.SIGTERM)
            wait_gone(process)
        print(f"GET {HEALTH} -> {text}")
        return text

    def edit(self) -> None:
        """Changes one line of the service: its health check's answer."""
        path = self.project / EDITED
        before = path.read_text()
        after = before.replace('status="ok"', 'status="ok, edited"', 1)
        if after == before:
            sys.exit(f"demo: {EDITED} has no line to edit")
        path.write_text(after)
        show(f'edit {EDITED}: "ok" becomes "ok, edited"')

    def table(self) -> None:
        """What each build did and what it cost."""
        print("\nBuild                 wall    reused  built  steps run                          image layers moved")
        for build in self.builds:
            built = [row for row in build.report["vertices"] if row["outcome"] == "built"]
            names = ", ".join(dict.fromkeys(row["layer"] or row["name"] for row in built)) or "nothing"
            counts = build.report["counts"]
            moved = sum(1 for row in built if " -> " in row["name"])
            numbers = f"{build.seconds:6.2f} s  {counts['reused']:6}  {counts['built']:5}"
            print(f"{build.name:<20} {numbers}  {names:<34} {moved}")


PROGRESS = "auto" if sys.stderr.isatty() else "quiet"


def show(text: str) -> None:
    """A line that says what happens now."""
    print(f"\n$ {text}", flush=True)


def wait_gone(process: int) -> None:
    """Waits until a process has ended."""
    for _ in range(200):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    sys.exit(f"demo: process {process} does not stop")


def main() -> None:
    """Cold build, run, edit, rebuild, run, no-op, table."""
    folder = Path(tempfile.mkdtemp(prefix="lamella-demo-"))
    try:
        demo = Demo(folder)
        demo.lamella("lock")
        demo.lamella("plan")
        demo.build("cold, from nothing")
        first = demo.serve()
        demo.edit()
        demo.lamella("plan")
        demo.build("one line edited")
        second = demo.serve()
        if first == second or "edited" not in second:
            sys.exit("demo: the running service does not show the edit")
        demo.build("nothing changed")
        demo.lamella("explain", "app")
        demo.table()
        demo.lamella("cache", "status")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
