"""What ``init`` proposes for Python: which file locks or lists the packages, which file is the application."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable

from lamella.canonical import FrozenMap
from lamella.errors import ConfigError
from lamella.graph.protocols import Tree
from lamella.stacks.base import DetectedLayer, Detection
from lamella.stacks.python.locked import upwards
from lamella.stacks.python.pyproject import Pyproject, read_pyproject
from lamella.stacks.python.requirements import RequirementLine, Requirements, read_requirements
from lamella.values import dataclass

__all__ = ["detect_projects"]

VENV = "/opt/venv"
APP = "/app"
PORT = 8000
"""Where a server is told to listen whose own default reaches nobody outside."""

_SKIPPED = frozenset({
    "test", "tests", "testing", "docs", "doc", "examples", "example", "node_modules", "venv", ".venv", "env", "build",
    "dist", "target", "site-packages", "scripts", "benchmarks", "vendor", "third_party", ".github",
})  # fmt: skip
_REQUIREMENTS = ("requirements.txt", "requirements/prod.txt", "requirements/production.txt", "requirements/base.txt",
                 "requirements/requirements.txt", "requirements-prod.txt")  # fmt: skip
_FRAMEWORKS = re.compile(
    r"^(\w+)(?:\s*:\s*[\w.]+)?\s*=\s*(?:\w+\.)?(FastAPI|Flask|Starlette|Quart|Litestar|Sanic)\(", re.MULTILINE
)
_FACTORY = re.compile(r"^def (create_app|make_app)\(", re.MULTILINE)
_HEALTH = re.compile(r"[\"'](/(?:[\w-]+/)*(?:healthz?|livez|ready|readyz|ping|status))/?[\"']")
_PORT = re.compile(r"\bport\w*[\"']?\s*[=:,][^\n#]{0,60}?\b(\d{4,5})\b", re.IGNORECASE)
_BIND = re.compile(r"(?:^|\s)(?:-b|--bind|-c|--config)\b")
_MAIN = re.compile(r"^if __name__ == [\"']__main__[\"']", re.MULTILINE)
_FIRST = ("main.py", "app.py", "app/main.py", "src/main.py", "app/app.py", "server.py", "api.py", "wsgi.py", "asgi.py",
          "app/__init__.py", "src/app.py")  # fmt: skip
_DATA = ("templates", "static", "migrations", "alembic", "alembic.ini", "assets", "config", "public")


@dataclass(frozen=True, slots=True)
class _App:
    """A guess how the application starts."""

    command: tuple[str, ...] = ()
    port: int = 0
    health: str = ""
    why: str = ""
    health_why: str = ""
    notes: tuple[str, ...] = ()

    @property
    def port_why(self) -> str:
        """Where the port is from."""
        return "the port it is started on" if self.port else ""


def detect_projects(tree: Tree) -> tuple[Detection, ...]:
    """The Python projects of a tree, outermost first; a folder inside a found one is part of it."""
    found: list[Detection] = []
    taken: list[str] = []
    for folder in _folders(tree):
        if any(_inside(folder, outer) for outer in taken):
            continue
        try:
            detection = _detect(tree, folder)
        except ConfigError:  # a broken file of a folder is no reason to refuse the others
            continue
        if detection is not None:
            found.append(detection)
            taken.append(folder)
    return tuple(found)


def _folders(tree: Tree) -> list[str]:
    names = ("pyproject.toml", "requirements.txt")
    paths = tree.paths(tuple(f"**/{name}" for name in names))
    folders = {posixpath.dirname(path) or "." for path in paths}
    folders |= {"."} if any(tree.exists(path) for path in _REQUIREMENTS) else set()
    wanted = (folder for folder in folders if not _SKIPPED & set(folder.split("/")))
    return sorted(wanted, key=lambda folder: (0 if folder == "." else folder.count("/") + 1, folder))


def _inside(folder: str, outer: str) -> bool:
    return outer in (".", folder) or folder.startswith(f"{outer}/")


def _detect(tree: Tree, folder: str) -> Detection | None:
    project = read_pyproject(tree, folder)
    if project is not None and project.name:
        return _from_project(tree, project)
    for name in _REQUIREMENTS:
        path = _join(folder, name)
        if tree.exists(path):
            return _from_requirements(tree, folder, path, read_requirements(tree, (path,)))
    return None


def _from_project(tree: Tree, project: Pyproject) -> Detection:
    folder = project.folder
    lock = _lock(tree, folder)
    reasons = [f"{project.path} declares project {project.name!r}"]
    reasons.append(f"{lock} locks it" if lock else "it has no lock file; `lamella lock` resolves it")
    names = _names(project.dependencies)
    app = (
        _App((f"{VENV}/bin/{project.scripts[0]}",), why=f"the only console script of {project.path}")
        if project.is_package and len(project.scripts) == 1
        else _find_app(tree, folder, names, project)
    )
    layers = [DetectedLayer(_named(folder, "deps"), (f'python = {{ project = "{folder}" }}',), tuple(reasons))]
    if not project.is_package:
        layers += _files(tree, folder)
    return _detection(folder, tuple(layers), app, project)


def _lock(tree: Tree, folder: str) -> str:
    """The lock beside the project, or uv's lock of a workspace above it."""
    for place in upwards(folder):
        for name in ("uv.lock", "pylock.toml") if place == folder else ("uv.lock",):
            if tree.exists(_join(place, name)):
                return _join(place, name)
    return ""


