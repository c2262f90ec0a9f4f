"""A Python layer as a stage: a virtual environment that uv fills from the lock, copied into the image as one layer.

The lock that people keep is used where uv reads it (``uv.lock``, requirement files with versions and hashes). What only
``lamella.lock`` holds is written out as such a requirement file beside the Dockerfile.
"""

from __future__ import annotations

import posixpath

from lamella.canonical import FrozenMap
from lamella.eject.roots import root_of
from lamella.eject.values import Copy, Env, Inline, Instruction, Mount, Prefixed, Run, Stage, Workdir
from lamella.eject.work import Work
from lamella.graph.op import ExecOp, InlineOp, SourceOp, Wheel, WheelsOp
from lamella.graph.vertex import Vertex
from lamella.planning.lowering import LoweredLayer
from lamella.project.spec import PythonSpec
from lamella.stacks.base import SRC
from lamella.stacks.python.locked import upwards
from lamella.stacks.python.requirements import read_requirements
from lamella.stacks.toolchain import apt_commands
from lamella.values import dataclass

__all__ = ["PythonLayer", "install_above", "venv_stage"]

UV = "0.13.8"
"""The uv that ejected files install; newer ones read older locks, so it moves only with a reason."""

_UV_ENV = FrozenMap(
    {
        "UV_COMPILE_BYTECODE": "1",
        "UV_LINK_MODE": "copy",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_SYSTEM_CERTS": "true",
    }
)
_CACHE = "/root/.cache/uv"


@dataclass(frozen=True, slots=True)
class PythonLayer:
    """What of a layer is needed: its vertices of wheels, where the environment is, and what the image stands on."""

    found: LoweredLayer
    wheels: tuple[Vertex, ...]
    base: str

    @property
    def spec(self) -> PythonSpec:
        """The layer's table."""
        assert isinstance(self.found.layer.spec, PythonSpec)  # noqa: S101 - the caller goes by the layer's kind
        return self.found.layer.spec

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.found.layer.name

    def detail(self, name: str) -> str:
        """What the adapter found: ``python``, ``interpreter`` or ``venv``."""
        return str(self.found.lowered.details[name])


def venv_stage(work: Work, layer: PythonLayer) -> int:
    """The stage that makes the layer's virtual environment."""
    uv = _uv_stage(work, layer)
    venv, interpreter = layer.detail("venv"), layer.detail("interpreter")
    items: list[Instruction] = [Workdir(SRC), Run((("uv", "venv", "--python", interpreter, venv),))]
    items += _install(work, layer, ())
    remark = f"layer {layer.name}: packages for {interpreter} in {venv}"
    return work.stages.add(f"{layer.name}-venv", Stage(uv, tuple(items), remark), work.cell)


def install_above(work: Work, layer: PythonLayer) -> list[Instruction]:
    """Installs what a layer adds to the environment of the one below, in the image itself: only the new files get into
    its layer. uv is mounted for the command and stays outside.
    """
    uv = Mount(
        (("type", "bind"), ("source", "/opt/uv/bin/uv"), ("target", "/usr/local/bin/uv")), _uv_stage(work, layer)
    )
    return _install(work, layer, (uv,))


def _uv_stage(work: Work, layer: PythonLayer) -> int:
    """Uv beside the image's own interpreter."""
    root = root_of(work, layer.base)
    interpreter, minor = layer.detail("interpreter"), layer.detail("python")
    packages: set[str] = set()
    if interpreter.startswith("/usr/bin/") and _has_apt(work):
        packages.add(f"python{minor}-venv")
        if any(isinstance(work.definition[edge.vertex].op, ExecOp) and _is_foreign(work, edge.vertex)
               for vertex in layer.wheels for edge in vertex.inputs):  # fmt: skip
            packages |= {"build-essential", "git", f"python{minor}-dev"}
    items: list[Instruction] = []
    if packages:
        argvs = tuple(command.argv for command in apt_commands(tuple(packages)))
        items.append(Run(argvs, env=FrozenMap({"DEBIAN_FRONTEND": "noninteractive"})))
    pip = ("/opt/uv/bin/pip", "install", "--no-cache-dir", "--disable-pip-version-check", f"uv=={UV}")
    items.append(Run(((interpreter, "-m", "venv", "/opt/uv"), pip)))
    items.append(Env(FrozenMap({"PATH": Prefixed("/opt/uv/bin"), **_UV_ENV})))
    remark = f"uv, and the interpreter that environments are made for ({interpreter}); in no image"
    return work.stages.add("uv", Stage(root.stage, tuple(items), remark), work.cell)


