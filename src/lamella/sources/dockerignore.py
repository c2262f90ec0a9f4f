"""``.dockerignore`` as Docker reads it: the rules of moby/patternmatcher, down to its oddities.

A line is a Go ``filepath.Match`` pattern with ``**`` added. Later lines win, ``!`` takes a path back, and a line
that matches a directory matches all below it. Differences to ``.gitignore`` that surprise people: every line is
anchored at the top, ``[!a]`` has no negation (``[^a]`` has), and a path below an ignored directory can be taken back.

Docker notices a malformed pattern only sometimes, else the line silently means something odd; here it is an error.

Source of the rules: moby/patternmatcher (``ignorefile.ReadAll``, ``New``, ``MatchesUsingParentResults``).
"""

from __future__ import annotations

import posixpath
import re

from lamella.errors import ConfigError, Problem
from lamella.values import dataclass

__all__ = ["NO_STATE", "IgnoreLine", "IgnoreRules", "State", "parse_dockerignore"]

State = tuple[bool, ...]
"""Which lines match a directory or one above it; see :meth:`IgnoreRules.step`."""

NO_STATE: State = ()
"""The state at the top of the tree."""

_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""What Go's ``strings.TrimSpace`` takes away; ``str.strip`` takes more."""

_LINE_LIMIT = 64 * 1024
"""Bytes of one line that Go's line scanner takes."""

_QUOTED = frozenset(".+()$")
"""What Docker quotes. ``|`` and braces were meant too, but its table has no room for them: they keep their meaning."""

_REPETITION = re.compile(r"\{\d+(?:,\d*)?\}")
_POSIX_CLASS = re.compile(r"\[:([a-z]+):\]")
_CLASS_ESCAPES = frozenset("dDwWsSafnrtv")
_ESCAPES = _CLASS_ESCAPES | frozenset("bBA")
"""Letters after a backslash that mean the same to RE2 and to ``re`` with ASCII classes."""

