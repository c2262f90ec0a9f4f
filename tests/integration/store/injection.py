"""strace(1) that kills a process, or makes a call fail, at the n-th call of one kind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

CHANGING = (
    "write", "pwrite64", "fsync", "fdatasync", "syncfs", "ftruncate", "fchmod", "chmod", "utimensat",
    "link", "linkat", "rename", "renameat", "renameat2", "mkdir", "rmdir", "unlink", "unlinkat",
)  # fmt: skip
"""Calls that change a file system; not every machine has all of them, so each is asked for with ``?``."""

ENVIRONMENT = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}


@dataclass(frozen=True, slots=True)
class Strace:
    """strace by its path, around ``program`` on a store."""

    path: str

    def calls(self, root: Path, action: str, log: Path) -> Counter[str]:
        """How often each changing call is made when nothing goes wrong."""
        done = self._run(root, action, ["-e", f"trace={_set(CHANGING)}", "-o", str(log)])
        assert done.returncode == 0, done.stderr
        return Counter(re.findall(r"^(?:\d+ +)?(\w+)\(", log.read_text(errors="replace"), re.MULTILINE))

    def inject(self, root: Path, action: str, call: str, what: str) -> subprocess.CompletedProcess[str]:
        """One run with an injection, ``signal=KILL:when=3`` or ``error=EIO:when=3``."""
        arguments = ["-e", f"trace=?{call}", "-e", f"inject=?{call}:{what}", "-o", os.devnull]
        return self._run(root, action, arguments)

    def _run(self, root: Path, action: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-m", "tests.integration.store.program", str(root), action]
        return subprocess.run(
            [self.path, "-f", "-qq", *arguments, *program],
            capture_output=True,
            text=True,
            check=False,
            env=ENVIRONMENT,
            timeout=120,
        )


def _set(calls: tuple[str, ...]) -> str:
    return ",".join(f"?{call}" for call in calls)
