"""Jobs on snapshots that run no step: look at chains, remove trees."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lamella.engines.local.jobs import ChainJob, RemoveJob
from lamella.engines.local.mounts import view_of
from lamella.engines.local.packages import package_set
from lamella.engines.local.sandbox import Sandbox
from lamella.errors import SandboxError
from lamella.host.rooted import Rooted
from lamella.process import SYSTEM_PATH

__all__ = ["facts_outline", "look", "probe", "remove"]


def look(job: ChainJob, sandbox: Sandbox, *, rootless: bool) -> dict[str, Any]:
    """Answers a question about a chain, mounted to be looked at; the answer is a file in the job's folder."""
    place = Path(job.folder) / "view"
    place.mkdir()
    answer = Path(job.folder) / "answer"
    with view_of(tuple(reversed(job.lowers)), str(place), rootless=rootless) as root:
        if job.want == "packages":
            answer.write_bytes(package_set(root, sandbox))
        else:
            answer.write_bytes(_facts(root, job.platform))
    os.rmdir(place)
    return {"answer": str(answer)}


def _facts(root: str, platform: str) -> bytes:
    from lamella.graph.facts_format import facts_to_bytes
    from lamella.layers.facts import extract_facts
    from lamella.oci.config import RuntimeConfig

    return facts_to_bytes(extract_facts(root, platform=platform, runtime=RuntimeConfig()))


def facts_outline(root: str) -> bytes:
    """The outline of a mounted chain's facts, in stored form."""
    from lamella.graph.facts_format import facts_to_bytes
    from lamella.layers.facts import outline_facts
    from lamella.oci.config import RuntimeConfig

    with Rooted(root) as rooted:
        return facts_to_bytes(outline_facts(rooted, runtime=RuntimeConfig()))


def probe(sandbox: Sandbox) -> dict[str, Any]:
    """Runs nothing in a sandbox on the host's own root; raises SandboxError when that cannot be had."""
    said = bytearray()
    ended = sandbox.run("/", ("true",), env={"PATH": SYSTEM_PATH}, on_chunk=lambda _, data: said.extend(data))
    if ended.code:
        raise SandboxError(
            f"a trial in the sandbox ended with exit status {ended.code}",
            hint="`lamella doctor` looks at what is missing",
            details=tuple(said.decode("utf-8", "replace").splitlines()[-10:]),
        )
    return {}


def remove(job: RemoveJob) -> dict[str, Any]:
    """Removes trees whose files may belong to anybody in the id mapping; missing ones are fine."""
    for path in job.paths:
        directory, name = os.path.split(path)
        with Rooted(directory) as parent:
            try:
                parent.remove_tree(name)
            except FileNotFoundError:
                continue
    return {}
