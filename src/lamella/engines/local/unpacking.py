"""Unpacks foreign layers, each in a process that can do nothing else (RELIABILITY X2).

The helper's end starts a fresh interpreter in the helper's namespaces, hands it the job and reads one answer. The other
end loads what it needs, puts up its walls (``confinement``) and only then reads the archive's first byte.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from lamella import errors
from lamella.engines.local.channel import from_plain, to_plain
from lamella.engines.local.confinement import Limits, confine
from lamella.engines.local.jobs import UnpackJob
from lamella.errors import HostileInputError, InternalError, LamellaError
from lamella.layers.budgets import DEFAULT_BUDGETS
from lamella.process import run

__all__ = ["main", "unpack"]

_START = "from lamella.engines.local.unpacking import main; main()"
_LIMITS = Limits(file=DEFAULT_BUDGETS.size, seconds=DEFAULT_BUDGETS.seconds)


def unpack(job: UnpackJob, *, rootless: bool) -> dict[str, Any]:
    """Unpacks a layer blob as an element of an overlay; its file set is a file beside the result.

    Raises HostileInputError for a hostile archive, IntegrityError when its bytes are not those of ``diff_id``.
    """
    env = {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
    }
    asked = json.dumps({"job": to_plain(job), "rootless": rootless}).encode()
    done = run((sys.executable, "-P", "-c", _START), env=env, stdin=asked, check=False, error=InternalError)
    if done.code:
        raise _died(done.code, done.stderr)
    answer: dict[str, Any] = json.loads(done.stdout)
    if "error" in answer:
        kind = getattr(errors, answer["error"])
        raise kind(answer["text"], hint=answer["hint"], details=tuple(answer["details"]))
    return answer


def _died(code: int, said: bytes) -> LamellaError:
    """The error of a process that did not answer; a signal's number is negative."""
    if -code in (signal.SIGXCPU, signal.SIGKILL):
        return HostileInputError(f"unpacking a layer took more than {_LIMITS.seconds} s of a processor's time")
    details = tuple(said.decode("utf-8", "replace").splitlines()[-20:])
    return InternalError(f"the process that unpacks layers ended with {code}", details=details)


def main() -> None:
    """The confined end: one job on standard input, one answer on standard output."""
    asked = json.load(sys.stdin.buffer)
    json.dump(_answer(from_plain(asked["job"], UnpackJob), rootless=asked["rootless"]), sys.stdout)


def _answer(job: UnpackJob, *, rootless: bool) -> dict[str, Any]:
    try:
        return _unpack(job, rootless=rootless)
    except LamellaError as error:
        found = error
    except MemoryError:
        found = HostileInputError(f"unpacking a layer needs more than {_LIMITS.memory >> 30} GiB of memory")
    return {"error": type(found).__name__, "text": found.message, "hint": found.hint, "details": found.details}


def _unpack(job: UnpackJob, *, rootless: bool) -> dict[str, Any]:
    from lamella.layers.decompress import open_decompressed
    from lamella.layers.policy import ROOT_POLICY, ROOTLESS_POLICY, UnpackMode
    from lamella.layers.unpack import unpack_layer

    policy = ROOTLESS_POLICY if rootless else ROOT_POLICY
    with open(job.blob, "rb") as blob:
        confine(job.folder, _LIMITS)
        archive = open_decompressed(blob, job.media_type)
        done = unpack_layer(archive, job.result, mode=UnpackMode.OVERLAY, policy=policy, diff_id=job.diff_id)
    path = Path(job.folder) / "fileset"
    path.write_bytes(done.fileset.to_bytes())
    return {"fileset": str(path), "warnings": list(done.warnings)}
