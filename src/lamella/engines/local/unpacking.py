"""Unpacks foreign layers, each in a process that can do nothing else (RELIABILITY X2).

The helper's end starts a fresh interpreter in the helper's namespaces, hands it the job and reads one answer. The other
end loads what it needs, puts up its walls (``confinement``) and only then reads the archive's first byte.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

from lamella.engines.local.channel import from_plain, to_plain
from lamella.engines.local.confinement import Limits, confine
from lamella.engines.local.jobs import Reply, UnpackJob, error_of, error_reply
from lamella.errors import HostileInputError, InternalError, LamellaError
from lamella.host.interpreter import fresh_interpreter
from lamella.layers.budgets import DEFAULT_BUDGETS
from lamella.process import run

__all__ = ["main", "unpack"]

_START = "from lamella.engines.local.unpacking import main; main()"
_LIMITS = Limits(file=DEFAULT_BUDGETS.size, seconds=DEFAULT_BUDGETS.seconds)


def unpack(job: UnpackJob, *, rootless: bool) -> dict[str, Any]:
    """Unpacks a layer blob as an element of an overlay; its file set is a file beside the result.

    Raises HostileInputError for a hostile archive, IntegrityError when its bytes are not those of ``diff_id``.
    """
    argv, found = fresh_interpreter(_START)
    env = {**found, "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8"}
    asked = json.dumps({"job": to_plain(job), "rootless": rootless}).encode()
    done = run(argv, env=env, stdin=asked, check=False, error=InternalError)
    if done.code:
        raise _died(done.code, done.stderr)
    reply = from_plain(json.loads(done.stdout), Reply)
    if reply.error:
        raise error_of(reply)
    return reply.result


def _died(code: int, said: bytes) -> LamellaError:
    """The error of a process that did not answer; a signal's number is negative."""
    if -code in (signal.SIGXCPU, signal.SIGKILL):
        return HostileInputError(f"unpacking a layer took more than {_LIMITS.seconds} s of a processor's time")
    details = tuple(said.decode("utf-8", "replace").splitlines()[-20:])
    return InternalError(f"the process that unpacks layers ended with {code}", details=details)


def main() -> None:
    """The confined end: one job on standard input, one answer on standard output."""
    asked = json.load(sys.stdin.buffer)
    json.dump(to_plain(_answer(from_plain(asked["job"], UnpackJob), rootless=asked["rootless"])), sys.stdout)


def _answer(job: UnpackJob, *, rootless: bool) -> Reply:
    try:
        return Reply(0, "done", result=_unpack(job, rootless=rootless))
    except LamellaError as error:
        return error_reply(0, error)
    except MemoryError:
        text = f"unpacking a layer needs more than {_LIMITS.memory >> 30} GiB of memory"
        return error_reply(0, HostileInputError(text))


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
