"""Which packages a root file system has, read from the databases of dpkg, apk and rpm without running anything.

rpm's database is read in its SQLite form (rpm 4.16 and newer); older forms count as unknown.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from lamella.errors import HostileInputError
from lamella.layers.view import RootView
from lamella.values import dataclass

__all__ = ["Package", "RpmPackage", "list_packages", "list_rpm", "parse_apk", "parse_dpkg"]

_LIMIT = 256 << 20
"""Bytes of one package database."""

_RPM_PATHS = ("usr/lib/sysimage/rpm/rpmdb.sqlite", "var/lib/rpm/rpmdb.sqlite")
_APK_PATHS = ("usr/lib/apk/db/installed", "lib/apk/db/installed")
_DPKG_STATUS, _DPKG_PARTS = "var/lib/dpkg/status", "var/lib/dpkg/status.d"


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """One installed package; ``version`` as its manager writes it."""

    name: str
    version: str
    arch: str


@dataclass(frozen=True, slots=True)
class RpmPackage:
    """A header of rpm's database. ``epoch`` is ``0`` where it has none; ``arch`` is empty for public keys."""

    name: str
    epoch: str
    version: str
    release: str
    arch: str


def list_packages(root: RootView) -> tuple[str, tuple[Package, ...]]:
    """(``dpkg``, ``apk``, ``rpm`` or empty, packages sorted). Raises HostileInputError for a malformed database."""
    for manager, found in (("dpkg", _dpkg(root)), ("apk", _apk(root)), ("rpm", _rpm(root))):
        if found is not None:
            return manager, tuple(sorted(set(found)))
    return "", ()


def _read(root: RootView, path: str) -> bytes | None:
    try:
        return root.read_bytes(path, limit=_LIMIT)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _dpkg(root: RootView) -> list[Package] | None:
    """The status file of dpkg, and the files per package that images without dpkg itself have."""
    status = _read(root, _DPKG_STATUS)
    try:
        parts = [name for name in root.listdir(_DPKG_PARTS) if not name.endswith(".md5sums")]
    except (FileNotFoundError, NotADirectoryError):
        parts = []
    if status is None and not parts:
        return None
    found = list(parse_dpkg(_text(status)))
    for name in parts:
        found += parse_dpkg(_text(_read(root, f"{_DPKG_PARTS}/{name}")))
    return found


def _text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "replace")


@lru_cache(maxsize=2)
def parse_dpkg(text: str) -> tuple[Package, ...]:
    """Installed packages of a dpkg status file (deb-status fields), in its order. The last files are remembered: the
    steps of a chain have the same one until a package changes.
    """
    return tuple(_dpkg_packages(text))


def _dpkg_packages(text: str) -> Iterator[Package]:
    for stanza in text.split("\n\n"):
        fields: dict[str, str] = {}
        for line in stanza.split("\n"):
            name, colon, value = line.partition(":")
            if colon and not line.startswith((" ", "\t")):
                fields.setdefault(name, value.strip())
        if "Package" in fields and fields.get("Status", "install ok installed").endswith(" installed"):
            yield Package(fields["Package"], fields.get("Version", ""), fields.get("Architecture", ""))


def _apk(root: RootView) -> list[Package] | None:
    data = next((found for path in _APK_PATHS if (found := _read(root, path)) is not None), None)
    return None if data is None else list(parse_apk(_text(data)))


def parse_apk(text: str) -> Iterator[Package]:
    """Installed packages of Alpine's database: stanzas with ``P:`` name, ``V:`` version, ``A:`` architecture."""
    for stanza in text.split("\n\n"):
        fields = {line[0]: line[2:] for line in stanza.split("\n") if line[1:2] == ":"}
        if "P" in fields:
            yield Package(fields["P"], fields.get("V", ""), fields.get("A", ""))


_RPM_TAGS = {1000: "name", 1001: "version", 1002: "release", 1003: "epoch", 1022: "arch"}


def _rpm(root: RootView) -> list[Package] | None:
    found = list_rpm(root)
    if found is None:
        return None
    epochs = ("" if one.epoch == "0" else f"{one.epoch}:" for one in found)
    return [
        Package(one.name, f"{epoch}{one.version}-{one.release}", one.arch)
        for epoch, one in zip(epochs, found, strict=True)
    ]


def list_rpm(root: RootView) -> list[RpmPackage] | None:
    """Packages of rpm in the order of its SQLite database; None where that is not there.

    Raises HostileInputError for a malformed one.
    """
    for path in _RPM_PATHS:
        data = _read(root, path)
        if data is not None:
            return [_rpm_package(header) for header in _rpm_headers(data, _read(root, f"{path}-wal"))]
    return None


def _rpm_headers(data: bytes, log: bytes | None) -> list[bytes]:
    """The headers in a database with its write-ahead log (sqlite.org/wal.html), which may hold the latest of them.

    Both are copied first: an untrusted database must not be opened where it could be written, and one with such a log
    cannot be opened in memory.
    """
    import sqlite3
    import tempfile

    with tempfile.TemporaryDirectory(prefix="lamella-rpm-") as folder:
        copy = Path(folder) / "rpmdb.sqlite"
        copy.write_bytes(data)
        if log:
            copy.with_name(f"{copy.name}-wal").write_bytes(log)
        database = sqlite3.connect(copy)
        try:
            rows = database.execute("SELECT blob FROM Packages ORDER BY hnum").fetchall()
            return [bytes(row[0]) for row in rows]
        except (sqlite3.Error, TypeError) as error:
            raise HostileInputError(f"rpm's database cannot be read: {error}") from error
        finally:
            database.close()


def _rpm_package(blob: bytes) -> RpmPackage:
    """Name and version out of an rpm header (rpm's file format, "Header Structure")."""
    try:
        count, size = struct.unpack_from(">II", blob)
        store = blob[8 + 16 * count : 8 + 16 * count + size]
        found: dict[str, str] = {}
        for number in range(count):
            tag, kind, offset, _ = struct.unpack_from(">IIII", blob, 8 + 16 * number)
            name = _RPM_TAGS.get(tag)
            if name is not None and kind == 4:
                found[name] = str(struct.unpack_from(">I", store, offset)[0])
            elif name is not None:
                found[name] = store[offset : store.index(b"\0", offset)].decode("utf-8", "replace")
    except (struct.error, ValueError) as error:
        raise HostileInputError(f"rpm's database has a malformed header: {error}") from error
    return RpmPackage(
        found.get("name", ""),
        found.get("epoch", "0"),
        found.get("version", ""),
        found.get("release", ""),
        found.get("arch", ""),
    )
