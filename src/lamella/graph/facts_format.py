"""The stored form of base facts: canonical JSON, a blob beside the record that found them. No I/O."""

from __future__ import annotations

import json
from typing import Any

from lamella.canonical import FrozenMap, canonical_json
from lamella.errors import HostileInputError
from lamella.graph.facts import BaseFacts, DirectoryFact, Group, Interpreter, User
from lamella.oci.config import RuntimeConfig

__all__ = ["FACTS_FORMAT", "facts_to_bytes", "parse_facts"]

FACTS_FORMAT = 1
"""Major version of the stored form; another one is a miss."""


def facts_to_bytes(facts: BaseFacts) -> bytes:
    """The stored form, which :func:`parse_facts` reads."""
    fields = {name: getattr(facts, name) for name in BaseFacts.__slots__ if name != "runtime"}
    return canonical_json({"format": FACTS_FORMAT, "facts": fields, "runtime": facts.runtime.to_json()})


def parse_facts(data: bytes) -> BaseFacts:
    """Facts from their stored form; raises HostileInputError when it is malformed or of another format."""
    try:
        document = json.loads(data.decode("utf-8", "surrogateescape"))
        if document["format"] != FACTS_FORMAT:
            raise HostileInputError(f"base facts have format {document['format']!r}, not {FACTS_FORMAT}")
        return _facts(RuntimeConfig.from_json(document["runtime"]), **document["facts"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise HostileInputError(f"base facts are malformed: {error}") from error


def _facts(
    runtime: RuntimeConfig,
    *,
    platform: str,
    directories: dict[str, dict[str, Any]],
    symlinks: dict[str, str],
    files: dict[str, str],
    users: list[dict[str, Any]],
    groups: list[dict[str, Any]],
    os_release: dict[str, str],
    libc: str,
    libc_version: str,
    interpreters: list[dict[str, Any]],
    tools: list[str],
    packages: dict[str, str],
) -> BaseFacts:
    return BaseFacts(
        platform=_text(platform),
        directories=FrozenMap({path: DirectoryFact(**entry) for path, entry in directories.items()}),
        symlinks=_texts(symlinks),
        files=_texts(files),
        users=tuple(User(**user) for user in users),
        groups=tuple(Group(group["name"], group["gid"], tuple(group["members"])) for group in groups),
        os_release=_texts(os_release),
        libc=_text(libc),
        libc_version=_text(libc_version),
        interpreters=tuple(Interpreter(**one) for one in interpreters),
        tools=tuple(_text(tool) for tool in tools),
        packages=_texts(packages),
        runtime=runtime,
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _texts(values: dict[str, Any]) -> FrozenMap[str, str]:
    """A map of texts. A base has ten thousand paths, so they are looked at all at once."""
    if not set(map(type, values.values())) <= {str}:
        raise TypeError("a value is not a text")
    return FrozenMap(values)
