"""An ``[image.NAME]`` table from what was detected and what existing files say."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from lamella.init.evidence import PYTHON_SERVERS, Evidence
from lamella.init.values import Line, Table, inline_table, quoted, string_list
from lamella.stacks.base import Detection
from lamella.values import dataclass

__all__ = ["APP", "ImageParts", "container_user", "image_table", "moved"]

APP = "/app"
"""Working directory of everything that is not a lone binary."""

DATA = "/data"
"""Working directory of a binary that writes files there."""

_VENV = "/opt/venv/bin"
_PORT = re.compile(r"(?:--port|-p|--bind|-b|--listen)[= ](?:[\w.\[\]:]*:)?(\d{2,5})\b")
_NOT_TAKEN = re.compile(
    r"PATH|HOME|HOSTNAME|DEBIAN_FRONTEND|LANG|LC_\w+|TERM|SHELL|(?:PIP|UV|POETRY|CARGO|RUSTUP|NPM|YARN|PNPM|BUN|NVM|CONDA|"
    r"VIRTUAL)_\w+|VIRTUAL_ENV|(?:PYTHON|NODE|RUST|BUN|YARN)_VERSION|PYTHON_(?:PIP|GET|SETUPTOOLS|SHA)\w*|GPG_KEY|"
    r"PYTHONDONTWRITEBYTECODE|PYTHONUNBUFFERED|PYTHONFAULTHANDLER|PYTHONHASHSEED"
)
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:PASSWORD|PASSWD|PASS|PWD|SECRET|TOKEN|KEY|CREDENTIALS?|APIKEY|DSN)(?:$|_)", re.IGNORECASE
)
_SECRET_VALUE = re.compile(r"://[^/@\s:]*:[^/@\s]+@|-----BEGIN")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAPPED = re.compile(r"(?:^|:)(\d+):(\d+)(?:/\w+)?$")
_VOLUME = re.compile(r"[^:]+:/[^:]*(?::(?:ro|rw))?")


@dataclass(frozen=True, slots=True)
class ImageParts:
    """What an image table is made of: ``layers`` lowest first, ``user`` the name that the base has, ``home`` the
    working directory when a page is looked for below it, ``writes`` a place that writes into the working directory.
    """

    name: str
    layers: tuple[str, ...]
    user: str
    detection: Detection
    evidence: Evidence
    home: str = ""
    writes: str = ""

    @property
    def keeps_data(self) -> str:
        """What writes into the working directory, when that can be a volume: a lone binary needs no files there."""
        return self.writes if self.detection.stack == "cargo" and not self.home else ""


def container_user(evidence: Evidence) -> tuple[str, int, tuple[str, ...]]:
    """Name, number and reasons of the user that the program runs as; root is never taken over."""
    text = (evidence.docker.user or (evidence.service.user if evidence.service else "")).partition(":")[0]
    if text.isdigit() and text != "0":
        return "app", int(text), (f"{evidence.dockerfile or evidence.compose} runs as {text}",)
    if text not in ("", "0", "root") and re.fullmatch(r"[a-z_][a-z0-9_-]{0,30}", text):
        return text, 10001, (f"{evidence.dockerfile or evidence.compose} runs as {text}",)
    if evidence.dockerfile:
        return "app", 10001, (f"not root, unlike {evidence.dockerfile}: it may write only to its volumes",)
    return "app", 10001, ("not root",)


def image_table(parts: ImageParts) -> tuple[Table, tuple[str, ...]]:
    """The table and what is to be said besides."""
    notes: list[str] = []
    detection, evidence = parts.detection, parts.evidence
    lines = [
        Line(f"layers = {string_list(parts.layers)}", ("the base first, what changes most last",)),
        Line(f"user = {quoted(parts.user)}", container_user(evidence)[2]),
        *_workdir(parts),
        *_command(detection, evidence, notes),
        *_environment(detection, evidence, notes),
    ]
    port, health = _port(detection, evidence), _health(detection, evidence)
    lines += [line for line in (port, health if port else None) if line is not None]
    lines += [*_volumes(parts), *_run(evidence, notes)]
    return Table(f"image.{parts.name}", tuple(lines)), (*detection.notes, *notes)


def _workdir(parts: ImageParts) -> Iterator[Line]:
    docker = parts.evidence.docker
    if parts.detection.stack != "cargo":
        yield Line(f"workdir = {quoted(APP)}", ("the application's files are there",))
    elif parts.home:
        yield Line(f"workdir = {quoted(parts.home)}", ("the page is looked for below it",))
    elif docker.workdir not in ("", "/"):
        yield Line(f"workdir = {quoted(docker.workdir)}", (f"{parts.evidence.dockerfile} says WORKDIR",))
    elif parts.keeps_data:
        yield Line(f"workdir = {quoted(DATA)}", (f"{parts.keeps_data} writes into the working directory",))


def _command(detection: Detection, evidence: Evidence, notes: list[str]) -> Iterator[Line]:
    """The entrypoint where it is not the image's only binary or console script, which needs no line."""
    program = _without_wrappers(evidence.program())
    if detection.stack == "cargo":
        binary = posixpath.basename(detection.entrypoint[0])
        if len(program) > 1 and posixpath.basename(program[0]) == binary:
            yield Line(f"cmd = {string_list(program[1:])}", (f"{evidence.dockerfile} starts it with these",))
        return
    found = _python_program(program) if detection.stack == "python" else ()
    if found:
        found = (found[0], *(moved(word, evidence.docker.workdir) for word in found[1:]))
        yield Line(f"entrypoint = {string_list(found)}", (f"{evidence.dockerfile} starts it so",))
    elif detection.entrypoint:
        why = detection.why.get("entrypoint", "") or "guessed from the sources: check it"
        yield Line(f"entrypoint = {string_list(detection.entrypoint)}", (why,))
    else:
        notes.append(f"{detection.name or 'the project'}: nothing says how it starts; write entrypoint in its image")
    if program and not found and program[0].endswith(".sh"):
        notes.append(f"{evidence.dockerfile} starts {program[0]}: what that script prepares is not done here")


