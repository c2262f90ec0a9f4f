"""The interpreter a layer is laid out for, and which wheel fits it (PEP 425, 600, 656; binary-distribution-format).

Nothing here looks at the running interpreter: a target is built from the project file and the lock alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from packaging.markers import InvalidMarker, Marker, UndefinedEnvironmentName
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from lamella.oci.platform import machine_name
from lamella.values import dataclass

__all__ = ["DEFAULT_GLIBC", "MUSL", "Target", "is_pure", "wheel_glibc"]

DEFAULT_GLIBC = (2, 36)
"""Newest glibc that a wheel may ask for when the lock names no base: Debian 12, the oldest supported default base."""

MUSL = (1, 2)
"""The musl of every Alpine release since 3.13."""

_OLDEST_GLIBC = {"x86_64": (2, 5), "i686": (2, 5)}
_LEGACY = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}
_EXTRA_ATOM = re.compile(r"\bextra\s*(==|!=)\s*(['\"])([^'\"]*)\2")
_ALWAYS, _NEVER = "os_name == 'posix'", "os_name == 'nt'"


@dataclass(frozen=True, slots=True)
class Target:
    """CPython ``python`` (``3.11``) on an OCI ``platform``.

    ``full`` is the version markers see (``3.11.2``; ``3.11.0`` where only the minor is known). ``libc`` is
    ``glibc`` or ``musl``, ``libc_version`` the newest one a wheel may ask for.
    """

    python: str
    platform: str
    full: str = ""
    libc: str = "glibc"
    libc_version: tuple[int, int] = DEFAULT_GLIBC

    @property
    def machine(self) -> str:
        """``x86_64``, ``aarch64``."""
        return machine_name(self.platform.split("/")[1])

    @property
    def full_version(self) -> str:
        """Three-part version for ``python_full_version``."""
        return self.full or f"{self.python}.0"

    @property
    def minor(self) -> tuple[int, int]:
        """``(3, 11)``."""
        major, minor = self.python.split(".")[:2]
        return int(major), int(minor)

    def environment(self) -> dict[str, str]:
        """Marker variables (PyPA, "dependency specifiers"); what only a running kernel knows is empty."""
        return {
            "os_name": "posix",
            "sys_platform": "linux",
            "platform_machine": self.machine,
            "platform_system": "Linux",
            "platform_release": "",
            "platform_version": "",
            "platform_python_implementation": "CPython",
            "implementation_name": "cpython",
            "implementation_version": self.full_version,
            "python_version": self.python,
            "python_full_version": self.full_version,
            "extra": "",
        }

    def matches(self, marker: str, extras: Iterable[str] = (), *, groups: Iterable[str] = ()) -> bool:
        """Whether a marker holds for the target with ``extras`` switched on; an empty marker holds.

        Several extras may be on at once (a lock file's view), so ``extra`` comparisons are decided here. Raises
        ValueError for a marker that is malformed.
        """
        if not marker:
            return True
        return _evaluate(marker, self, frozenset(extras), frozenset(groups))

    def best(self, filenames: Iterable[str]) -> str | None:
        """The wheel that an installer takes: highest tag priority, then build number. None when none fits."""
        ranks = _ranks(self)
        found: list[tuple[int, tuple[int, str], str]] = []
        for filename in filenames:
            try:
                _, _, build, tags = parse_wheel_filename(filename)
            except InvalidWheelFilename:
                continue
            fitting = [ranks[tag] for tag in tags if tag in ranks]
            if fitting:
                number, suffix = build or (0, "")
                found.append((-min(fitting), (number, suffix), filename))
        return max(found)[2] if found else None


@lru_cache(maxsize=4096)
def _evaluate(marker: str, target: Target, extras: frozenset[str], groups: frozenset[str]) -> bool:
    def decide(match: re.Match[str]) -> str:
        return _ALWAYS if (match[3] in extras) == (match[1] == "==") else _NEVER

    environment: dict[str, str | frozenset[str]] = dict(target.environment())
    environment |= {"extras": extras, "dependency_groups": groups}
    try:
        return Marker(_EXTRA_ATOM.sub(decide, marker)).evaluate(environment, context="lock_file")
    except (InvalidMarker, UndefinedEnvironmentName) as error:
        raise ValueError(f"marker {marker!r}: {error}") from error


@lru_cache(maxsize=16)
def _ranks(target: Target) -> dict[Tag, int]:
    """Supported tags with their priority, 0 first, in the order of ``packaging.tags.sys_tags``."""
    platforms = tuple(_platforms(target))
    abi = f"cp{target.minor[0]}{target.minor[1]}"
    tags: dict[Tag, int] = {}
    for tag in (
        *cpython_tags(target.minor, (abi,), platforms),
        *compatible_tags(target.minor, abi, platforms),
    ):
        tags.setdefault(tag, len(tags))
    return tags


def _platforms(target: Target) -> Iterator[str]:
    """Platform tags, most specific first (PEP 600 with its legacy aliases; PEP 656 for musl)."""
    machine, (major, newest) = target.machine, target.libc_version
    if target.libc == "musl":
        yield from (f"musllinux_{major}_{minor}_{machine}" for minor in range(newest, -1, -1))
    else:
        oldest = _OLDEST_GLIBC.get(machine, (2, 17))
        for minor in range(newest, oldest[1] - 1, -1):
            yield f"manylinux_{major}_{minor}_{machine}"
            if (major, minor) in _LEGACY:
                yield f"{_LEGACY[major, minor]}_{machine}"
    yield f"linux_{machine}"


def is_pure(filename: str) -> bool:
    """Whether a wheel fits every platform (its platform tag is ``any``)."""
    return filename.removesuffix(".whl").rpartition("-")[2] == "any"


def wheel_glibc(filename: str) -> tuple[int, int]:
    """The glibc that a wheel asks for by its friendliest tag; (0, 0) for pure wheels and other C libraries."""
    text = filename.removesuffix(".whl").rpartition("-")[2]
    found = [(int(major), int(minor)) for major, minor in re.findall(r"manylinux_(\d+)_(\d+)_", text)]
    found += [version for version, name in _LEGACY.items() if f"{name}_" in text]
    return min(found, default=(0, 0))
