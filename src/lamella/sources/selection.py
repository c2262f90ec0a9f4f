"""Which directories and files a list of globs selects, decided for whole directories where that is possible.

``graph.patterns.compile_patterns`` says what each glob means; this module gives the same answers for a tree that
is known directory by directory. Every glob waits at its *anchor*, the directory that its leading parts without a
wildcard name, and is looked at only there and below: a selection of one crate does not look at the files of a
thousand, and one of a thousand crates asks each directory about the few globs that can say something there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import Enum
from operator import attrgetter

from lamella.graph.patterns import pattern_regex
from lamella.values import dataclass, field

__all__ = ["Coverage", "Selector"]

_WILD = re.compile(r"[*?\[]")


class Coverage(Enum):
    """What of a directory is selected: nothing, something, or all that is below it."""

    NONE = "none"
    SOME = "some"
    ALL = "all"


@dataclass(slots=True, eq=False)
class _Rule:
    """One glob from its anchor on; paths are relative to that. Rules of higher ``order`` decide.

    ``depth`` is its number of parts, 0 when it may match at any depth. ``last`` tests a name. ``everything`` is set
    when every path matches, ``open_end`` when the last part matches nothing too.
    """

    order: int
    wanted: bool
    anchor: str
    path: re.Pattern[str] | None
    depth: int
    last: re.Pattern[str] | str | None
    everything: bool
    open_end: bool

    def inner(self, path: str) -> str:
        """``path``, which is the anchor or below it, relative to it."""
        return path[len(self.anchor) + 1 :] if self.anchor else path

    def covers(self, directory: str) -> bool:
        """Whether everything below ``directory`` matches."""
        inner = self.inner(directory)
        if self.everything or not inner or self.path is None:
            return self.everything
        if not self.open_end and not self.may_name(inner.rpartition("/")[2]):
            return False  # no directory above is covered, so only its own name could do it
        # a glob that matches `dir/` ends in stars there, and those take whatever follows
        return self.path.fullmatch(inner) is not None or self.path.fullmatch(f"{inner}/") is not None

    def possible(self, directory: str) -> bool:
        """Whether something below ``directory``, which it does not cover, may match."""
        inner = self.inner(directory)
        return not (self.depth and inner and inner.count("/") + 1 >= self.depth)

    def may_name(self, name: str) -> bool:
        """Whether a file of this name may match in a directory that is not covered."""
        if self.last is None:
            return True
        return name == self.last if isinstance(self.last, str) else self.last.fullmatch(name) is not None

    def keeps(self, path: str, name: str) -> bool:
        """Whether a file matches."""
        return self.path is not None and self.may_name(name) and self.path.fullmatch(self.inner(path)) is not None


def _rule(order: int, pattern: str) -> _Rule | None:
    """The rule of a glob; None when it names nothing."""
    wanted, text = not pattern.startswith("!"), pattern.removeprefix("!")
    parts = text.strip("/").removeprefix("./").split("/")
    plain = not {"", "."} & set(parts)  # with those a glob can match odd things, and only as a whole
    if plain and not any(_WILD.search(part) for part in parts):
        return _Rule(order, wanted, "/".join(parts), None, 0, None, everything=True, open_end=True)
    if parts == [""]:
        return None
    start = next(at for at, part in enumerate(parts) if _WILD.search(part)) if plain else 0
    anchor, parts = "/".join(parts[:start]), parts[start:]
    # `a**/b` also matches `ab`: where `**` is only a piece of a part, the last part cannot be tested alone
    odd = any("**" in part and part != "**" for part in parts)
    last = None if odd or parts[-1] == "**" else _last(parts[-1])
    everything = all(part == "**" for part in parts[:-1]) and set(parts[-1]) == {"*"}
    depth = 0 if any("**" in part for part in parts) else len(parts)
    open_end = last is None or set(parts[-1]) == {"*"}
    path = pattern_regex("/".join(parts) if plain else text)
    return _Rule(order, wanted, anchor, path, depth, last, everything, open_end)


def _last(part: str) -> re.Pattern[str] | str:
    return pattern_regex(part) if _WILD.search(part) else part


@dataclass(slots=True)
class _Below:
    """Rules whose anchors are below a directory: the highest order, whether any selects, the names leading there."""

    order: int = -1
    wanted: bool = False
    names: dict[str, None] = field(default_factory=dict)


class Selector:
    """A list of globs, the last that matches decides."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._anchored: dict[str, list[_Rule]] = {}
        self._below: dict[str, _Below] = {}
        self._exact: dict[str, dict[str, _Rule]] = {}
        """Globs without a wildcard as files: directory, then name."""
        self._live: dict[str, tuple[tuple[_Rule, bool], ...]] = {}
        for order, pattern in enumerate(patterns):
            rule = _rule(order, pattern)
            if rule is not None:
                self._add(rule)

    def _add(self, rule: _Rule) -> None:
        self._anchored.setdefault(rule.anchor, []).append(rule)
        if rule.path is None:
            directory, _, name = rule.anchor.rpartition("/")
            self._exact.setdefault(directory, {})[name] = rule
        path = rule.anchor
        while path:
            path, _, name = path.rpartition("/")
            below = self._below.setdefault(path, _Below())
            below.order, below.wanted = rule.order, below.wanted or rule.wanted
            below.names[name] = None

    def coverage(self, directory: str) -> Coverage:
        """What is selected below ``directory``; empty is the root."""
        live, below = self._at(directory), self._below.get(directory)
        if live and live[0][1] and (below is None or live[0][0].order > below.order):
            return Coverage.ALL if live[0][0].wanted else Coverage.NONE
        wanted = (below is not None and below.wanted) or any(rule.wanted for rule, _ in live)
        return Coverage.SOME if wanted else Coverage.NONE

    def leads(self, directory: str) -> list[str] | None:
        """Names in ``directory`` that the globs lead to; None when any name may be selected."""
        if any(rule.wanted for rule, _ in self._at(directory)):
            return None  # globs that only take away lead nowhere
        below = self._below.get(directory)
        return list(below.names) if below is not None else []

    def files(self, directory: str, names: Sequence[str]) -> list[int]:
        """Which of ``names``, files in ``directory``, are selected: their positions, in order."""
        live, exact = self._at(directory), self._exact.get(directory, {})
        if not exact and (not live or live[0][1]):
            return list(range(len(names))) if live and live[0][0].wanted else []
        prefix = f"{directory}/" if directory else ""
        return [
            index for index, name in enumerate(names) if (live or name in exact) and _keeps(live, exact, prefix, name)
        ]

    def _at(self, directory: str) -> tuple[tuple[_Rule, bool], ...]:
        """The rules that may say something about what is in ``directory``, highest first, up to one that covers it,
        each with whether it does.
        """
        found = self._live.get(directory)
        if found is None:
            above = self._at(directory.rpartition("/")[0]) if directory else ()
            found = self._live[directory] = tuple(self._chosen(directory, above))
        return found

    def _chosen(self, directory: str, above: tuple[tuple[_Rule, bool], ...]) -> Iterator[tuple[_Rule, bool]]:
        own = self._anchored.get(directory, ())
        if not own and len(above) == 1 and above[0][1]:
            yield above[0]
            return
        inherited = dict(above)
        for rule in sorted((*inherited, *own), key=attrgetter("order"), reverse=True):
            covers = inherited.get(rule, False) or rule.covers(directory)
            if covers or rule.possible(directory):
                yield rule, covers
            if covers:
                return


def _keeps(live: tuple[tuple[_Rule, bool], ...], exact: dict[str, _Rule], prefix: str, name: str) -> bool:
    named = exact.get(name)
    for rule, covers in live:
        if named is not None and named.order > rule.order:
            break
        if covers or rule.keeps(prefix + name, name):
            return rule.wanted
    return named is not None and named.wanted
