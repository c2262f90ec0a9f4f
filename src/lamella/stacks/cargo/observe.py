"""The verdict over a cargo step, from Cargo's own messages (Cargo book, "External tools", JSON messages).

Own packages must have been compiled in a step that ran: one that Cargo calls fresh may hold old bytes.
Third-party ones must be fresh in the final step, else time was lost, and the names say where.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from lamella.canonical import FrozenMap
from lamella.graph.record import Evidence
from lamella.stacks.base import Observation, StepOutputs
from lamella.values import dataclass

__all__ = ["Artifact", "observe_cargo", "parse_messages"]

_FROM_PATH = re.compile(r"path\+file://([^#?)]*)")
_NAMED = 8
"""How many recompiled packages a warning names."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One ``compiler-artifact`` message. ``place`` is the directory of a path package, empty for others."""

    package: str
    place: str
    target: str
    kinds: tuple[str, ...]
    fresh: bool
    executable: str = ""
    features: tuple[str, ...] = ()


def parse_messages(data: bytes) -> tuple[Artifact, ...]:
    """The artefacts in a stream of messages; lines of other programs in between are skipped."""
    return tuple(_artifacts(data))


def _artifacts(data: bytes) -> Iterator[Artifact]:
    for line in data.splitlines():
        if not line.startswith(b'{"reason":"compiler-artifact"'):
            continue
        try:
            yield _artifact(json.loads(line))
        except (ValueError, KeyError, TypeError):
            continue


def _artifact(message: Any) -> Artifact:
    identity = str(message["package_id"])
    place = _FROM_PATH.search(identity)
    target = message["target"]
    return Artifact(
        package=_name(identity, str(target["name"])),
        place=place[1].rstrip("/") if place else "",
        target=str(target["name"]),
        kinds=tuple(str(kind) for kind in target["kind"]),
        fresh=bool(message["fresh"]),
        executable=str(message.get("executable") or ""),
        features=tuple(str(feature) for feature in message.get("features", ())),
    )


def _name(identity: str, target: str) -> str:
    """``name version`` from a package id specification, or from the older ``name version (source)``."""
    if "#" not in identity:
        return identity.split(" (", 1)[0]
    source, fragment = identity.rsplit("#", 1)
    if "@" in fragment:
        return fragment.replace("@", " ", 1)
    name = source.split("?", 1)[0].rstrip("/").rsplit("/", 1)[-1] or target
    return f"{name} {fragment}"


def observe_cargo(outputs: StepOutputs) -> Observation:
    """Evidence in numbers, warnings for third-party packages compiled in the final step, integrity findings for own
    packages that Cargo called fresh and for a binary that is not the one Cargo reported.
    """
    artifacts = parse_messages(outputs.captured.get("cargo", b""))
    kept = frozenset(place for place in outputs.observed.get("kept", "").split("\n") if place)
    third = [a for a in artifacts if not a.place or a.place in kept]
    own = [a for a in artifacts if a.place and a.place not in kept]
    final = outputs.observed.get("step") == "build"
    again = sorted({a.package for a in third if not a.fresh})
    numbers = {
        "compiled_third_party": sum(not a.fresh for a in third),
        "fresh_third_party": sum(a.fresh for a in third),
        "compiled_own": sum(not a.fresh for a in own) if final else 0,
    }
    lines = (_summary(numbers, final=final),)
    evidence = Evidence(lines, FrozenMap(numbers))
    if not final:
        return Observation(evidence, _missing(artifacts))
    integrity = (*_missing(artifacts), *_stale(own), *_binary(artifacts, outputs.observed.get("binary", "")))
    return Observation(evidence, integrity, _recompiled(again, third))


def _summary(numbers: dict[str, int], *, final: bool) -> str:
    third = f"third-party: {numbers['compiled_third_party']} compiled, {numbers['fresh_third_party']} reused"
    return f"{third}; own: {numbers['compiled_own']} compiled" if final else third


def _missing(artifacts: tuple[Artifact, ...]) -> tuple[str, ...]:
    return () if artifacts else ("Cargo reported no artefact although it ended well",)


def _stale(own: list[Artifact]) -> tuple[str, ...]:
    """Every own artefact that was not compiled although all of its files were new to Cargo."""
    fresh = sorted({f"{a.package} ({', '.join(a.kinds)})" for a in own if a.fresh})
    return tuple(f"Cargo called {name} fresh although its sources were staged anew" for name in fresh)


def _binary(artifacts: tuple[Artifact, ...], expected: str) -> tuple[str, ...]:
    if not artifacts or any(a.executable == expected for a in artifacts):
        return ()
    found = ", ".join(sorted(a.executable for a in artifacts if a.executable)) or "none"
    return (f"Cargo did not report the binary {expected}; it reported: {found}",)


def _recompiled(again: list[str], third: list[Artifact]) -> tuple[str, ...]:
    """One warning with the reason as far as the messages tell it."""
    if not again:
        return ()
    if all(not a.fresh for a in third):
        return (f"the kept target directory held no third-party package: {len(again)} were compiled again",)
    more = f" and {len(again) - _NAMED} more" if len(again) > _NAMED else ""
    names = f"{', '.join(again[:_NAMED])}{more}"
    reason = "the dependency step compiled them otherwise (features, flags or a build script's inputs differ)"
    return (f"third-party packages were compiled again in the final step: {names}; {reason}",)
