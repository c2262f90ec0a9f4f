"""Installs wheels into the tree of a virtual environment, by PyPA's installer specification (binary distribution
format, "Installing a wheel") and with its library ``installer``.

The tree holds what the wheels bring and nothing of an interpreter: ``lib/pythonX.Y/site-packages``, ``bin``, headers
and data. It is the same whenever and wherever it is made: constant modes, no bytecode, RECORD sorted and rewritten
for what was really installed. Nothing of a wheel is run, and nothing can be written outside of the tree.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from installer import install
from installer.destinations import WheelDestination
from installer.exceptions import InstallerError
from installer.records import Hash, RecordEntry, parse_record_file
from installer.scripts import Script
from installer.sources import WheelContentElement, WheelSource
from installer.utils import Scheme, construct_record_file
from packaging.utils import canonicalize_name

from lamella.errors import HostileInputError, IntegrityError
from lamella.graph.fileset import check_path
from lamella.host.rooted import Rooted
from lamella.layers.failures import explained
from lamella.layers.zipread import WHEEL_BUDGETS, ZipBudgets, ZipMember, ZipReader

if TYPE_CHECKING:
    from installer.scripts import ScriptSection

__all__ = ["INSTALLER", "install_wheels"]

INSTALLER = "lamella"
"""What stands in each package's INSTALLER file."""

_OURS = ("INSTALLER", "REQUESTED", "direct_url.json")
"""Files of the metadata directory that installers write, whatever a wheel brings."""

_CHUNK = 256 * 1024
_METADATA_LIMIT = 64 << 20
_SCRIPT_NAME = re.compile(r"[^/\0\n\r]+")
_SHEBANG = re.compile(rb"#!pythonw?[^\n]*\n?")
_PLAIN, _EXECUTABLE = 0o644, 0o755


def install_wheels(
    wheels: Sequence[str | os.PathLike[str]],
    destination: str | os.PathLike[str],
    *,
    venv: str,
    python: str,
    requested: Collection[str] = (),
    budgets: ZipBudgets = WHEEL_BUDGETS,
) -> tuple[str, ...]:
    """Installs wheel files in their order below ``destination``, an existing directory; returns warnings.

    ``venv`` is the absolute path that the tree will have: scripts start with its interpreter. ``python`` is ``3.11``.
    ``requested`` are names of packages that were asked for by name (they get a REQUESTED file). Of a path that two
    wheels bring the later one stays, with a warning.

    Raises HostileInputError for a wheel that is malformed, leads out of the tree or grows beyond ``budgets``,
    IntegrityError for a file that is not what its wheel's RECORD says, ResourceError when the disk is full.
    """
    names = {canonicalize_name(name) for name in requested}
    with Rooted(destination, links=False) as root:
        tree = _Tree(root, venv, python)
        for wheel in wheels:
            try:
                _install_one(Path(wheel), tree, names, budgets)
            except OSError as error:
                raise explained(f"wheel {Path(wheel).name} cannot be installed", error) from error
        return tuple(tree.warnings)


def _install_one(wheel: Path, tree: _Tree, requested: Collection[str], budgets: ZipBudgets) -> None:
    with wheel.open("rb") as stream:
        source = _Wheel(ZipReader(stream, wheel.name, budgets), wheel.name)
        metadata = {"INSTALLER": f"{INSTALLER}\n".encode()}
        if canonicalize_name(source.distribution) in requested:
            metadata["REQUESTED"] = b""
        try:
            install(source, _Destination(tree, source), metadata)
        # The library asserts on malformed entry points, and lets errors of its parsers through.
        except (InstallerError, ValueError, KeyError, AssertionError, UnicodeError) as error:
            raise HostileInputError(f"wheel {wheel.name} is malformed: {str(error) or type(error).__name__}") from error
        except _parser_error() as error:
            raise HostileInputError(f"wheel {wheel.name} has malformed entry points: {error}") from error
        tree.warnings += source.warnings


def _parser_error() -> type[Exception]:
    import configparser

    return configparser.Error