def _without_wrappers(program: tuple[str, ...]) -> tuple[str, ...]:
    """Without ``tini --``, ``dumb-init``, ``poetry run``, ``uv run``."""
    words = list(program)
    while words and posixpath.basename(words[0]) in ("tini", "dumb-init", "exec", "poetry", "uv", "pipenv", "pdm"):
        wrapper = posixpath.basename(words.pop(0))
        if wrapper in ("poetry", "uv", "pipenv", "pdm"):
            if words[:1] != ["run"]:
                return ()
            words.pop(0)
        while words and words[0].startswith("-"):
            words.pop(0)
    return tuple(words)


def _python_program(program: tuple[str, ...]) -> tuple[str, ...]:
    """A Dockerfile's command with a program of the venv; empty for one that is not."""
    if not program:
        return ()
    name = posixpath.basename(program[0])
    if name not in (*PYTHON_SERVERS, "python", "python3"):
        return ()
    return (f"{_VENV}/{name}", *program[1:])


def moved(text: str, home: str) -> str:
    """Paths below a Dockerfile's working directory as they are in our layout; several with colons between."""
    if home in ("", "/"):
        return text
    return ":".join(
        f"{APP}{part.removeprefix(home)}" if f"{part}/".startswith(f"{home}/") else part for part in text.split(":")
    )


def _environment(detection: Detection, evidence: Evidence, notes: list[str]) -> Iterator[Line]:
    taken = {name: value for name, value in evidence.docker.env.items() if _is_taken(name, value)}
    left = [name for name, value in evidence.docker.env.items() if _is_secret(name, value)]
    if left:
        notes.append(f"{evidence.dockerfile} sets {', '.join(left)}, which may be secret: give it with lamella run -e")
    taken = {
        name: moved(value, evidence.docker.workdir) if name == "PYTHONPATH" else value for name, value in taken.items()
    }
    reasons = [f"{evidence.dockerfile} sets {', '.join(taken)}"] if taken else []
    if detection.stack == "python":
        taken = {"PYTHONUNBUFFERED": "1", **taken}
        reasons.insert(0, "log lines appear at once")
    for name, value in detection.env.items():
        if name not in taken:
            taken[name] = value
            reasons.append(detection.why.get("env", ""))
    if taken:
        plain = {name: value.replace("{", "{{").replace("}", "}}") for name, value in taken.items()}
        yield Line(f"env = {inline_table(plain)}", tuple(reasons))


def _is_taken(name: str, value: str) -> bool:
    known = _ENV_NAME.fullmatch(name) is not None and _NOT_TAKEN.fullmatch(name) is None
    return known and value != "" and value.isprintable() and not _is_secret(name, value)


def _is_secret(name: str, value: str) -> bool:
    return bool(value) and (_SECRET_NAME.search(name) is not None or _SECRET_VALUE.search(value) is not None)


