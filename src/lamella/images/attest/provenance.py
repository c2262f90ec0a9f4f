"""How an image was made: an in-toto statement with SLSA provenance, version 1 (slsa.dev/spec/v1.0/provenance).

It names what a verifier would have to repeat: project file, lock, cell, commit, bases and everything that was fetched.
The engine is not named: both give the same result.
No environment, no secret and no build argument's value is in it, only the names of arguments; times are those of the
image (SOURCE_DATE_EPOCH), so equal builds have equal provenance.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lamella import __version__
from lamella.canonical import FrozenMap, canonical_json
from lamella.graph.definition import Definition
from lamella.graph.op import BootstrapOp, FetchOp, ImageOp, WheelsOp
from lamella.images.attest.sbom import Subject
from lamella.values import dataclass

__all__ = ["IN_TOTO", "PREDICATE", "BuildFacts", "Material", "materials", "provenance_json"]

IN_TOTO = "application/vnd.in-toto+json"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:lamella:build:1"
"""Major version of what the parameters mean."""


@dataclass(frozen=True, slots=True, order=True)
class Material:
    """Something that the build took in: a URI and its digest as (algorithm, hex)."""

    uri: str
    algorithm: str
    value: str

    def to_json(self) -> dict[str, Any]:
        """A resource descriptor (in-toto attestation framework)."""
        return {"uri": self.uri, "digest": {self.algorithm: self.value}}


@dataclass(frozen=True, slots=True)
class BuildFacts:
    """What was built from. ``project`` and ``lock`` are digests of the files' bytes, the second may be empty;
    ``commit`` is the full id where the tree is a clean checkout; ``arguments`` names of build arguments that were set.
    """

    image: str
    cell: FrozenMap[str, str]
    project: str
    lock: str = ""
    commit: str = ""
    dirty: bool = False
    arguments: tuple[str, ...] = ()


def materials(definition: Definition, targets: Iterable[str]) -> tuple[Material, ...]:
    """Bases and fetched artefacts with their digests, sorted."""
    found: set[Material] = set()
    for key in definition.needed(targets):
        op = definition[key].op
        if isinstance(op, ImageOp):
            found.add(_material(f"oci:{op.location}", op.digest))
        elif isinstance(op, FetchOp):
            found |= {
                Material(_plain_url(source.url), "sha256", source.sha256)
                for source in op.sources
                if source.url and source.sha256
            }
        elif isinstance(op, WheelsOp):
            found |= {Material(f"pkg:pypi/{w.name.lower()}@{w.version}", "sha256", w.sha256) for w in op.wheels}
        elif isinstance(op, BootstrapOp) and op.snapshot:
            found.add(Material(f"{op.distribution}/{op.suite}", "snapshot", op.snapshot))
    return tuple(sorted(found))


def _material(uri: str, digest: str) -> Material:
    algorithm, _, value = digest.partition(":")
    return Material(uri, algorithm, value)


def _plain_url(url: str) -> str:
    """An address without user, password, query and fragment: they may hold a token (CVE-2023-26054)."""
    head, separator, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    return f"{head}{separator}{place.rpartition('@')[2]}{slash}{path.partition('?')[0].partition('#')[0]}"


def provenance_json(subject: Subject, facts: BuildFacts, found: Iterable[Material]) -> bytes:
    """The statement."""
    algorithm, _, value = subject.digest.partition(":")
    inputs = [_material("lamella.toml", facts.project).to_json()]
    if facts.lock:
        inputs.append(_material("lamella.lock", facts.lock).to_json())
    if facts.commit:
        inputs.append({"uri": "git:HEAD", "digest": {"gitCommit": facts.commit}})
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": subject.purl, "digest": {algorithm: value}}],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "image": facts.image,
                    "cell": dict(facts.cell),
                    "arguments": sorted(facts.arguments),
                },
                "internalParameters": {"sourceDirty": facts.dirty},
                "resolvedDependencies": [*inputs, *(material.to_json() for material in found)],
            },
            "runDetails": {
                "builder": {"id": "urn:lamella:builder", "version": {"lamella": __version__}},
                "metadata": {"finishedOn": subject.created},
            },
        },
    }
    return canonical_json(statement)
