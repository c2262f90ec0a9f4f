"""A locked set, whatever file it was read from: packages with their artefacts, and the choice for one target."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from lamella.graph.op import Wheel
from lamella.sources.wheel_tags import Target
from lamella.values import dataclass

__all__ = ["Artifact", "LockedPackage", "Selection", "SourceBuild", "artifact", "choose"]


@dataclass(frozen=True, slots=True)
class Artifact:
    """A wheel or source archive. ``sha256`` is hex; ``url`` empty for the default index; ``size`` bytes, 0 unknown."""

    filename: str
    sha256: str
    url: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """One package of a lock. ``folder`` is a project folder instead of artefacts, ``direct`` a PEP 508 URL to build."""

    name: str
    version: str
    wheels: tuple[Artifact, ...] = ()
    sdist: Artifact | None = None
    folder: str = ""
    direct: str = ""


@dataclass(frozen=True, slots=True)
class SourceBuild:
    """Something that a step turns into a wheel.

    ``folder`` of the project, ``direct`` URL pinned by commit, or source archive ``sdist`` of the index.
    """

    name: str
    version: str
    folder: str = ""
    direct: str = ""
    sdist: Artifact | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """What one target installs: wheels as they are, and what must be built first. Sorted by name."""

    wheels: tuple[Wheel, ...] = ()
    builds: tuple[SourceBuild, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def versions(self) -> dict[str, str]:
        """Name to version of all of it."""
        wheels = {wheel.name: wheel.version for wheel in self.wheels}
        return wheels | {build.name: build.version for build in self.builds}

    def without(self, names: frozenset[str]) -> Selection:
        """The same without some canonical names."""
        return Selection(
            tuple(wheel for wheel in self.wheels if wheel.name not in names),
            tuple(build for build in self.builds if build.name not in names),
            self.notes,
        )


def choose(packages: tuple[LockedPackage, ...], target: Target) -> Selection:
    """The best wheel of each package, its source archive where none fits; raises ValueError where there is neither."""
    wheels: list[Wheel] = []
    builds: list[SourceBuild] = []
    for package in sorted(packages, key=lambda item: item.name):
        by_name = {item.filename: item for item in package.wheels}
        best = target.best(by_name)
        if best is not None:
            found = by_name[best]
            wheels.append(Wheel(package.name, package.version, best, found.sha256, found.url, found.size))
        elif package.folder or package.direct or package.sdist:
            build = SourceBuild(package.name, package.version, package.folder, package.direct, package.sdist)
            builds.append(build)
        else:
            raise ValueError(
                f"{package.name} {package.version} has no wheel for Python {target.python} on {target.platform} "
                f"({target.libc} {'.'.join(map(str, target.libc_version))}) and no source archive"
            )
    return Selection(tuple(wheels), tuple(builds))


def artifact(data: dict[str, Any], *, default_index: bool = False) -> Artifact:
    """An artefact of uv.lock or pylock.toml; raises ValueError when it has no sha256 or no name.

    ``default_index`` leaves the URL out: it is found by asking the index again.
    """
    url, path = data.get("url", ""), data.get("path", "")
    filename = data.get("name") or data.get("filename") or unquote(urlsplit(url or path).path.rpartition("/")[2])
    sha256 = data.get("hashes", {}).get("sha256", "") or data.get("hash", "").removeprefix("sha256:")
    if not filename or len(sha256) != 64:
        raise ValueError(f"artefact {filename or url!r} has no sha256")
    return Artifact(filename, sha256.lower(), "" if default_index else url, int(data.get("size", 0)))
