"""Versions and version requirements as Cargo reads them (semver.org 2.0, Cargo book "Specifying dependencies")."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from lamella.values import dataclass

__all__ = ["Requirement", "Version", "parse_requirement", "parse_version"]

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+([0-9A-Za-z.-]+))?")
_COMPARATOR = re.compile(
    r"(\^|~|=|>=|<=|>|<)?\s*(\d+|[*xX])(?:\.(\d+|[*xX]))?(?:\.(\d+|[*xX]))?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?"
)


@dataclass(frozen=True, slots=True)
class Version:
    """One version; build metadata does not take part in precedence."""

    major: int
    minor: int
    patch: int
    pre: str = ""

    @property
    def numbers(self) -> tuple[int, int, int]:
        """Major, minor, patch."""
        return self.major, self.minor, self.patch

    def sort_key(self) -> tuple[Any, ...]:
        """Orders by precedence: a pre-release comes before its release, numeric parts before alphanumeric ones."""
        parts = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in self.pre.split(".")) if self.pre else ()
        return (*self.numbers, 0 if self.pre else 1, parts)


@dataclass(frozen=True, slots=True)
class _Comparator:
    """``operator`` with a version of which only the first ``given`` numbers are written."""

    operator: str
    version: Version
    given: int

    def matches(self, version: Version) -> bool:
        low, key = self.version.sort_key(), version.sort_key()
        match self.operator:
            case "=" | "*":
                return version.numbers[: self.given] == self.version.numbers[: self.given] and (
                    self.given < 3 or version.pre == self.version.pre
                )
            case ">":
                return key > low if self.given == 3 else version.numbers[: self.given] > self._written
            case ">=":
                return key >= low
            case "<":
                return key < low
            case "<=":
                return key <= low if self.given == 3 else version.numbers[: self.given] <= self._written
            case _:
                return key >= low and version.numbers < self._upper()

    @property
    def _written(self) -> tuple[int, ...]:
        return self.version.numbers[: self.given]

    def _upper(self) -> tuple[int, int, int]:
        """The first numbers that a caret or tilde requirement no longer takes."""
        major, minor, patch = self.version.numbers
        if self.operator == "~":
            return (major, minor + 1, 0) if self.given > 1 else (major + 1, 0, 0)
        if major or self.given == 1:
            return major + 1, 0, 0
        if minor or self.given == 2:
            return 0, minor + 1, 0
        return 0, 0, patch + 1


@dataclass(frozen=True, slots=True)
class Requirement:
    """All comparators must hold; none takes every release."""

    comparators: tuple[_Comparator, ...]

    def matches(self, version: Version) -> bool:
        """Whether ``version`` satisfies it. A pre-release does only where a comparator names one of its release."""
        if not all(comparator.matches(version) for comparator in self.comparators):
            return False
        if not version.pre:
            return True
        return any(c.version.pre and c.version.numbers == version.numbers for c in self.comparators)


@lru_cache(maxsize=8192)
def parse_version(text: str) -> Version:
    """A full version; raises ValueError."""
    match = _VERSION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no version")
    return Version(int(match[1]), int(match[2]), int(match[3]), match[4] or "")


@lru_cache(maxsize=8192)
def parse_requirement(text: str) -> Requirement:
    """A requirement as a manifest writes it; raises ValueError. The empty text and ``*`` take every release."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return Requirement(tuple(found for part in parts if (found := _comparator(part)) is not None))


def _comparator(text: str) -> _Comparator | None:
    match = _COMPARATOR.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no version requirement")
    operator = match[1] or "^"
    numbers: list[int] = []
    for part in (match[2], match[3], match[4]):
        if part is None or not part.isdigit():
            operator = "*" if part is not None else operator
            break
        numbers.append(int(part))
    if not numbers:
        return None
    given = len(numbers)
    padded = (*numbers, 0, 0)
    return _Comparator(operator, Version(padded[0], padded[1], padded[2], match[5] or ""), given)
