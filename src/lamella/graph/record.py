"""Records: what a vertex made, under its resolved key. Records are hints, blobs are facts (DESIGN 7b.7)."""

from __future__ import annotations

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.graph.keys import KeyParts
from lamella.values import dataclass

__all__ = ["RECORD_FORMAT", "Evidence", "LayerResult", "Record", "Result"]

RECORD_FORMAT = 1
"""Major version of stored records; another one in a cache is a miss."""


@dataclass(frozen=True, slots=True)
class LayerResult:
    """One layer: ``diff_id`` and ``size`` (bytes) of the uncompressed tar, number of entries."""

    diff_id: str
    size: int
    entries: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """What came out of a vertex; parts that it does not have are empty.

    ``tree``      digest of the product's file set (a blob of the store); also the snapshot's id
    ``identity``  of a root file system: digest of resolved key and package set
    ``snapshot``  id of the snapshot that holds a root file system's own changes
    ``packages``  digest of the recorded package set (a blob)
    ``facts``     digest of the base facts of the chain up to here (a blob)
    ``layers``    own layers of a root file system or placement, lowest first
    """

    key: str
    tree: str = ""
    identity: str = ""
    snapshot: str = ""
    packages: str = ""
    facts: str = ""
    layers: tuple[LayerResult, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen while a vertex ran: ``lines`` for people, ``numbers`` for reports."""

    lines: tuple[str, ...] = ()
    numbers: FrozenMap[str, int] = EMPTY_MAP


@dataclass(frozen=True, slots=True)
class Record:
    """A result with its key's parts and its cost.

    ``seconds`` is a decimal text with three places (canonical JSON has no floats); ``created`` seconds since
    the epoch, used for freshness and retention only; ``hermetic`` false when a step had the network;
    ``wrote_sources`` paths that the step wrote in its sources; ``log`` digest of its output. ``filesets`` maps
    the digest of a source input to the blob of its file set, so that a later change can be named by path.
    """

    key: str
    name: str
    project: str
    parts: KeyParts
    result: Result
    seconds: str
    created: int
    hermetic: bool = True
    local: bool = False
    evidence: Evidence = Evidence()
    wrote_sources: tuple[str, ...] = ()
    log: str = ""
    machine: str = ""
    filesets: FrozenMap[str, str] = EMPTY_MAP