_POSIX = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": r"\x00-\x7f", "blank": r"\t ", "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9", "graph": "!-~", "lower": "a-z", "print": " -~", "punct": r"!-/:-@\[-`{-~", "space": r"\t\n\v\f\r ",
    "upper": "A-Z", "word": "0-9A-Za-z_", "xdigit": "0-9A-Fa-f",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class IgnoreLine:
    """One compiled line: ``text`` as cleaned, ``number`` from 1 (0: not from a file), ``taken_back`` for ``!``."""

    text: str
    number: int
    taken_back: bool
    regex: re.Pattern[str]

    def matches(self, path: str) -> bool:
        """Whether the line matches this very path."""
        return self.regex.search(path) is not None


@dataclass(frozen=True, slots=True)
class IgnoreRules:
    """The lines of one ignore file, in order. Without lines nothing is ignored."""

    lines: tuple[IgnoreLine, ...] = ()
    file: str = ".dockerignore"

    def __bool__(self) -> bool:
        return bool(self.lines)

    def step(self, path: str, above: State = NO_STATE) -> tuple[bool, State]:
        """Whether ``path`` is ignored, and the state that what lies below it starts from.

        ``above`` is the state of its parent directory. A line that an earlier verdict makes pointless is not
        looked at and counts as no match for what lies below, as in Docker.
        """
        ignored, state = False, []
        for index, line in enumerate(self.lines):
            matched = bool(above) and above[index]
            if not matched and line.taken_back == ignored:
                matched = line.matches(path)
            if matched:
                ignored = not line.taken_back
            state.append(matched)
        return ignored, tuple(state)

    def ignored(self, path: str) -> bool:
        """Whether ``path`` (relative, clean) is ignored, walking down from the top."""
        verdict, state = False, NO_STATE
        for end in [index for index, char in enumerate(path) if char == "/"] + [len(path)]:
            verdict, state = self.step(path[:end], state)
        return verdict

    def reason(self, path: str) -> str:
        """The line that ignores ``path``, as ``file:line: text``; empty when it is not ignored."""
        if not self.ignored(path):
            return ""
        parents = [path[:index] for index, char in enumerate(path) if char == "/"]
        for line in reversed(self.lines):
            if not line.taken_back and any(line.matches(part) for part in (path, *parents)):
                return f"{self.file}:{line.number}: {line.text}"
        return self.file

    def can_skip(self, directory: str) -> bool:
        """Whether nothing below an ignored ``directory`` can be taken back, so that a walk may leave it out."""
        return all(_apart(directory, _literal(line.text)) for line in self.lines if line.taken_back)


def _literal(text: str) -> str:
    """The leading parts of a pattern without anything special."""
    parts: list[str] = []
    for part in text.split("/"):
        if any(char in part for char in "*?[]\\"):
            break
        parts.append(part)
    return "/".join(parts)


def _apart(directory: str, prefix: str) -> bool:
    """Whether no path below ``directory`` can start with the parts of ``prefix`` (or the other way round)."""
    if not prefix or prefix == directory:
        return False
    return not (prefix.startswith(f"{directory}/") or directory.startswith(f"{prefix}/"))


def parse_dockerignore(data: bytes, *, file: str = ".dockerignore") -> IgnoreRules:
    """The rules of an ignore file. Raises ConfigError with all malformed lines."""
    lines: list[IgnoreLine] = []
    problems: list[Problem] = []
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    for number, raw in enumerate(text.split("\n"), 1):
        if len(raw.encode("utf-8", "surrogateescape")) >= _LINE_LIMIT:
            problems.append(Problem(file, number, 0, "the line is longer than 64 KiB, which Docker refuses"))
            continue
        try:
            line = _line(raw, number)
        except ValueError as error:
            hint = "escape the character with a backslash when it stands for itself"
            problems.append(Problem(file, number, 0, f"{raw.strip()[:80]!r}: {error}", hint=hint))
            continue
        if line is not None:
            lines.append(line)
    if problems:
        raise ConfigError.from_problems(tuple(problems))
    return IgnoreRules(tuple(lines), file)


def _line(raw: str, number: int) -> IgnoreLine | None:
    """One line compiled; None for a comment or an empty one. Raises ValueError where Docker reports an error."""
    if raw.startswith("#"):
        return None
    text = raw.strip(_SPACE)
    if not text:
        return None
    taken_back = text.startswith("!")
    text = _relative(text[1:].strip(_SPACE)) if taken_back else _relative(text)
    # Docker reads its own cleaned lines a second time, so `/!x` is taken back as well
    text = _clean((f"!{text}" if taken_back else text).strip(_SPACE))
    taken_back = text.startswith("!")
    text = text.removeprefix("!")
    if not text:
        raise ValueError("an exclamation mark with nothing behind it")
    _check_syntax(text)
    return IgnoreLine(text, number, taken_back, _compile(text))


def _relative(text: str) -> str:
    """A cleaned path without the slash that anchors it; empty stays empty."""
    if not text:
        return text
    cleaned = _clean(text)
    return cleaned[1:] if cleaned.startswith("/") and len(cleaned) > 1 else cleaned


def _clean(path: str) -> str:
    """Go's ``filepath.Clean``: like ``posixpath.normpath``, but two leading slashes are one."""
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def _check_syntax(text: str) -> None:
    """Go's ``filepath.Match`` grammar: raises ValueError for what it calls a bad pattern."""
    index = 0
    while index < len(text):
        char = text[index]
        if char == "\\":
            index += 1
            if index == len(text):
                raise ValueError("a backslash at the end")
        elif char == "[":
            index = _check_class(text, index + 1)
            continue
        index += 1


def _check_class(text: str, index: int) -> int:
    """The index after a ``[...]`` that starts before ``index``."""
    if text[index : index + 1] == "^":
        index += 1
    count = 0
    while True:
        if text[index : index + 1] == "]" and count:
            return index + 1
        index = _check_class_char(text, index)
        if text[index] == "-":
            index = _check_class_char(text, index + 1)
        count += 1


def _check_class_char(text: str, index: int) -> int:
    """The index after one character of a class, which must not be the last of the pattern."""
    if index >= len(text) or text[index] in "-]":
        raise ValueError("a malformed character class")
    if text[index] == "\\":
        index += 1
    if index + 1 >= len(text):
        raise ValueError("a character class without its end")
    return index + 1


def _compile(text: str) -> re.Pattern[str]:
    """The expression that Docker makes of a pattern, spelled for ``re``. Raises ValueError."""
    kind, expression = _expression(text)
    if kind == "exact":
        expression = rf"\A{re.escape(text)}\Z"
    elif kind == "prefix":
        expression = rf"\A{re.escape(text[:-2])}"
    elif kind == "suffix":
        expression = rf"{re.escape(text[2:])}\Z"
        if text[2:3] == "/":  # `**/foo` matches `foo` too
            expression += rf"|\A{re.escape(text[3:])}\Z"
    try:
        return re.compile(expression, re.ASCII)
    except re.error as error:
        raise ValueError(f"not a usable pattern ({error.msg})") from error


def _expression(text: str) -> tuple[str, str]:
    """(exact, prefix, suffix or regex, expression) of a pattern, in the order that Docker decides it."""
    kind, out, index = "exact", [], 0
    while index < len(text):
        char = text[index]
        if text.startswith("**", index):
            after = index + 2
            if text[after : after + 1] == "/":
                after += 1
            if after == len(text):
                kind = "prefix" if kind == "exact" else "regex"
                out.append(".*")
            else:
                kind = "regex"
                out.append("(?:.*/)?")
            if index == 0:
                kind = "suffix"
            index = after
            continue
        piece, special = _piece(text, index)
        out.append(piece)
        kind = "regex" if special else kind
        index += 2 if char == "\\" else 1
    return kind, rf"\A{_for_re(''.join(out))}\Z" if kind == "regex" else ""


def _piece(text: str, index: int) -> tuple[str, bool]:
    """The RE2 text of one character and whether it makes the pattern an expression."""
    char = text[index]
    if char == "*":
        return "[^/]*", True
    if char == "?":
        return "[^/]", True
    if char in _QUOTED:
        return f"\\{char}", False
    if char == "\\":
        return text[index : index + 2], True
    return char, char in "[]"


def _for_re(expression: str) -> str:
    """An RE2 expression as ``re`` wants it: escapes checked, classes spelled without what only one side knows."""
    out, index = [], 0
    while index < len(expression):
        char = expression[index]
        if char == "\\":
            out.append(_escape(expression[index + 1]))
            index += 2
        elif char == "[":
            piece, index = _class(expression, index + 1)
            out.append(piece)
        elif char == "{" and (count := _REPETITION.match(expression, index)):
            out.append(count[0])
            index = count.end()
        else:
            out.append(f"\\{char}" if char in "]{}" else char)
            index += 1
    return "".join(out)


def _class(expression: str, index: int) -> tuple[str, int]:
    """A class whose ``[`` stands before ``index``, and the index after it."""
    out = ["["]
    if expression[index : index + 1] == "^":
        out.append("^")
        index += 1
    first = True
    while index < len(expression) and (first or expression[index] != "]"):
        first = False
        named = _POSIX_CLASS.match(expression, index)
        if named and named[1] in _POSIX:
            out.append(_POSIX[named[1]])
            index = named.end()
        elif expression[index] == "\\" and index + 1 < len(expression):
            out.append(_escape(expression[index + 1], _CLASS_ESCAPES))
            index += 2
        else:
            out.append("-" if expression[index] == "-" else re.escape(expression[index]))
            index += 1
    if index >= len(expression):
        raise ValueError("a character class without its end")
    return "".join([*out, "]"]), index + 1


def _escape(char: str, known: frozenset[str] = _ESCAPES) -> str:
    """What a backslash and ``char`` mean: letters are RE2's classes, digits nothing that it knows."""
    if char.isascii() and char.isalnum():
        if char not in known:
            raise ValueError(f"\\{char} has no meaning")
        return f"\\{char}"
    return re.escape(char)
