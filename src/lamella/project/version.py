"""Where the project's version comes from: ``git:PATTERN``, ``cargo:DIR``, ``python:DIR``, ``file:PATH``, a literal."""

from __future__ import annotations

import re

from lamella.project.formats import FORMATS, Format, FormatError
from lamella.values import dataclass

__all__ = ["VERSION", "VersionSource", "parse_version_source"]

_LITERAL = re.compile(r"v?\d[0-9A-Za-z.+_-]*\Z")
_KINDS = ("git", "cargo", "python", "file")


@dataclass(frozen=True, slots=True)
class VersionSource:
    """One source: ``kind`` is ``git``, ``cargo``, ``python``, ``file`` or ``literal``.

    ``value`` is a glob over tag names (git; the version is what its one ``*`` matches), a folder with a manifest
    (cargo, python), a file with one line (file), or the version itself. Reading it is the caller's part.
    """

    kind: str
    value: str

    def from_tag(self, tag: str) -> str | None:
        """The version in a git tag, or None when the tag does not match.

        >>> VersionSource("git", "docker/v*").from_tag("docker/v1.4.0")
        '1.4.0'
        """
        before, _, after = self.value.partition("*")
        if len(tag) <= len(before) + len(after) or not (tag.startswith(before) and tag.endswith(after)):
            return None
        found = tag[len(before) : len(tag) - len(after)]
        return found if _LITERAL.match(found) else None


def parse_version_source(text: str) -> VersionSource:
    """The source that ``text`` names; raises FormatError."""
    kind, colon, value = text.partition(":")
    if not colon:
        if not _LITERAL.match(text):
            raise FormatError(
                f"{text!r} is no version and no source of one",
                "write git:v*, cargo:DIR, python:DIR, file:PATH, or a version like 1.2.3",
            )
        return VersionSource("literal", text)
    if kind not in _KINDS:
        raise FormatError(f"{kind!r} is not a source of versions", f"known are {', '.join(_KINDS)}")
    if kind == "git":
        if value.count("*") != 1 or re.search(r"[\s?\[\]~^:\\]", value):
            raise FormatError(
                f"{value!r} is not a pattern of tags", "write the tag with one '*' for the version: git:v*"
            )
        return VersionSource(kind, value)
    FORMATS["path"].convert(value)
    return VersionSource(kind, value)


VERSION = Format("version", "git:PATTERN, cargo:DIR, python:DIR, file:PATH, or a version", parse_version_source)
"""The form of ``project.version``."""