def _has_apt(work: Work) -> bool:
    family = f"{work.facts.os_release.get('ID', '')} {work.facts.os_release.get('ID_LIKE', '')}".split()
    return "debian" in family or "ubuntu" in family


def _is_foreign(work: Work, key: str) -> bool:
    """Whether a step builds packages from elsewhere, with compilers."""
    return any(edge.name == "sdists" for edge in work.definition[key].inputs)


# ---- what is installed -----------------------------------------------------------------------------------------------


def _install(work: Work, layer: PythonLayer, mounts: tuple[Mount, ...]) -> list[Instruction]:
    cache = work.cache("uv", _CACHE)
    lock = _uv_lock(work, layer)
    if lock:
        return _synced(work, layer, lock, (cache, *mounts))
    python = f"{layer.detail('venv')}/bin/python"
    env = _UV_ENV if mounts else FrozenMap[str, str]()  # the stage of uv has these already
    below = layer.spec.above is not None
    verb = ("install", "--no-deps") if below else ("sync",)
    items: list[Instruction] = []
    paths, hashed = _requirement_files(work, layer)
    if paths:
        binds = tuple(_file_mount(work, path) for path in paths) if mounts else ()
        names = tuple(paths) if not mounts else tuple(f"{SRC}/{path}" for path in paths)
        flags = tuple(word for name in names for word in ("--requirement", name)) if below else names
        words = ("uv", "pip", *verb, "--python", python, *(("--require-hashes",) if hashed else ()), *flags)
        items += [] if mounts else _file_copies(work, paths)
        items.append(Run((words,), (cache, *mounts, *binds), env))
    return [*items, *_folders(work, layer, python, (cache, *mounts))]


def _uv_lock(work: Work, layer: PythonLayer) -> str:
    """The ``uv.lock`` that decides the layer, empty for another lock."""
    spec = layer.spec
    if posixpath.basename(spec.lock) == "uv.lock":
        return posixpath.normpath(spec.lock)
    if spec.project is None or spec.lock != "lamella.lock":
        return ""
    paths = (posixpath.normpath(posixpath.join(folder, "uv.lock")) for folder in upwards(spec.project))
    return next((path for path in paths if work.context.tree.exists(path)), "")


def _synced(work: Work, layer: PythonLayer, lock: str, mounts: tuple[Mount, ...]) -> list[Instruction]:
    """``uv sync`` in two steps: first what others wrote, then the project."""
    spec, tree = layer.spec, work.context.tree
    folder, project = posixpath.dirname(lock), posixpath.normpath(spec.project or ".")
    manifests = tree.paths((posixpath.join(folder, "**/pyproject.toml"), lock))
    work.context.take(*manifests)
    by_folder: dict[str, list[str]] = {}
    for path in manifests:
        by_folder.setdefault(posixpath.dirname(path), []).append(path)
    items: list[Instruction] = [Copy(tuple(paths), f"{at}/" if at else "./") for at, paths in sorted(by_folder.items())]
    words = ["uv", "sync", "--frozen", "--no-default-groups", "--no-editable", "--python", layer.detail("interpreter")]
    words += ["--project", project] if project != "." else []
    for flag, names in (("extra", spec.extras), ("group", spec.groups), ("no-install-package", spec.exclude)):
        words += [word for name in names for word in (f"--{flag}", name)]
    env: FrozenMap[str, str | Prefixed] = FrozenMap({"UV_PROJECT_ENVIRONMENT": layer.detail("venv")})
    items += [Env(env), Run(((*words, "--no-install-workspace"),), mounts)]
    sources = _folder_patterns(work, layer)
    if sources:
        for patterns in sources:
            items += _source_copies(work, patterns, there=manifests)
        items.append(Run((tuple(words),), mounts))
    return items


def _requirement_files(work: Work, layer: PythonLayer) -> tuple[tuple[str, ...], bool]:
    """Requirement files with exact versions, and whether all of them have hashes."""
    spec, tree = layer.spec, work.context.tree
    if spec.requirements and not (spec.exclude or spec.indexes or spec.above or spec.project):
        names = (spec.lock,) if spec.lock != "lamella.lock" else spec.requirements
        found = read_requirements(tree, names)
        if found.is_pinned and not found.locals and not found.constraints and not found.extra_indexes:
            work.context.take(*found.files)
            return names, True
    lines, hashed = _locked_lines(work, layer)
    if not lines:
        return (), True
    head = f"# The locked packages of layer {layer.name}, written by lamella eject out of the project's lock.\n"
    text = head + "".join(f"{line}\n" for line in sorted(lines))
    return (work.shared.beside.add(f"{layer.name}.requirements.txt", work.suffix, text),), hashed