def _from_requirements(tree: Tree, folder: str, path: str, found: Requirements) -> Detection:
    reasons = [f"{path} lists the packages" + (f", with {', '.join(found.files[1:])}" if found.files[1:] else "")]
    reasons.append("`lamella lock` records which wheels those are")
    app = _find_app(tree, folder, _names(found.lines), None)
    layers = [DetectedLayer(_named(folder, "deps"), (f'python = {{ requirements = ["{path}"] }}',), tuple(reasons))]
    return _detection(folder, (*layers, *_files(tree, folder)), app, None)


def _names(lines: Iterable[RequirementLine]) -> set[str]:
    """The packages that requirement lines bring, as far as servers are concerned: ``fastapi[standard]`` has one."""
    found = {line.name for line in lines}
    extras = {extra for line in lines if line.name == "fastapi" and line.text for extra in line.requirement.extras}
    return found | ({"uvicorn"} if extras & {"standard", "all"} else set())


def _detection(folder: str, layers: tuple[DetectedLayer, ...], app: _App, project: Pyproject | None) -> Detection:
    return Detection(
        stack="python",
        directory=folder,
        layers=layers,
        base_packages=("ca-certificates", "python3"),
        toolchain=("python3",) if project is not None and project.is_package else (),
        in_image=tuple(layer.name for layer in layers),
        entrypoint=app.command,
        expose=app.port,
        health=app.health,
        version=f"python:{folder}" if project is not None and project.version else "",
        name=project.name if project is not None else "",
        why=FrozenMap({"entrypoint": app.why, "expose": app.port_why, "health": app.health_why}),
        notes=app.notes,
    )


def _named(folder: str, part: str) -> str:
    """``deps`` of the root, ``backend-deps`` and ``backend`` of a folder: several projects have several layers."""
    if folder == ".":
        return part
    base = re.sub(r"[^A-Za-z0-9._-]", "-", posixpath.basename(folder))
    return base if part == "app" else f"{base}-{part}"


