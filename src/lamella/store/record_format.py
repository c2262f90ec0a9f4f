"""The stored form of records: canonical JSON, parsed strictly. No I/O.

``{"format": 1, "objects": [...], "record": {...}}``. ``objects`` are what the record needs to be of use:
``["blob", digest, size]`` and ``["snapshot", id, size of its manifest]`` must be there, of ``["layer", diff_id, 0]``
at least one form must be.
"""

from __future__ import annotations

import json
from typing import Any

from lamella.canonical import FrozenMap, canonical_json
from lamella.errors import HostileInputError
from lamella.graph.keys import parse_key_parts
from lamella.graph.record import RECORD_FORMAT, Evidence, LayerResult, Record, Result
from lamella.oci.digest import check_digest
from lamella.values import dataclass

__all__ = ["StoredRecord", "UnknownFormatError", "parse_record", "record_to_bytes"]

_FIELDS = frozenset(Record.__slots__)

KINDS = ("blob", "snapshot", "layer")


class UnknownFormatError(HostileInputError):
    """A record of another major version: a miss, and nothing is wrong with it."""


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record and the (kind, id, size) of what it needs."""

    record: Record
    objects: tuple[tuple[str, str, int], ...]


def record_to_bytes(stored: StoredRecord) -> bytes:
    """The stored form, which :func:`parse_record` reads."""
    return canonical_json({"format": RECORD_FORMAT, "objects": stored.objects, "record": stored.record})


def parse_record(data: bytes) -> StoredRecord:
    """A record from its stored form.

    Raises UnknownFormatError for another major version, HostileInputError for what is malformed.
    """
    try:
        document = json.loads(data)
        if document["format"] != RECORD_FORMAT:
            raise UnknownFormatError(f"record has format {document['format']!r}, not {RECORD_FORMAT}")
        if newer := document["record"].keys() - _FIELDS:
            raise UnknownFormatError(f"record has fields of a newer release: {', '.join(sorted(newer))}")
        objects = tuple(_object(*row) for row in document["objects"])
        return StoredRecord(_record(**document["record"]), objects)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise HostileInputError(f"record is malformed: {error}") from error


def _object(kind: str, identity: str, size: int) -> tuple[str, str, int]:
    if kind not in KINDS:
        raise HostileInputError(f"record names an object of kind {kind!r}")
    return kind, check_digest(identity), _number(size)


def _record(
    *,
    key: str,
    name: str,
    project: str,
    parts: Any,
    result: dict[str, Any],
    seconds: str,
    created: int,
    hermetic: bool,
    local: bool,
    evidence: dict[str, Any],
    wrote_sources: list[str],
    log: str,
    machine: str,
    filesets: dict[str, str],
) -> Record:
    return Record(
        key=check_digest(key, what="resolved key"),
        name=_text(name),
        project=_text(project),
        parts=parse_key_parts(parts),
        result=_result(**result),
        seconds=_seconds(seconds),
        created=_number(created),
        hermetic=_flag(hermetic),
        local=_flag(local),
        evidence=_evidence(**evidence),
        wrote_sources=tuple(_text(path) for path in wrote_sources),
        log=_digest(log),
        machine=_text(machine),
        filesets=FrozenMap({check_digest(source): check_digest(blob) for source, blob in filesets.items()}),
    )


def _result(
    *, key: str, tree: str, identity: str, snapshot: str, packages: str, facts: str, layers: list[dict[str, Any]]
) -> Result:
    return Result(
        key=check_digest(key, what="resolved key"),
        tree=_digest(tree),
        identity=_digest(identity),
        snapshot=_digest(snapshot),
        packages=_digest(packages),
        facts=_digest(facts),
        layers=tuple(_layer(**layer) for layer in layers),
    )


def _layer(*, diff_id: str, size: int, entries: int) -> LayerResult:
    return LayerResult(check_digest(diff_id, what="diff_id"), _number(size), _number(entries))


def _evidence(*, lines: list[str], numbers: dict[str, int]) -> Evidence:
    return Evidence(
        tuple(_text(line) for line in lines), FrozenMap({name: _integer(value) for name, value in numbers.items()})
    )


def _digest(value: Any) -> str:
    """A digest or nothing."""
    return check_digest(value) if value != "" else ""


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _seconds(value: Any) -> str:
    float(_text(value))
    return str(value)


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is not an integer")
    return value


def _number(value: Any) -> int:
    if _integer(value) < 0:
        raise ValueError(f"{value} is negative")
    return int(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is not a truth value")
    return value
