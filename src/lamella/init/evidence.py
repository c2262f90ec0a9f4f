"""Which Dockerfile and which compose service belong to which detected project."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence

from lamella.errors import ConfigError
from lamella.sources.compose import COMPOSE_NAMES, ComposeService, read_compose
from lamella.sources.dockerfile import DockerfileFacts, read_dockerfile
from lamella.stacks.base import Detection
from lamella.values import dataclass

__all__ = ["PYTHON_SERVERS", "Evidence", "ForeignFiles", "find_evidence", "is_foreign", "read_foreign_files"]

PYTHON_SERVERS = (
    "uvicorn",
    "gunicorn",
    "hypercorn",
    "flask",
    "fastapi",
    "daphne",
    "granian",
    "waitress-serve",
    "celery",
)
"""Console scripts that start a Python service."""

_ELSEWHERE = re.compile(r"(?:^|/)(?:node_modules|tests?|examples?|fixtures|vendor|\.devcontainer|docs)/")
_DEVELOPMENT = re.compile(r"(?:^|[-_./])(?:dev|develop|development|test|tests|ci|debug|local)(?:$|[-_./])")
_STACK_WORDS = {
    "cargo": (),
    "python": ("python", "python3", "pip", "poetry", "uv", *PYTHON_SERVERS),
    "node": ("node", "npm", "npx", "bun", "pnpm", "yarn", "next"),
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What existing files say about one project; empty paths mean that there is no such file."""

    dockerfile: str = ""
    docker: DockerfileFacts = DockerfileFacts()
    compose: str = ""
    service: ComposeService | None = None

    def program(self) -> tuple[str, ...]:
        """The whole command line that the Dockerfile starts, or that compose puts in its place."""
        command = (self.service.command if self.service else ()) or self.docker.cmd
        return (*self.docker.entrypoint, *command)


@dataclass(frozen=True, slots=True)
class ForeignFiles:
    """The Dockerfiles and compose services of a tree; ``notes`` say what could not be read."""

    dockerfiles: tuple[tuple[str, DockerfileFacts], ...]
    services: tuple[tuple[str, ComposeService], ...]
    notes: tuple[str, ...] = ()


def is_foreign(path: str) -> bool:
    """Whether a path, relative to the project, is a Dockerfile or compose file that counts."""
    if path.count("/") > 2 or _ELSEWHERE.search(path):
        return False
    return _is_dockerfile(path) or posixpath.basename(path) in COMPOSE_NAMES


def read_foreign_files(files: Mapping[str, bytes]) -> ForeignFiles:
    """What is in the given files (path to bytes), those that :func:`is_foreign` names."""
    dockerfiles = [(path, read_dockerfile(data)) for path, data in sorted(files.items()) if _is_dockerfile(path)]
    services: list[tuple[str, ComposeService]] = []
    notes = []
    found = sorted((path for path in files if not _is_dockerfile(path)), key=_compose_order)
    for path in found:
        try:
            services += [(path, service) for service in read_compose(files[path], file=path)]
        except ConfigError as error:
            notes.append(f"{error.message}; nothing was taken from it")
    return ForeignFiles(tuple(dockerfiles), tuple(services), tuple(notes))


def _compose_order(path: str) -> tuple[int, int, str]:
    return (path.count("/"), COMPOSE_NAMES.index(posixpath.basename(path)), path)


def _is_dockerfile(path: str) -> bool:
    words = posixpath.basename(path).lower().split(".")
    named = {words[0], words[-1]} & {"dockerfile", "containerfile"}
    return bool(named) and words[-1] not in ("dockerignore", "containerignore", "j2", "tmpl", "md", "py")


def find_evidence(detection: Detection, servers: Sequence[Detection], files: ForeignFiles) -> Evidence:
    """The best fitting Dockerfile and compose service of one of the ``servers``; those of another one are not taken."""
    alone = len(servers) == 1
    ranked = sorted(
        ((_score(detection, path, facts, alone=alone), path, facts) for path, facts in files.dockerfiles),
        key=lambda item: (-item[0], item[1]),
    )
    path, facts = ranked[0][1:] if ranked and ranked[0][0] > 0 else ("", DockerfileFacts())
    compose, service = _service(detection, path, files, alone=alone)
    if service is not None and not path:
        facts = dict(files.dockerfiles).get(service.dockerfile, facts)
        path = service.dockerfile if service.dockerfile in dict(files.dockerfiles) else ""
    return Evidence(path, facts, compose, service)


def _score(detection: Detection, path: str, facts: DockerfileFacts, *, alone: bool) -> int:
    words = [posixpath.basename(word) for word in (*facts.entrypoint, *facts.cmd)]
    mine = posixpath.basename(detection.entrypoint[0]) if detection.entrypoint else detection.name
    theirs = {word for stack, known in _STACK_WORDS.items() if stack != detection.stack for word in known}
    if words and words[0] in theirs:
        return 0
    score = 4 if mine in words else 0
    if words and words[0] in _STACK_WORDS[detection.stack]:
        score += 2
    folder, directory = posixpath.dirname(path), detection.directory.strip("./")
    if directory and (folder == directory or folder.startswith(f"{directory}/")):
        score += 3
    if detection.name and re.search(rf"(?:^|[/._-]){re.escape(detection.name)}(?:$|[/._-])", path):
        score += 3
    if alone:
        score += 2 if "/" not in path else 1
    score -= 0 if words or detection.stack == "cargo" else 1  # what starts nothing is more likely a stage for builds
    return score - (2 if _DEVELOPMENT.search(path) else 0)


def _service(
    detection: Detection, dockerfile: str, files: ForeignFiles, *, alone: bool
) -> tuple[str, ComposeService | None]:
    """The service that is built from that Dockerfile, bears the project's name, or is the only one that is built."""
    built = [(path, service) for path, service in files.services if service.context]
    directory = detection.directory.strip("./") or "."

    def rank(item: tuple[str, ComposeService]) -> tuple[bool, ...]:
        path, service = item
        return (
            bool(_DEVELOPMENT.search(path)),
            service.name != detection.name,
            service.dockerfile != dockerfile,
            service.context != directory,
        )

    for path, service in sorted(built, key=rank):
        same = service.dockerfile == dockerfile and (alone or _names(service, detection))
        if (
            same
            or service.name == detection.name
            or (service.context == directory != ".")
            or (alone and len(built) == 1)
        ):
            return path, service
    return "", None


def _names(service: ComposeService, detection: Detection) -> bool:
    """Whether a service that shares its Dockerfile with others is about this project."""
    return detection.name in (service.name, service.target) or any(detection.name in word for word in service.command)
