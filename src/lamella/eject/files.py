"""Which files each kind of eject writes, and their texts. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence

from lamella.canonical import FrozenMap
from lamella.eject.around import makefile_text, script_text
from lamella.eject.bake import bake_text
from lamella.eject.compose import ComposeGiven, compose_text
from lamella.eject.dockerfile import dockerfile_text
from lamella.eject.fleet import fleet_text
from lamella.eject.recipe import Recipe, Target
from lamella.oci.platform import Platform
from lamella.project.projectfile import ProjectFile
from lamella.project.spec import RunOptions
from lamella.project.template import Scope
from lamella.values import dataclass

__all__ = ["KINDS", "EjectedFile", "Surroundings", "ejected_files", "fleet_file"]

KINDS = ("dockerfile", "bake", "compose", "makefile", "script")
"""Those over a Dockerfile; ``fleet`` stands alone."""
_DOCKERFILE = "Dockerfile"
_BAKE = "docker-bake.hcl"
_SCRIPT = "build.sh"
_FLEET = "builder.sh"
_COMPOSE = {"dev": "compose.yaml", "prod": "compose.prod.yaml"}
"""A bare ``docker compose up`` takes the one for development."""


@dataclass(frozen=True, slots=True)
class EjectedFile:
    """One file to write. ``main`` is the one that was asked for, the others are what it stands on."""

    name: str
    text: str
    main: bool = False
    executable: bool = False

    @property
    def mode(self) -> int:
        """Permission bits."""
        return 0o755 if self.executable else 0o644


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where the files go and what they are about. ``folder`` is theirs, seen from the project, ``.`` for itself."""

    project: ProjectFile
    folder: str
    options: Callable[[Target], RunOptions]
    scope: Callable[[FrozenMap[str, str]], Scope]

    @property
    def context(self) -> str:
        """The project, seen from the files' folder."""
        return posixpath.relpath(".", self.folder)

    def path(self, name: str) -> str:
        """A file of the folder, seen from the project."""
        return posixpath.normpath(posixpath.join(self.folder, name))


def ejected_files(kind: str, recipe: Recipe, around: Surroundings, *, single: bool = False) -> tuple[EjectedFile, ...]:
    """The files of a kind, the one asked for first, then what it stands on. ``single``: nothing but the Dockerfile."""
    main = {
        "dockerfile": lambda: [_dockerfile(recipe, around)],
        "bake": lambda: [_bake(recipe, around)],
        "compose": lambda: _composes(recipe, around),
        "makefile": lambda: [_makefile(recipe)],
        "script": lambda: [_script(recipe, around)],
    }[kind]()
    files = {file.name: EjectedFile(file.name, file.text, main=True, executable=file.executable) for file in main}
    below = [] if single else [_dockerfile(recipe, around), *_beside(recipe)]
    if kind == "makefile":
        below += [_bake(recipe, around), *_composes(recipe, around)]
    for file in below:
        files.setdefault(file.name, file)
    return tuple(files.values())


def fleet_file(project: str, platforms: Sequence[Platform]) -> EjectedFile:
    """The script that makes a builder of pods for these platforms."""
    return EjectedFile(_FLEET, fleet_text(project, platforms, file=_FLEET), main=True, executable=True)


def _dockerfile(recipe: Recipe, around: Surroundings) -> EjectedFile:
    return EjectedFile(_DOCKERFILE, dockerfile_text(recipe, path=around.path(_DOCKERFILE), context="."))


def _beside(recipe: Recipe) -> list[EjectedFile]:
    """The ignore file that BuildKit takes for this Dockerfile alone, and pinned requirements."""
    files = [EjectedFile(f"{_DOCKERFILE}.dockerignore", recipe.ignore)]
    return files + [EjectedFile(name, text) for name, text in recipe.beside.items()]


def _bake(recipe: Recipe, around: Surroundings) -> EjectedFile:
    text = bake_text(
        recipe,
        dockerfile=around.path(_DOCKERFILE),
        context=around.context,
        file=_BAKE,
        platforms=bool(around.project.axes["platform"]),
        secrets=around.project.secrets,
    )
    return EjectedFile(_BAKE, text)


def _profiles(recipe: Recipe) -> dict[str, str]:
    present = {target.profile for target in recipe.targets}
    return {profile: name for profile, name in _COMPOSE.items() if profile in present}


def _composes(recipe: Recipe, around: Surroundings) -> list[EjectedFile]:
    files = []
    for profile, name in _profiles(recipe).items():
        given = ComposeGiven(
            around.path(_DOCKERFILE),
            around.context,
            name,
            around.project.delivery,
            around.options,
            around.scope,
            around.project.secrets,
        )
        files.append(EjectedFile(name, compose_text(recipe, profile, given)))
    return files


def _makefile(recipe: Recipe) -> EjectedFile:
    return EjectedFile("Makefile", makefile_text(recipe, bake=_BAKE, composes=FrozenMap(_profiles(recipe))))


def _script(recipe: Recipe, around: Surroundings) -> EjectedFile:
    text = script_text(
        recipe,
        dockerfile=_DOCKERFILE,
        context=around.context,
        file=_SCRIPT,
        secrets=around.project.secrets,
    )
    return EjectedFile(_SCRIPT, text, executable=True)
