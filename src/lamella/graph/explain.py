"""Why a key changed: the difference of two keys' parts, and of the file sets behind them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from lamella.graph.fileset import FileSet
from lamella.graph.keys import KeyParts
from lamella.values import dataclass

__all__ = ["Change", "FileChange", "diff_filesets", "diff_parts"]


@dataclass(frozen=True, slots=True)
class FileChange:
    """One path that differs: ``what`` is added, removed, content, mode, type, owner or link."""

    path: str
    what: str


@dataclass(frozen=True, slots=True)
class Change:
    """One part of a key that differs. ``part`` is for people: ``op.env.CFLAGS`` or ``input sources``."""

    part: str
    before: str
    after: str
    files: tuple[FileChange, ...] = ()


def diff_parts(
    before: KeyParts,
    after: KeyParts,
    *,
    fileset: Callable[[str], FileSet | None] = lambda digest: None,
) -> tuple[Change, ...]:
    """All parts that differ. ``fileset`` finds the file set behind an input digest, None when it is unknown."""
    changes: list[Change] = []
    for name in ("schema", "execution", "platform"):
        old, new = str(getattr(before, name)), str(getattr(after, name))
        if old != new:
            changes.append(Change(name, old, new))
    changes += _diff_json("op", json.loads(before.op), json.loads(after.op))
    changes += _diff_inputs(before, after, fileset)
    return tuple(changes)


def _diff_inputs(before: KeyParts, after: KeyParts, fileset: Callable[[str], FileSet | None]) -> list[Change]:
    old = {(name, selection): digest for name, selection, digest in before.inputs}
    new = {(name, selection): digest for name, selection, digest in after.inputs}
    changes = []
    for edge in sorted(old.keys() | new.keys()):
        left, right = old.get(edge, ""), new.get(edge, "")
        if left != right:
            files = diff_filesets(fileset(left), fileset(right)) if left and right else ()
            changes.append(Change(f"input {edge[0]}", left, right, files))
    return changes


def _diff_json(part: str, old: Any, new: Any) -> list[Change]:
    """Differences of two JSON values, as deep as both are objects, lists of named things or lists of one length."""
    if old == new:
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        out = []
        for name in sorted(old.keys() | new.keys()):
            out += _diff_json(f"{part}.{name}", old.get(name), new.get(name))
        return out
    if isinstance(old, list) and isinstance(new, list):
        named = _diff_named(part, _by_name(old), _by_name(new))
        if named:
            return named
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            change for i, pair in enumerate(zip(old, new, strict=True)) for change in _diff_json(f"{part}[{i}]", *pair)
        ]
    return [Change(part, _shown(old), _shown(new))]


def _by_name(items: list[Any]) -> dict[str, dict[str, Any]]:
    """Objects by their ``name``; empty when one has none or two have the same."""
    found = {item["name"]: item for item in items if isinstance(item, dict) and isinstance(item.get("name"), str)}
    return found if len(found) == len(items) else {}


def _diff_named(part: str, old: dict[str, dict[str, Any]], new: dict[str, dict[str, Any]]) -> list[Change]:
    """Things that came, went or changed; those with another version are told by their versions."""
    out = []
    for name in sorted(old.keys() | new.keys()) if old and new else ():
        left, right, place = old.get(name), new.get(name), f"{part}[{name}]"
        if left is None or right is None or left.get("version") != right.get("version"):
            out.append(Change(place, _version(left), _version(right)))
        else:
            out += _diff_json(place, left, right)
    return out


def _version(item: dict[str, Any] | None) -> str:
    return _shown(None if item is None else item.get("version") or item)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def diff_filesets(before: FileSet | None, after: FileSet | None) -> tuple[FileChange, ...]:
    """Paths that differ between two file sets, sorted; empty when one is unknown."""
    if before is None or after is None:
        return ()
    old = {entry.path: entry for entry in before}
    new = {entry.path: entry for entry in after}
    changes = []
    for path in sorted(old.keys() | new.keys()):
        left, right = old.get(path), new.get(path)
        if left is None or right is None:
            changes.append(FileChange(path, "added" if left is None else "removed"))
        elif left != right:
            changes.append(FileChange(path, _difference(left, right)))
    return tuple(changes)


def _difference(left: Any, right: Any) -> str:
    for what, names in (
        ("type", ("type",)),
        ("content", ("digest", "size")),
        ("link", ("link",)),
        ("mode", ("mode",)),
        ("owner", ("uid", "gid")),
    ):
        if any(getattr(left, name) != getattr(right, name) for name in names):
            return what
    return "attributes"