def _port(detection: Detection, evidence: Evidence) -> Line | None:
    if detection.stack == "python" and detection.expose and not _python_program(_without_wrappers(evidence.program())):
        return Line(
            f"expose = [{detection.expose}]", (detection.why.get("expose") or "guessed from the sources: check it",)
        )
    if evidence.docker.ports:
        return Line(f"expose = [{', '.join(map(str, evidence.docker.ports))}]", (f"{evidence.dockerfile} exposes it",))
    match = _PORT.search(" ".join(evidence.program()))
    if match:
        return Line(f"expose = [{match[1]}]", (f"{evidence.dockerfile} starts it on this port",))
    published = [
        port.rpartition(":")[2].partition("/")[0] for port in (evidence.service.ports if evidence.service else ())
    ]
    if published:
        return Line(f"expose = [{published[0]}]", (f"{evidence.compose} publishes it",))
    if detection.expose:
        place = detection.why.get("expose", "")
        why = (f"{place} names it" if ":" in place else place) or "guessed from the sources: check it"
        return Line(f"expose = [{detection.expose}]", (why,))
    return None


def _health(detection: Detection, evidence: Evidence) -> Line | None:
    service = evidence.service
    for path, port, why in (
        (evidence.docker.health, evidence.docker.health_port, f"{evidence.dockerfile} checks it"),
        (service.health if service else "", service.health_port if service else 0, f"{evidence.compose} checks it"),
        (detection.health, 0, f"{detection.why.get('health') or 'the sources'} has this route"),
    ):
        if path:
            first = evidence.docker.ports[0] if evidence.docker.ports else 0
            front = f":{port}" if port and first and port != first else ""
            return Line(f"healthcheck = {{ http = {quoted(front + path)} }}", (why,))
    return None


def _volumes(parts: ImageParts) -> Iterator[Line]:
    """Volumes of the Dockerfile, or the folder of a database; they and those that compose mounts belong to the user."""
    docker, service = parts.evidence.docker, parts.evidence.service
    volumes, why = docker.volumes, f"{parts.evidence.dockerfile} says VOLUME"
    if parts.keeps_data and not volumes:
        volumes, why = (docker.workdir or DATA,), "what is written there outlives the container"
    if volumes:
        yield Line(f"volumes = {string_list(volumes)}", (why,))
    named = [text.split(":")[1] for text in (service.volumes if service else ()) if re.match(r"[\w-]+:/", text)]
    here = (APP,) if parts.writes and not parts.keeps_data else ()
    if volumes or named or here:
        owned = dict.fromkeys((*volumes, *named, *here), parts.user)
        reasons = ["the user may write there"] if volumes or named else []
        reasons += [f"{parts.writes} writes into the working directory; a volume would keep it"] if here else []
        yield Line(f"dirs = {inline_table(owned)}", tuple(reasons))


def _run(evidence: Evidence, notes: list[str]) -> Iterator[Line]:
    """What compose gives the container when it starts."""
    service = evidence.service
    if service is None:
        return
    mapped = [(port, _MAPPED.search(port)) for port in service.ports]
    elsewhere = [port for port, match in mapped if match is not None and match[1] != match[2]]
    if elsewhere:  # without a daemon a program has the host's network: it is reached at the port that it opens
        shown = " ".join(f"-p {port}" for port in elsewhere)
        notes.append(f"{evidence.compose} publishes other ports: lamella run --engine docker {shown} does the same")
    volumes = [text for text in service.volumes if _VOLUME.fullmatch(text) and not _is_source(text, evidence)]
    if volumes:
        yield Line(f"run.volumes = {string_list(volumes)}", (f"{evidence.compose} mounts them",))
    values = {name: value for name, value in service.environment.items() if _is_taken(name, value)}
    if values:
        plain = {name: value.replace("{", "{{").replace("}", "}}") for name, value in values.items()}
        yield Line(f"run.env = {inline_table(plain)}", (f"{evidence.compose} sets it when it starts",))
    inside = [path for path in service.env_files if not path.startswith(("/", "../"))]
    if inside:
        yield Line(f"run.env_file = {quoted(inside[0])}", (f"{evidence.compose} reads it when it starts",))
    others = [path for path in service.env_files if path not in inside[:1]]
    if others:
        notes.append(f"{evidence.compose} reads {', '.join(others)}: pass it with lamella run --env-file")
    secret = [name for name, value in service.environment.items() if _is_secret(name, value)]
    left = [*secret, *service.open_environment]
    if left:
        notes.append(
            f"{evidence.compose} gives {service.name} {', '.join(left)}: pass it with lamella run -e or env_file"
        )


def _is_source(volume: str, evidence: Evidence) -> bool:
    """Whether a mount lays the sources over the application, as compose files for development do."""
    source, _, rest = volume.partition(":")
    target = rest.partition(":")[0].rstrip("/")
    homes = {APP, evidence.docker.workdir or APP} - {"/"}
    return source.startswith((".", "/")) and any(f"{target}/".startswith(f"{home}/") for home in homes)
