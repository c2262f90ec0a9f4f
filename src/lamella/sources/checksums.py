"""Checksum files as projects publish them beside their artefacts."""

from __future__ import annotations

import re

from lamella.errors import RegistryError

__all__ = ["find_checksum"]

_GNU = re.compile(r"(\\?)([0-9a-fA-F]{64})(?: [ *]|\t+ *)(.+)")
_BSD = re.compile(r"SHA256 \((.+)\) ?= ?([0-9a-fA-F]{64})")
_BARE = re.compile(r"[0-9a-fA-F]{64}")


def find_checksum(text: str, name: str, *, where: str) -> str:
    """The hex sha256 that a checksum file gives for the file ``name``.

    Understood are lines of ``sha256sum`` (coreutils), of ``sha256`` (BSD), and a file that is nothing but one digest.
    A name in the file may have directories in front. Lines of other digests are passed over. Raises RegistryError
    when there is no line for the name, or several that disagree.
    """
    lines = [line.strip() for line in text.replace("\r\n", "\n").split("\n") if line.strip()]
    found = {digest for line in lines for file, digest in _entries(line) if _same(file, name)}
    if not found and len(lines) == 1 and _BARE.fullmatch(lines[0]):
        found = {lines[0].lower()}
    if len(found) > 1:
        raise RegistryError(f"{where} has several different sha256 sums for {name}")
    if not found:
        raise RegistryError(f"{where} has no sha256 sum for {name}", hint="give sha256 instead of sums")
    return found.pop()


def _entries(line: str) -> list[tuple[str, str]]:
    """(file name, digest) of a line, or nothing."""
    if bsd := _BSD.fullmatch(line):
        return [(bsd[1], bsd[2].lower())]
    if gnu := _GNU.fullmatch(line):
        name = re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], gnu[3]) if gnu[1] else gnu[3]
        return [(name, gnu[2].lower())]
    return []


def _same(file: str, name: str) -> bool:
    return file == name or file.endswith(f"/{name}")
