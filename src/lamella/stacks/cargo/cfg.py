"""``cfg(...)`` of target-specific dependency tables, decided as far as a target triple decides it.

Rust reference, "Conditional compilation". The answer is None where only the compiler knows (target features, flags
that RUSTFLAGS set): then the condition is kept as it is written and Cargo decides.
"""

from __future__ import annotations

import re
from functools import lru_cache

from lamella.values import dataclass

__all__ = ["Target", "decide", "target_of"]

_TOKEN = re.compile(r'\s*(?:([A-Za-z_][A-Za-z0-9_]*)|"([^"]*)"|([(),=]))')

_POINTER_WIDTH = {"x86_64": "64", "aarch64": "64", "riscv64gc": "64", "powerpc64le": "64", "s390x": "64", "i686": "32"}
_ARCHITECTURES = {
    "amd64": "x86_64",
    "arm64": "aarch64",
    "386": "i686",
    "ppc64le": "powerpc64le",
    "riscv64": "riscv64gc",
}
_ARCH_NAMES = {"i686": "x86", "riscv64gc": "riscv64", "powerpc64le": "powerpc64"}


@dataclass(frozen=True, slots=True)
class Target:
    """What is known of a compilation target. ``triple`` and ``env`` are empty where the toolchain decides them."""

    arch: str
    os: str
    env: str = ""
    triple: str = ""

    @property
    def family(self) -> str:
        """``unix``, ``windows`` or ``wasm``."""
        return {"windows": "windows", "none": "", "unknown": "wasm"}.get(self.os, "unix")


def target_of(triple: str, platform: str) -> Target:
    """The target of a written triple, else that of a platform such as ``linux/amd64``."""
    if triple:
        parts = triple.split("-")
        system, env = [*parts[2:], ""][:2] if len(parts) > 2 else (parts[-1], "")
        return Target(parts[0], "macos" if system == "darwin" else system, env, triple)
    system, architecture = platform.split("/")[:2]
    return Target(_ARCHITECTURES.get(architecture, architecture), system)


@lru_cache(maxsize=4096)
def decide(condition: str, target: Target) -> bool | None:
    """Whether a table's condition, ``cfg(...)`` or a triple, holds; None when it cannot be known here."""
    text = condition.strip()
    if not text:
        return True
    if not text.startswith("cfg("):
        return text == target.triple if target.triple else _triple(text, target)
    try:
        tokens = _tokens(text[3:])
        value, at = _expression(tokens, 1, target)
        return value if tokens[at:] == [")"] else None
    except (IndexError, ValueError):
        return None  # Cargo says what is wrong with it


def _triple(text: str, target: Target) -> bool | None:
    """A triple against a target whose environment is open: surely another one, or not known."""
    other = target_of(text, "")
    return None if (other.arch, other.os) == (target.arch, target.os) else False


def _tokens(text: str) -> list[str]:
    """Identifiers, strings with their quotes, and punctuation; raises ValueError."""
    found: list[str] = []
    at = 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(text)
        found.append(match[1] or match[3] or f'"{match[2]}"')
        at = match.end()
    return found


def _expression(tokens: list[str], at: int, target: Target) -> tuple[bool | None, int]:
    """The value of the expression that starts at ``at``, and the index behind it."""
    name = tokens[at]
    if name in ("all", "any", "not") and tokens[at + 1] == "(":
        values: list[bool | None] = []
        at += 2
        while tokens[at] != ")":
            value, at = _expression(tokens, at, target)
            values.append(value)
            at += tokens[at] == ","
        return _combined(name, values), at + 1
    if tokens[at + 1] == "=":
        if not tokens[at + 2].startswith('"'):
            raise ValueError(name)
        return _known(name, tokens[at + 2].strip('"'), target), at + 3
    return _flag(name, target), at + 1


def _combined(name: str, values: list[bool | None]) -> bool | None:
    """Three-valued logic: None is "not known"."""
    if name == "not":
        return None if values[0] is None else not values[0]
    decisive = name == "any"
    if decisive in values:
        return decisive
    return None if None in values else not decisive


def _known(name: str, value: str, target: Target) -> bool | None:
    match name:
        case "target_os":
            return value == target.os
        case "target_family":
            return value == target.family
        case "target_arch":
            return value == _ARCH_NAMES.get(target.arch, target.arch)
        case "target_pointer_width":
            return value == _POINTER_WIDTH[target.arch] if target.arch in _POINTER_WIDTH else None
        case "target_endian":
            return (value == "big") == (target.arch == "s390x") if target.arch in _POINTER_WIDTH else None
        case "target_env":
            return value == target.env if target.triple else None
        case _:
            return None


def _flag(name: str, target: Target) -> bool | None:
    match name:
        case "unix" | "windows":
            return name == target.family
        case "test" | "doc" | "doctest" | "miri" | "proc_macro" | "false":
            return False
        case "true":
            return True
        case _:
            return None
