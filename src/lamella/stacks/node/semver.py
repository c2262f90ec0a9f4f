"""Version ranges as npm reads them (node-semver, "Ranges"): comparators, ``^``, ``~``, ``x``, hyphens, ``||``."""

from __future__ import annotations

import re
from functools import lru_cache

from lamella.values import dataclass

__all__ = ["Version", "is_range", "parse_version", "satisfies"]

_VERSION = re.compile(r"[v=\s]*(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?\s*$")
_PART = r"(\d+|[xX*])"
_COMPARATOR = re.compile(
    rf"(\^|~>?|>=|<=|>|<|=)?\s*v?{_PART}?(?:\.{_PART})?(?:\.{_PART})?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?$"
)
_HYPHEN = re.compile(r"(\S+)\s+-\s+(\S+)$")


@dataclass(frozen=True, slots=True)
class Version:
    """One version; ``pre`` are the parts of its pre-release."""

    numbers: tuple[int, int, int]
    pre: tuple[str, ...] = ()

    def key(self) -> tuple[tuple[int, int, int], bool, tuple[tuple[int, int, str], ...]]:
        """Orders by precedence: a pre-release before its release, numbers before words."""
        parts = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in self.pre)
        return self.numbers, not self.pre, parts


@dataclass(frozen=True, slots=True)
class _Bound:
    operator: str
    version: Version

    def holds(self, version: Version) -> bool:
        mine, other = self.version.key(), version.key()
        return {">=": other >= mine, ">": other > mine, "<": other < mine, "<=": other <= mine, "=": other == mine}[
            self.operator
        ]


def parse_version(text: str) -> Version | None:
    """A full version, with or without a ``v``; None for anything else."""
    match = _VERSION.match(text)
    if match is None:
        return None
    return Version((int(match[1]), int(match[2]), int(match[3])), tuple(match[4].split(".")) if match[4] else ())


def is_range(text: str) -> bool:
    """Whether a dependency's specification is a version range and not a tag, URL, alias or path."""
    return _alternatives(text) is not None


def satisfies(version: str, text: str) -> bool | None:
    """Whether a version lies in a range; None when either is not understood.

    A pre-release lies only in ranges that name a pre-release of the same version, as node-semver has it.
    """
    parsed, alternatives = parse_version(version), _alternatives(text)
    if parsed is None or alternatives is None:
        return None
    return any(_all_hold(parsed, bounds) for bounds in alternatives)


def _all_hold(version: Version, bounds: tuple[_Bound, ...]) -> bool:
    if not all(bound.holds(version) for bound in bounds):
        return False
    if not version.pre:
        return True
    return any(bound.version.pre and bound.version.numbers == version.numbers for bound in bounds)


@lru_cache(maxsize=1024)
def _alternatives(text: str) -> tuple[tuple[_Bound, ...], ...] | None:
    """Each alternative of a range as bounds that must all hold; None when the text is no range."""
    out: list[tuple[_Bound, ...]] = []
    for alternative in text.split("||"):
        bounds = _bounds(alternative.strip())
        if bounds is None:
            return None
        out.append(bounds)
    return tuple(out)


def _bounds(text: str) -> tuple[_Bound, ...] | None:
    hyphen = _HYPHEN.match(text)
    words = [f">={hyphen[1]}", f"<={hyphen[2]}"] if hyphen else re.sub(r"([\^~><=]+)\s+", r"\1", text).split()
    out: list[_Bound] = []
    for word in words:
        found = _comparator(word)
        if found is None:
            return None
        out += found
    return tuple(out)


def _comparator(word: str) -> list[_Bound] | None:
    """One comparator as bounds; ``^1.2`` is ``>=1.2.0`` and ``<2.0.0`` without the pre-releases of 2.0.0."""
    match = _COMPARATOR.match(word)
    if match is None:
        return None
    operator, pre = match[1] or "=", tuple(match[5].split(".")) if match[5] else ()
    given: list[int] = []
    for part in match.groups()[1:4]:
        if part is None or part in "xX*":
            break
        given.append(int(part))
    if not given:
        return [] if operator in ("=", "^", "~", "~>", ">=", "<=") else [_Bound("<", _low(()))]
    low = Version(_filled(given), pre if len(given) == 3 else ())
    full = len(given) == 3
    match operator:
        case "^":
            return [_Bound(">=", low), _Bound("<", _low(_next_caret(given)))]
        case "~" | "~>":
            return [_Bound(">=", low), _Bound("<", _low(_next(given[:2])))]
        case "=":
            return [_Bound("=", low)] if full else [_Bound(">=", low), _Bound("<", _low(_next(given)))]
        case ">":
            return [_Bound(">", low)] if full else [_Bound(">=", _low(_next(given)))]
        case "<=":
            return [_Bound("<=", low)] if full else [_Bound("<", _low(_next(given)))]
        case _:
            return [_Bound(operator, low)]


def _filled(given: list[int]) -> tuple[int, int, int]:
    major, minor, patch = (*given, 0, 0, 0)[:3]
    return major, minor, patch


def _next(given: list[int]) -> tuple[int, ...]:
    """The first version after all that begin with the given numbers."""
    return (*given[:-1], given[-1] + 1)


def _next_caret(given: list[int]) -> tuple[int, ...]:
    """``^`` lets change what is right of the leftmost number that is not zero."""
    for index, number in enumerate(given):
        if number:
            return (*given[:index], number + 1)
    return _next(given)


def _low(numbers: tuple[int, ...]) -> Version:
    """The lowest pre-release of a version: an upper bound that leaves its pre-releases out."""
    return Version(_filled(list(numbers)), ("0",))
