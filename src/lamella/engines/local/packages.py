"""The recorded package set of a root file system: what identifies it, beside its key (DESIGN 3b).

Read from the package managers' own databases, without running them where the format is plain text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress

from lamella.canonical import canonical_json
from lamella.engines.local.sandbox import Sandbox
from lamella.errors import HostileInputError
from lamella.host.rooted import Rooted

__all__ = ["PACKAGES_FORMAT", "apk_packages", "dpkg_packages", "dpkg_set", "package_set"]

PACKAGES_FORMAT = 1
"""Major version of the recorded form."""

_LARGEST = 64 << 20
_RPM_QUERY = ("rpm", "--query", "--all", "--queryformat", "%{NAME} %{EPOCHNUM}:%{VERSION}-%{RELEASE} %{ARCH}\\n")
_RPM_PLACES = ("usr/lib/sysimage/rpm", "var/lib/rpm")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_STATUS_DIRECTORY = "var/lib/dpkg/status.d"
"""Where images without dpkg keep one status file per package."""


def package_set(root: str, sandbox: Sandbox) -> bytes:
    """Canonical bytes: format, and installed packages as ``manager:name[:architecture]`` to version."""
    packages: dict[str, str] = {}
    with Rooted(root) as rooted:
        for text in _dpkg_files(rooted):
            packages |= {f"dpkg:{name}": version for name, version in dpkg_packages(text).items()}
        for name, version in apk_packages(_read(rooted, "lib/apk/db/installed")).items():
            packages[f"apk:{name}"] = version
        has_rpm = any(
            rooted.exists(place) and rooted.listdir(place) for place in _RPM_PLACES if _is_real(rooted, place)
        )
    if has_rpm:
        packages |= {f"rpm:{name}": version for name, version in _rpm_packages(root, sandbox).items()}
    return canonical_json({"format": PACKAGES_FORMAT, "packages": packages})


def dpkg_set(rooted: Rooted) -> bytes:
    """The same for a fresh Debian, which has no other package manager."""
    packages = {
        f"dpkg:{name}": version for name, version in dpkg_packages(_read(rooted, "var/lib/dpkg/status")).items()
    }
    return canonical_json({"format": PACKAGES_FORMAT, "packages": packages})


def _dpkg_files(rooted: Rooted) -> list[str]:
    files = [_read(rooted, "var/lib/dpkg/status")]
    with suppress(OSError):
        files += [_read(rooted, f"{_STATUS_DIRECTORY}/{name}") for name in rooted.listdir(_STATUS_DIRECTORY)]
    return [text for text in files if text]


def _is_real(rooted: Rooted, path: str) -> bool:
    try:
        with rooted.handle(path):
            rooted.listdir(path)
    except OSError:
        return False
    return True


def _read(rooted: Rooted, path: str) -> str:
    with suppress(OSError, HostileInputError):
        return rooted.read_bytes(path, limit=_LARGEST).decode("utf-8", "replace")
    return ""


def dpkg_packages(text: str) -> Mapping[str, str]:
    """Installed packages of a dpkg status file (deb-status fields): ``name:architecture`` to version."""
    found: dict[str, str] = {}
    for paragraph in re.split(r"\n\s*\n", text):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[:1] != " ")
        state = fields.get("Status", "install ok installed").split()
        if "Package" in fields and "Version" in fields and state[-1] == "installed":
            found[f"{fields['Package']}:{fields.get('Architecture', '')}"] = fields["Version"]
    return found


def apk_packages(text: str) -> Mapping[str, str]:
    """Installed packages of Alpine's database: paragraphs with ``P:`` name, ``V:`` version, ``A:`` architecture."""
    found: dict[str, str] = {}
    for paragraph in text.split("\n\n"):
        fields = dict(line.split(":", 1) for line in paragraph.splitlines() if line[1:2] == ":")
        if "P" in fields and "V" in fields:
            found[f"{fields['P']}:{fields.get('A', '')}"] = fields["V"]
    return found


def _rpm_packages(root: str, sandbox: Sandbox) -> Mapping[str, str]:
    """Installed packages by rpm(8) of the root file system itself, since its database is a binary of many formats."""
    out = bytearray()
    ended = sandbox.run(
        root, _RPM_QUERY, env={"PATH": _PATH}, on_chunk=lambda stream, data: out.extend(data if stream == 1 else b"")
    )
    rows = [line.split() for line in out.decode("utf-8", "replace").splitlines()] if ended.code == 0 else []
    return {f"{row[0]}:{row[2]}": row[1] for row in rows if len(row) == 3}
