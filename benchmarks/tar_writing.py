"""Layer writing against the standard library's tarfile: files per second, the same tree, alternating runs.

Both write an uncompressed layer of 10,000 small files into memory-backed files, sorted, with constant times and owners,
and take the SHA-256 of what they write. Ours also compares every file with its size and digest, which tarfile cannot.
``python -m benchmarks.tar_writing`` prints a table and writes ``benchmarks/results/tar_writing.json``.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import random
import statistics
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from lamella.graph.fileset import FileSet
from lamella.layers.content import directory_content
from lamella.layers.snapshot import scan_tree
from lamella.layers.tar import write_layer

FILES, RUNS, GOAL = 10_000, 7, 3.0
RESULTS = Path(__file__).parent / "results" / "tar_writing.json"


def make_tree(root: Path) -> FileSet:
    """10,000 files of 100 to 4,000 bytes in 100 directories, always the same."""
    draw = random.Random(1)
    for number in range(FILES):
        folder = root / f"package_{number % 100}"
        folder.mkdir(exist_ok=True)
        (folder / f"module_{number}.py").write_bytes(draw.randbytes(draw.randint(100, 4000)))
    return scan_tree(root)


class _Hashing(io.RawIOBase):
    """A file that takes the digest of what is written to it."""

    def __init__(self, out: io.BufferedWriter) -> None:
        self._out = out
        self.digest = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size

    def write(self, data: Any, /) -> int:
        self.digest.update(data)
        self.size += len(data)
        return self._out.write(data)


def ours(root: Path, fileset: FileSet, out: io.BufferedWriter) -> int:
    with directory_content(root) as content:
        return write_layer(fileset, content, out).size


def _normal(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = ""
    return info


def stdlib(root: Path, fileset: FileSet, out: io.BufferedWriter) -> int:
    hashing = _Hashing(out)
    with tarfile.open(fileobj=hashing, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in fileset:
            archive.add(root / entry.path, arcname=entry.path, recursive=False, filter=_normal)
    return hashing.size


def measure() -> list[dict[str, Any]]:
    """One row: seconds of each run, the ratio of medians, and whether the goal is met."""
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    size = 0
    with tempfile.TemporaryDirectory(dir=memory, prefix="lamella-bench-") as folder:
        root = Path(folder) / "tree"
        root.mkdir()
        fileset = make_tree(root)
        for run in range(RUNS + 1):
            for name, write in (("ours", ours), ("theirs", stdlib)):
                with (Path(folder) / "layer.tar").open("wb") as out:
                    start = time.perf_counter()
                    size = write(root, fileset, out)
                    seconds = time.perf_counter() - start
                if run:  # the first round warms caches
                    times[name].append(seconds)
    ratio = statistics.median(times["theirs"]) / statistics.median(times["ours"])
    row = {
        "id": "tar",
        "work": f"layer of {FILES} small files, written and hashed",
        **{name: [round(value, 4) for value in values] for name, values in times.items()},
        "peer": f"tarfile of Python {platform.python_version()}",
        "ratio": round(ratio, 2),
        "bytes": size,
        "goal": GOAL,
        "met": ratio >= GOAL,
    }
    return [row]


def main() -> None:
    rows = measure()
    machine = {"processors": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n", encoding="utf-8")
    for row in rows:
        for name, who in (("ours", "lamella"), ("theirs", row["peer"])):
            median, spread = statistics.median(row[name]), max(row[name]) - min(row[name])
            print(f"{who:32} {FILES / median:9.0f} files/s   {median:.3f} s ± {spread / 2:.3f}")
        print(f"{row['work']}: {row['ratio']}x, goal {row['goal']}x: {'met' if row['met'] else 'NOT met'}")


if __name__ == "__main__":
    main()