def _locked_lines(work: Work, layer: PythonLayer) -> tuple[list[str], bool]:
    """Wheels and source archives as requirements; commits have no hash, so uv cannot ask for any then."""
    lines: list[str] = []
    hashed = True
    for vertex in layer.wheels:
        assert isinstance(vertex.op, WheelsOp)  # noqa: S101 - chosen by op
        lines += [_requirement(wheel) for wheel in vertex.op.wheels]
        for edge in vertex.inputs:
            for inner in work.definition[edge.vertex].inputs:
                op = work.definition[inner.vertex].op
                for file in op.files if isinstance(op, InlineOp) and inner.name == "sdists" else ():
                    lines += [_hashed(line) for line in file.data.decode().splitlines()]
                    hashed = hashed and file.path == "archives.txt"
    return lines, hashed


def _requirement(wheel: Wheel) -> str:
    where = f" @ {wheel.url}" if wheel.url else f"=={wheel.version}"
    return f"{wheel.name}{where} --hash=sha256:{wheel.sha256}"


def _hashed(line: str) -> str:
    """``name @ URL#sha256=X`` in the form that all requirement readers know."""
    front, mark, digest = line.partition("#sha256=")
    return f"{front} --hash=sha256:{digest}" if mark else line


def _file_copies(work: Work, paths: tuple[str, ...]) -> list[Instruction]:
    """Requirement files with all they include, at their places; of a single-file Dockerfile as here-documents."""
    items: list[Instruction] = []
    written = work.shared.beside.files
    for path in paths:
        name = posixpath.basename(path)
        if work.shared.beside.inline and name in written:
            items.append(Inline(written[name], f"{SRC}/{path}"))
        elif name in written:
            work.context.take(path)
            items.append(Copy((path,), path if "/" in path else "./"))
    own = tuple(path for path in paths if posixpath.basename(path) not in written)
    files = read_requirements(work.context.tree, own).files if own else ()
    by_folder: dict[str, list[str]] = {}
    for path in files:
        by_folder.setdefault(posixpath.dirname(path), []).append(path)
    items += [Copy(tuple(found), f"{at}/" if at else "./") for at, found in sorted(by_folder.items())]
    return items


def _file_mount(work: Work, path: str) -> Mount:
    work.context.take(path)
    return Mount((("type", "bind"), ("source", path), ("target", f"{SRC}/{path}")))


# ---- the project's own packages --------------------------------------------------------------------------------------


def _folder_patterns(work: Work, layer: PythonLayer) -> list[tuple[str, ...]]:
    """Sources of each folder of the project that is built into a wheel."""
    found: list[tuple[str, ...]] = []
    for vertex in layer.wheels:
        for edge in vertex.inputs:
            for inner in work.definition[edge.vertex].inputs:
                op = work.definition[inner.vertex].op
                if inner.name == "sources" and isinstance(op, SourceOp):
                    found.append(op.patterns)
    return list(dict.fromkeys(found))


def _source_copies(work: Work, patterns: tuple[str, ...], there: tuple[str, ...] = ()) -> list[Instruction]:
    """COPY of a package's sources, without files that are ``there`` already."""
    found = [item for item in work.context.cover(patterns) if item.path not in there]
    folders: list[Instruction] = [
        Copy((item.path,), "./" if item.path == "." else f"{item.path}/") for item in found if item.folder
    ]
    by_folder: dict[str, list[str]] = {}
    for item in found:
        if not item.folder:
            by_folder.setdefault(posixpath.dirname(item.path), []).append(item.path)
    files = [Copy(tuple(paths), f"{at}/" if at else "./") for at, paths in sorted(by_folder.items())]
    return [*files, *folders]


def _folders(work: Work, layer: PythonLayer, python: str, mounts: tuple[Mount, ...]) -> list[Instruction]:
    """Folders of the project that requirement files name, or a project without uv's lock."""
    items: list[Instruction] = []
    for patterns in _folder_patterns(work, layer):
        folder = patterns[0].removesuffix("**").rstrip("/") or "."
        items += _source_copies(work, patterns)
        words = ("uv", "pip", "install", "--python", python, "--no-deps", f"./{folder}" if folder != "." else ".")
        items.append(Run((words,), mounts))
    return items
