"""Resolved keys, exactly as DESIGN 3b has them, and with their parts kept so that a miss can be explained.

A resolved key is the digest of: op schema version, canonical op (with environment, mounts, network policy),
execution platform, target platform or ``any``, content digests of the selected paths of each input. Only this
key finds records. Never in it: engine, compressor, axis names, release number, secret values, trust, times.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lamella.canonical import canonical_json, digest_value, plain
from lamella.errors import HostileInputError
from lamella.graph.op import FetchOp, ImageOp, WheelsOp
from lamella.graph.vertex import Vertex
from lamella.values import dataclass

__all__ = ["KEY_FORMAT", "KeyParts", "key_parts", "parse_key_parts", "rootfs_identity"]

KEY_FORMAT = 1
"""Raised when the composition of keys itself changes."""


@dataclass(frozen=True, slots=True)
class KeyParts:
    """The parts of a resolved key. ``op`` is canonical JSON text; ``inputs`` are (name, selection, digest)."""

    schema: int
    op: str
    execution: str
    platform: str
    inputs: tuple[tuple[str, str, str], ...]

    @property
    def key(self) -> str:
        """The resolved key. Names of inputs are for people; their order and digests count."""
        return digest_value(
            {
                "format": KEY_FORMAT,
                "schema": self.schema,
                "op": self.op,
                "execution": self.execution,
                "platform": self.platform,
                "inputs": tuple((selection, digest) for _, selection, digest in self.inputs),
            }
        )


def key_parts(vertex: Vertex, input_digests: tuple[str, ...]) -> KeyParts:
    """The parts of a vertex's resolved key; ``input_digests`` in the order of its inputs."""
    inputs = tuple(
        (edge.name, canonical_json({"kind": edge.selection.kind, "of": edge.selection}).decode(), digest)
        for edge, digest in zip(vertex.inputs, input_digests, strict=True)
    )
    op = canonical_json(_meaning(vertex)).decode("utf-8", "surrogateescape")
    return KeyParts(type(vertex.op).schema, op, vertex.execution, vertex.platform, inputs)


def _meaning(vertex: Vertex) -> Mapping[str, Any]:
    """The canonical op without what is only a place to look: a base's location, a locked wheel's URL and size."""
    op = dict(plain(vertex.op))
    match vertex.op:
        case ImageOp():
            op.pop("location")
        case WheelsOp():
            op["wheels"] = [{k: v for k, v in wheel.items() if k not in ("url", "size")} for wheel in op["wheels"]]
        case FetchOp():
            op["sources"] = [_fetch_meaning(source) for source in op["sources"]]
        case _:
            pass
    return op


def _fetch_meaning(source: Mapping[str, Any]) -> dict[str, Any]:
    """A checksum says everything about the content; without one the URL must."""
    drop = ("url", "file", "sums", "secret") if source["sha256"] else ("secret",)
    return {name: value for name, value in source.items() if name not in drop}


def rootfs_identity(key: str, packages: str) -> str:
    """Identity of a root file system used through ``on``: resolved key plus package set digest (DESIGN 3b)."""
    return digest_value({"rootfs": key, "packages": packages})


def parse_key_parts(data: Any) -> KeyParts:
    """Parts from their plain form; raises HostileInputError."""
    try:
        inputs = tuple((str(name), str(selection), str(digest)) for name, selection, digest in data["inputs"])
        json.loads(data["op"])
        return KeyParts(int(data["schema"]), str(data["op"]), str(data["execution"]), str(data["platform"]), inputs)
    except (KeyError, TypeError, ValueError) as error:
        raise HostileInputError(f"key parts are malformed: {error}") from error