def _find_app(tree: Tree, folder: str, names: set[str], project: Pyproject | None) -> _App:
    """The file that makes the application object, and the server that the requirements name."""
    procfile = _procfile(tree, folder)
    if procfile.command:
        return procfile
    if tree.exists(_join(folder, "manage.py")):
        return _django(tree, folder, names)
    module = _module(tree, folder, project)
    if module.command:
        return module
    for path in _candidates(tree, folder):
        text = tree.read(path).decode("utf-8", "replace")
        match = _FRAMEWORKS.search(text)
        if match:
            return _served(tree, folder, path, match[1], match[2], names, project)
    for path in _candidates(tree, folder):
        text = tree.read(path).decode("utf-8", "replace")
        factory = _FACTORY.search(text)
        if factory and "flask" in names:
            return _served(tree, folder, path, f"{factory[1]}()", "Flask", names, project)
        if (
            _MAIN.search(text)
            and path.count("/") <= folder.count("/") + 1
            and (project is None or not project.is_package)
        ):
            relative = path.removeprefix(f"{folder}/") if folder != "." else path
            return _App((f"{VENV}/bin/python", f"{APP}/{relative}"), why=f"{path} runs as a program")
    return _App()


def _module(tree: Tree, folder: str, project: Pyproject | None) -> _App:
    """A package that starts with ``python -m``: it has a ``__main__.py``."""
    places = ("src/*/__main__.py", "*/__main__.py")
    found = tree.paths(tuple(_join(folder, place) for place in places))
    wanted = [path for path in found if not _SKIPPED & set(path.split("/"))]
    if not wanted:
        return _App()
    path = wanted[0]
    name, inside = posixpath.basename(posixpath.dirname(path)), posixpath.relpath(posixpath.dirname(path), folder)
    if inside.startswith("src/") and (project is None or not project.is_package):
        return _App(
            notes=(f"{path}: python -m {name} needs PYTHONPATH={APP}/src; set entrypoint and env in the image",)
        )
    port, where = _port(tree, posixpath.dirname(path))
    health, health_why = _health(tree, path)
    command = (f"{VENV}/bin/python", "-m", name)
    return _App(command, port, health, f"{path} is there", health_why, notes=(where,) if where else ())


def _port(tree: Tree, folder: str) -> tuple[int, str]:
    """A port that a module of the package names, and a remark when it listens for this machine alone."""
    for path in tree.paths((f"{folder}/*.py",)):
        text = tree.read(path).decode("utf-8", "replace")
        match = _PORT.search(text)
        if match:
            local = re.search(r"[\"'](127\.0\.0\.1|localhost)[\"']", text)
            return int(
                match[1]
            ), f"{path} names {local[1]}: nobody outside of the container reaches that" if local else ""
    return 0, ""


def _procfile(tree: Tree, folder: str) -> _App:
    """The process ``web``: of several commands the last one stays; what stands before it is said."""
    path = _join(folder, "Procfile")
    if not tree.exists(path):
        return _App()
    match = re.search(r"^web:\s*(.+)$", tree.read(path).decode("utf-8", "replace"), re.MULTILINE)
    if match is None:
        return _App()
    *before, last = (part.strip() for part in re.split(r"&&|;", match[1]) if part.strip())
    words = shlex.split(last.removeprefix("exec "))
    if not words or re.search(r"[$|<>&`()]", last):
        return _App()
    program = words[0] if words[0].startswith("/") else f"{VENV}/bin/{words[0]}"
    notes = tuple(f"{path} runs first, which the image does not: {text}" for text in before)
    bind = ("--bind", f"0.0.0.0:{PORT}") if words[0] == "gunicorn" and not _BIND.search(last) else ()
    port = PORT if bind else 0
    return _App((program, *bind, *words[1:]), port, why=f"{path} says so", notes=notes)


def _django(tree: Tree, folder: str, names: set[str]) -> _App:
    wsgi = tree.paths((_join(folder, "*/wsgi.py"),))
    if "gunicorn" in names and wsgi:
        module = posixpath.basename(posixpath.dirname(wsgi[0]))
        command = (f"{VENV}/bin/gunicorn", "--bind", "0.0.0.0:8000", f"{module}.wsgi")
        return _App(command, 8000, "", f"manage.py, {wsgi[0]} and gunicorn are there")
    command = (f"{VENV}/bin/python", f"{APP}/manage.py", "runserver", "0.0.0.0:8000")
    return _App(command, 8000, "", "manage.py is there, and no server among the requirements")


