"""Which directories and files a list of globs selects, decided for whole directories where that is possible.

``graph.patterns.compile_patterns`` says what each glob means; this module gives the same answers for a tree that
is known directory by directory, so that a selection of one crate does not look at the files of a thousand.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from lamella.graph.patterns import literal_prefix, pattern_regex

__all__ = ["Coverage", "Selector"]

_WILD = re.compile(r"[*?\[]")


class Coverage(Enum):
    """What of a directory is selected: nothing, something, or all that is below it."""

    NONE = "none"
    SOME = "some"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class _Rule:
    """One glob. ``depth`` is its number of parts, 0 when it may match at any depth. ``last`` tests a name.

    ``everything`` is set when every path matches, ``open_end`` when the last part matches nothing too.
    """

    wanted: bool
    path: re.Pattern[str]
    prefix: str
    depth: int
    last: re.Pattern[str] | str | None
    everything: bool
    open_end: bool

    def covers(self, directory: str) -> bool:
        """Whether everything below ``directory`` matches."""
        if self.everything or not directory:
            return self.everything
        if not self.open_end and not self.may_name(directory.rpartition("/")[2]):
            return False  # no directory above is covered, so only its own name could do it
        # a glob that matches `dir/` ends in stars there, and those take whatever follows
        return self.path.fullmatch(directory) is not None or self.path.fullmatch(f"{directory}/") is not None

    def possible(self, directory: str) -> bool:
        """Whether something below ``directory``, which it does not cover, may match."""
        if self.depth and directory.count("/") + 1 >= self.depth and directory:
            return False
        if not self.prefix or not directory or self.prefix == directory:
            return True
        return self.prefix.startswith(f"{directory}/") or directory.startswith(f"{self.prefix}/")

    def may_name(self, name: str) -> bool:
        """Whether a file of this name may match in a directory that is not covered."""
        if self.last is None:
            return True
        return name == self.last if isinstance(self.last, str) else self.last.fullmatch(name) is not None


def _rule(pattern: str) -> _Rule:
    wanted = not pattern.startswith("!")
    text = pattern.removeprefix("!")
    clean = text.strip("/").removeprefix("./")
    parts = clean.split("/")
    # `a**/b` also matches `ab`: where `**` is only a piece of a part, the last part cannot be tested alone
    odd = any("**" in part and part != "**" for part in parts)
    last = None if odd or parts[-1] == "**" else _last(parts[-1])
    everything = all(part == "**" for part in parts[:-1]) and set(parts[-1]) == {"*"}
    depth = 0 if "**" in clean else len(parts)
    open_end = last is None or set(parts[-1]) == {"*"}
    return _Rule(wanted, pattern_regex(text), literal_prefix(clean), depth, last, everything, open_end)


def _last(part: str) -> re.Pattern[str] | str:
    return pattern_regex(part) if _WILD.search(part) else part


class Selector:
    """A list of globs, the last that matches decides. Directories are asked for from the top down."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._rules = tuple(_rule(pattern) for pattern in reversed(patterns))

    def coverage(self, directory: str) -> Coverage:
        """What is selected below ``directory``; empty is the root."""
        for rule in self._rules:
            if rule.covers(directory):
                return Coverage.ALL if rule.wanted else Coverage.NONE
            if rule.possible(directory):
                return Coverage.SOME if self._wants_below(directory) else Coverage.NONE
        return Coverage.NONE

    def _wants_below(self, directory: str) -> bool:
        return any(rule.wanted and (rule.covers(directory) or rule.possible(directory)) for rule in self._rules)

    def files(self, directory: str, names: Sequence[str]) -> list[int]:
        """Which of ``names``, files in ``directory``, are selected: their positions, in order."""
        rules = [(rule, rule.covers(directory)) for rule in self._rules]
        live = [(rule, covers) for rule, covers in rules if covers or rule.possible(directory)]
        if len(live) == 1 and isinstance(live[0][0].last, str) and not live[0][1]:
            wanted = live[0][0].last
            names_at = [index for index, name in enumerate(names) if name == wanted]
        else:
            names_at = list(range(len(names)))
        prefix = f"{directory}/" if directory else ""
        return [index for index in names_at if _keeps(live, prefix, names[index])]


def _keeps(rules: list[tuple[_Rule, bool]], prefix: str, name: str) -> bool:
    for rule, covers in rules:
        if covers or (rule.may_name(name) and rule.path.fullmatch(prefix + name)):
            return rule.wanted
    return False
