"""The recorded package set of a root file system: what identifies it, beside its key (DESIGN 3b).

Read from the package managers' own databases, without running them where the format is plain text. rpm's is a binary
of many formats, so who has a sandbox asks rpm(8) of the root file system itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from lamella.canonical import canonical_json
from lamella.errors import HostileInputError, SandboxError
from lamella.host.rooted import Rooted
from lamella.layers.packages import Package, list_rpm, parse_apk, parse_dpkg
from lamella.layers.programs import find_programs
from lamella.layers.view import RootView

if TYPE_CHECKING:
    from lamella.engines.local.sandbox import Sandbox

__all__ = [
    "PACKAGES_FORMAT",
    "apk_packages",
    "dpkg_packages",
    "dpkg_set",
    "package_set",
    "packages_of",
    "read_rpm",
    "rpm_packages",
]

PACKAGES_FORMAT = 1
"""Major version of the recorded form."""

_LARGEST = 64 << 20
_RPM_PLACES = ("usr/lib/sysimage/rpm", "var/lib/rpm")
_QUERY = ("rpm", "--query", "--all", "--queryformat", "%{NAME} %{EPOCHNUM}:%{VERSION}-%{RELEASE} %{ARCH}\\n")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_STATUS_DIRECTORY = "var/lib/dpkg/status.d"
"""Where images without dpkg keep one status file per package."""


def package_set(root: str, sandbox: Sandbox) -> bytes:
    """Canonical bytes as :func:`packages_of` gives them, of a root that is mounted here and whose rpm can be run."""
    with Rooted(root) as rooted:
        return packages_of(rooted, lambda: _ask_rpm(root, sandbox))


def packages_of(root: RootView, ask_rpm: Callable[[], Mapping[str, str]]) -> bytes:
    """Canonical bytes: format, and installed packages as ``manager:name[:architecture]`` to version.

    ``ask_rpm`` gives those of rpm as ``name:architecture``; it is called where rpm has a database.
    """
    packages: dict[str, str] = {}
    for text in _dpkg_files(root):
        packages |= {f"dpkg:{name}": version for name, version in dpkg_packages(text).items()}
    for name, version in apk_packages(_read(root, "lib/apk/db/installed")).items():
        packages[f"apk:{name}"] = version
    if any(_is_filled(root, place) for place in _RPM_PLACES):
        packages |= {f"rpm:{name}": version for name, version in ask_rpm().items()}
    return canonical_json({"format": PACKAGES_FORMAT, "packages": packages})


def dpkg_set(rooted: RootView) -> bytes:
    """The same for a fresh Debian, which has no other package manager."""
    packages = {
        f"dpkg:{name}": version for name, version in dpkg_packages(_read(rooted, "var/lib/dpkg/status")).items()
    }
    return canonical_json({"format": PACKAGES_FORMAT, "packages": packages})


def _dpkg_files(rooted: RootView) -> list[str]:
    files = [_read(rooted, "var/lib/dpkg/status")]
    with suppress(OSError):
        files += [_read(rooted, f"{_STATUS_DIRECTORY}/{name}") for name in rooted.listdir(_STATUS_DIRECTORY)]
    return [text for text in files if text]


def _is_filled(root: RootView, path: str) -> bool:
    """Whether a directory, and no link to one, is there with something in it."""
    try:
        return bool(root.listdir(path))
    except OSError:
        return False


def _read(rooted: RootView, path: str) -> str:
    with suppress(OSError, HostileInputError):
        return rooted.read_bytes(path, limit=_LARGEST).decode("utf-8", "replace")
    return ""


def dpkg_packages(text: str) -> Mapping[str, str]:
    """Installed packages of a dpkg status file: ``name:architecture`` to version."""
    return _by_name(parse_dpkg(text))


def apk_packages(text: str) -> Mapping[str, str]:
    """Installed packages of Alpine's database, as :func:`dpkg_packages`."""
    return _by_name(parse_apk(text))


def _by_name(packages: Iterable[Package]) -> Mapping[str, str]:
    return {f"{package.name}:{package.arch}": package.version for package in packages if package.version}


def _ask_rpm(root: str, sandbox: Sandbox) -> Mapping[str, str]:
    out = bytearray()
    ended = sandbox.run(
        root, _QUERY, env={"PATH": _PATH}, on_chunk=lambda stream, data: out.extend(data if stream == 1 else b"")
    )
    return rpm_packages(out.decode("utf-8", "replace")) if ended.code == 0 else {}


def rpm_packages(text: str) -> Mapping[str, str]:
    """Installed packages of lines ``name epoch:version-release architecture``: ``name:architecture`` to version."""
    rows = [line.split() for line in text.splitlines()]
    return {f"{row[0]}:{row[2]}": row[1] for row in rows if len(row) == 3}


def read_rpm(root: RootView) -> Mapping[str, str]:
    """What rpm(8) of the root file system would say, without running it; nothing where it has no rpm.

    Raises SandboxError for a database that only rpm itself reads: Berkeley DB and ndb, before and beside SQLite.
    """
    if "rpm" not in find_programs(root, _PATH):
        return {}
    found = list_rpm(root)
    if found is None:
        raise SandboxError(
            "the base's package database has a form that only its own rpm reads, and no program can be run here",
            hint="use a cache repository that has the base's record, or build once on Linux with user namespaces",
        )
    return {f"{one.name}:{one.arch or '(none)'}": f"{one.epoch}:{one.version}-{one.release}" for one in found}