def _candidates(tree: Tree, folder: str) -> list[str]:
    """Python files that may hold the application: usual names first, then the shortest paths."""
    first = [_join(folder, name) for name in _FIRST if tree.exists(_join(folder, name))]
    patterns = tuple(_join(folder, name) for name in ("*.py", "*/*.py", "src/*/*.py", "src/*/*/*.py"))
    rest = [path for path in tree.paths(patterns) if not _SKIPPED & set(path.split("/")) and path not in first]
    return first + sorted(rest, key=lambda path: (path.count("/"), path))[:200]


def _served(
    tree: Tree, folder: str, path: str, name: str, framework: str, names: set[str], project: Pyproject | None
) -> _App:
    """The command of a web application object ``name`` in ``path``."""
    relative = path.removeprefix(f"{folder}/") if folder != "." else path
    in_src = relative.startswith("src/")
    module = relative.removeprefix("src/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    installed = project is not None and project.is_package
    health, health_why = _health(tree, path)
    why = f"{path} makes a {framework} application"
    if framework == "Flask":
        if "gunicorn" in names:
            move = ("--chdir", f"{APP}/src") if in_src and not installed else ()
            command = (f"{VENV}/bin/gunicorn", "--bind", "0.0.0.0:8000", *move, f"{module}:{name}")
            return _App(command, 8000, health, f"{why}, gunicorn is among the requirements", health_why)
        move = ("--app", f"{'src/' if in_src and not installed else ''}{module}:{name}")
        command = (f"{VENV}/bin/flask", *move, "run", "--host", "0.0.0.0", "--port", "5000")  # noqa: S104
        return _App(command, 5000, health, f"{why}, and no server is among the requirements", health_why)
    if "uvicorn" not in names and project is not None and not names & {"hypercorn", "granian", "daphne"}:
        note = f"{why}, and no server is among the dependencies: add uvicorn, then write entrypoint in its image"
        return _App(notes=(note,))
    move = ("--app-dir", f"{APP}/src") if in_src and not installed else ()
    command = (f"{VENV}/bin/uvicorn", *move, f"{module}:{name}", "--host", "0.0.0.0", "--port", "8000")  # noqa: S104
    return _App(command, 8000, health, f"{why}; uvicorn serves it", health_why)


def _health(tree: Tree, path: str) -> tuple[str, str]:
    """A route that looks like a health check, in the application's file or beside it, and its place."""
    beside = tree.paths((f"{posixpath.dirname(path)}/**/*.py".lstrip("/"),))
    for candidate in (path, *beside[:200]):
        text = tree.read(candidate).decode("utf-8", "replace")
        match = _HEALTH.search(text)
        if match:
            return match[1], f"{candidate}:{text.count(chr(10), 0, match.start()) + 1}"
    return "", ""


def _files(tree: Tree, folder: str) -> tuple[DetectedLayer, ...]:
    """A files layer with the application's own files, for projects that are not installed."""
    prefix = "" if folder == "." else f"{folder}/"
    paths = [path for path in tree.paths((f"{prefix}**/*.py",)) if not _SKIPPED & set(path.split("/"))]
    tops = sorted({path.removeprefix(prefix).split("/")[0] for path in paths})
    items = []
    if any(top.endswith(".py") for top in tops):
        items.append(f'{{ from = "{prefix}*.py", to = "{APP}" }}')
    folders = [top for top in tops if not top.endswith(".py")]
    folders += [name for name in _DATA if tree.exists(f"{prefix}{name}") and name not in folders]
    items += [f'{{ from = "{prefix}{name}", to = "{APP}/{name}" }}' for name in folders]
    if not items:
        return ()
    why = (f"the application's own files: {', '.join([*folders, *(['*.py'] if len(items) > len(folders) else [])])}",)
    return (DetectedLayer(_named(folder, "app"), (f"files = [{', '.join(items)}]",), why),)


def _join(folder: str, name: str) -> str:
    return posixpath.normpath(posixpath.join(folder, name))