class _Tree:
    """The environment's tree: where each scheme lies, what is there already and from whom."""

    def __init__(self, root: Rooted, venv: str, python: str) -> None:
        self.root = root
        self.interpreter = f"{venv.rstrip('/')}/bin/python"
        self.site_packages = f"lib/python{python}/site-packages"
        self.headers = f"include/site/python{python}"
        self.warnings: list[str] = []
        self._owners: dict[str, tuple[str, str]] = {}
        self._directories: set[str] = set()

    def write(self, path: str, chunks: Iterable[bytes], *, executable: bool, owner: str) -> tuple[str, int]:
        """Writes one file and returns its digest as RECORD has it, and its size."""
        check_path(path)
        self._make_room(path)
        handle = self.root.create(path, _EXECUTABLE if executable else _PLAIN)
        digest, size = hashlib.sha256(), 0
        with open(handle, "wb", buffering=0) as stream:
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                _write_all(stream, chunk)
        recorded = base64.urlsafe_b64encode(digest.digest()).decode("ascii").rstrip("=")
        self._note_owner(path, owner, recorded)
        return recorded, size

    def _make_room(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        if parent not in self._directories:
            self.root.mkdirs(parent)
            self._directories.add(parent)
        if path in self._owners:
            self.root.unlink(path)
        elif self.root.exists(path):
            raise HostileInputError(f"{path!r} would be a file and a directory, or is there before any wheel")

    def _note_owner(self, path: str, owner: str, digest: str) -> None:
        before = self._owners.get(path)
        self._owners[path] = (owner, digest)
        if before is not None and before[0] == owner:
            raise HostileInputError(f"wheel of {owner} brings {path!r} twice")
        if before is not None:
            bytes_ = "the same bytes" if before[1] == digest else "other bytes"
            self.warnings.append(f"{path} is in {before[0]} and, with {bytes_}, in {owner}, which stays")


def _write_all(stream: io.FileIO, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[stream.write(view) :]


class _Destination(WheelDestination):
    """Writes one wheel into the tree, in the library's terms."""

    def __init__(self, tree: _Tree, wheel: _Wheel) -> None:
        self._tree = tree
        self._owner = wheel.distribution
        self._places = {
            "purelib": tree.site_packages,
            "platlib": tree.site_packages,
            "scripts": "bin",
            "headers": f"{tree.headers}/{wheel.distribution}",
            "data": "",
        }

    def _place(self, scheme: Scheme, path: str) -> str:
        prefix = self._places[scheme]
        return f"{prefix}/{path}" if prefix else path

    def write_script(self, name: str, module: str, attr: str, section: ScriptSection) -> RecordEntry:
        """The program of an entry point."""
        if not _SCRIPT_NAME.fullmatch(name):
            raise HostileInputError(f"wheel of {self._owner} names a program {name[:60]!r}")
        script, data = Script(name, module, attr, section).generate(self._tree.interpreter, "posix")
        return self._write(Scheme("scripts"), script, [data], executable=True)

    def write_file(
        self, scheme: Scheme, path: str | os.PathLike[str], stream: BinaryIO, is_executable: bool
    ) -> RecordEntry:
        """One file, compared with its wheel's RECORD; a script's first line gets the environment's interpreter."""
        chunks: Iterable[bytes] = iter(lambda: stream.read(_CHUNK), b"")
        member = stream if isinstance(stream, _MemberStream) else None
        if scheme == "scripts":
            chunks, is_executable = self._with_interpreter(member.hashed() if member else chunks), True
            member = None
        record = self._write(scheme, os.fspath(path), chunks, executable=is_executable)
        if member is not None and record.hash_ is not None:
            member.check(record.hash_.value)
        return record

    def _with_interpreter(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        first = True
        for chunk in chunks:
            if first and (line := _SHEBANG.match(chunk)):
                yield f"#!{self._tree.interpreter}\n".encode() + chunk[line.end() :]
            else:
                yield chunk
            first = False

    def _write(self, scheme: Scheme, path: str, chunks: Iterable[bytes], *, executable: bool) -> RecordEntry:
        digest, size = self._tree.write(self._place(scheme, path), chunks, executable=executable, owner=self._owner)
        return RecordEntry(path, Hash("sha256", digest), size)

    def finalize_installation(
        self, scheme: Scheme, record_file_path: str, records: Iterable[tuple[Scheme, RecordEntry]]
    ) -> None:
        """RECORD of what is really there, with paths relative to site-packages."""
        up = "../" * (self._tree.site_packages.count("/") + 1)
        site = ("purelib", "platlib")

        def prefix(of: Scheme) -> str | None:
            return None if of in site else f"{up}{self._places[of]}/".replace("//", "/")

        with construct_record_file(sorted(records, key=lambda item: (item[1].path, item[0])), prefix) as stream:
            self._tree.write(
                self._place(scheme, record_file_path), [stream.read()], executable=False, owner=self._owner
            )


class _Wheel(WheelSource):
    """A wheel's content for the library, named by its own metadata directory."""

    def __init__(self, archive: ZipReader, name: str) -> None:
        self._archive = archive
        self._by_path = {member.path: member for member in archive.members}
        tops = {path.split("/", 1)[0] for path in self._by_path if "/" in path}
        found = sorted(top for top in tops if top.endswith(".dist-info"))
        if len(found) != 1:
            raise HostileInputError(f"wheel {name} has {len(found)} metadata directories instead of one")
        distribution, dash, version = found[0].removesuffix(".dist-info").rpartition("-")
        if not dash:
            raise HostileInputError(f"wheel {name} has a metadata directory named {found[0][:60]!r}")
        if name.endswith(".whl") and canonicalize_name(name.split("-", 1)[0]) != canonicalize_name(distribution):
            raise HostileInputError(f"wheel {name} holds the package {distribution!r}")
        super().__init__(distribution, version)
        self.warnings: list[str] = []

    @property
    def dist_info_filenames(self) -> list[str]:
        """Names in the metadata directory."""
        prefix = f"{self.dist_info_dir}/"
        return [path[len(prefix) :] for path in self._by_path if path.startswith(prefix)]

    def read_dist_info(self, filename: str) -> str:
        """One metadata file as text."""
        member = self._by_path[f"{self.dist_info_dir}/{filename}"]
        if member.size > _METADATA_LIMIT:
            raise HostileInputError(f"wheel of {self.distribution} has {filename} of {member.size} bytes")
        return b"".join(self._archive.chunks(member)).decode("utf-8")

    def validate_record(self) -> None:
        """Not asked for apart: each file is compared with RECORD while it is written."""

    def get_contents(self) -> Iterator[WheelContentElement]:
        """All files with their rows of RECORD, as the library wants them."""
        rows = {row[0]: row for row in parse_record_file(self.read_dist_info("RECORD").splitlines())}
        for member in self._archive.members:
            if "__pycache__" in member.path.split("/")[:-1]:
                self.warnings.append(
                    f"{member.path} of {self.distribution} was left out: wheels may not bring bytecode"
                )
                continue
            if member.path.rpartition("/")[2] in _OURS and member.path.startswith(f"{self.dist_info_dir}/"):
                continue
            recorded = rows.get(member.path, (member.path, "", ""))[1]
            stream = _MemberStream(self._archive, member, recorded, self.distribution)
            yield (member.path, "", ""), cast(BinaryIO, stream), member.executable


class _MemberStream(io.RawIOBase):
    """A member's bytes as the library wants them, and what RECORD says of them."""

    def __init__(self, archive: ZipReader, member: ZipMember, recorded: str, owner: str) -> None:
        self._chunks = archive.chunks(member)
        self._what = f"{member.path} of {owner}"
        self._algorithm, _, expected = recorded.partition("=")
        self._expected = expected.rstrip("=")

    def read(self, _size: int = -1, /) -> bytes:
        """The next chunk, whatever its size; none at the end."""
        return next(self._chunks, b"")

    def hashed(self) -> Iterator[bytes]:
        """All chunks, for a file that is written otherwise than it is stored; compared at the end."""
        digest = hashlib.sha256()
        for chunk in self._chunks:
            digest.update(chunk)
            yield chunk
        self.check(base64.urlsafe_b64encode(digest.digest()).decode("ascii").rstrip("="))

    def check(self, digest: str) -> None:
        """Raises IntegrityError when a SHA-256 is not RECORD's; other algorithms prove nothing and are passed over."""
        if self._algorithm == "sha256" and self._expected != digest:
            raise IntegrityError(f"{self._what} is not what the RECORD of its wheel says")
