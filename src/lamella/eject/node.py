"""A node layer as stages: manifests and lock, a frozen install with a cache mount, then sources and the script."""

from __future__ import annotations

import posixpath

from lamella.canonical import FrozenMap
from lamella.eject.cargo import needed_copies
from lamella.eject.dockerfile_text import shell_word
from lamella.eject.roots import command_of, root_of
from lamella.eject.values import Copy, Env, Instruction, Mount, Part, Run, Script, Stage, Workdir
from lamella.eject.work import Product, Root, Work
from lamella.graph.mount import SecretMount
from lamella.graph.op import Command, ExecOp, InlineOp, SourceOp
from lamella.graph.vertex import Vertex
from lamella.oci.platform import ANY
from lamella.stacks.base import SRC

__all__ = ["node_product"]

_CACHES = {"bun": "/root/.bun/install/cache", "npm": "/root/.npm", "pnpm": "/root/.local/share/pnpm/store"}
_STEP_ONLY = ("HOME", "LANG", "BUN_INSTALL_CACHE_DIR", "COREPACK_ENABLE_STRICT")
_PNPM = ("npm_config_manage_package_manager_versions", "npm_config_verify_deps_before_run")


def node_product(work: Work, vertex: Vertex, op: ExecOp) -> Product:
    """The stage of a script's output, or of installed packages."""
    if op.observed.get("step") == "install":
        root, items = _installed(work, vertex, op, op.cwd)
        stage = Stage(root.stage, tuple(items), f"layer {vertex.info.layer}: packages that the service needs")
        number = work.stages.add(f"{vertex.info.layer}-packages", stage, work.cell)
        return tuple((output.target, Part(number, output.source, folder=True)) for output in op.outputs)
    return _built(work, vertex, op)


def _installed(work: Work, vertex: Vertex, op: ExecOp, cwd: str) -> tuple[Root, list[Instruction]]:
    """Root file system and instructions up to the packages; ``cwd`` is the folder that the stage works in."""
    native = vertex.platform == ANY
    root = root_of(work, vertex.inputs[0].vertex, native=native)
    tool = next(command.argv[0] for command in op.commands)
    items: list[Instruction] = [Workdir(cwd)]
    env = _kept_env(op, root, tool)
    items += [Env(FrozenMap(env))] if env else []
    items += _manifests(work, vertex, cwd)
    install = tuple(_in_folder(command, op.cwd, cwd) for command in op.commands if command.argv[0] == tool)
    secrets = tuple(
        work.secret(mount.id, target=mount.target, env=mount.env)
        for mount in op.mounts
        if isinstance(mount, SecretMount)
    )
    items.append(Run(install, (work.cache(tool, _CACHES.get(tool, f"/root/.cache/{tool}")), *secrets)))
    return root, items


def _kept_env(op: ExecOp, root: Root, tool: str) -> dict[str, str]:
    """Variables that matter to packages and scripts; what only keeps our own steps apart is left out."""
    fresh = {name: value for name, value in op.env.items() if root.env.get(name) != value}
    return {
        name: value
        for name, value in fresh.items()
        if name not in _STEP_ONLY and (not name.startswith("npm_config_") or (tool == "pnpm" and name in _PNPM))
    }


def _manifests(work: Work, vertex: Vertex, cwd: str) -> list[Instruction]:
    """Everything the installer reads, at its place, so that an edit of a source installs nothing again."""
    paths: list[str] = []
    for edge in vertex.inputs[1:]:
        op = work.definition[edge.vertex].op
        if isinstance(op, InlineOp):
            paths += [file.path for file in op.files if not file.directory and work.context.tree.exists(file.path)]
    work.context.take(*paths)
    folders: dict[str, list[str]] = {}
    for path in paths:
        folders.setdefault(posixpath.dirname(path), []).append(path)
    return [Copy(tuple(files), _place(folder, cwd)) for folder, files in sorted(folders.items())]


def _place(folder: str, cwd: str) -> str:
    """A folder of the project as a target of COPY in a stage that works in ``cwd``."""
    return f"{posixpath.relpath(posixpath.join(SRC, folder), cwd)}/"


def _in_folder(command: Command, own: str, cwd: str) -> tuple[str, ...] | Script:
    folder = command.cwd or own
    if folder in ("", cwd):
        return command.argv
    return command_of(Command(command.argv, cwd=folder))


def _built(work: Work, vertex: Vertex, op: ExecOp) -> Product:
    layer = vertex.info.layer
    packages = next(edge.vertex for edge in vertex.inputs if edge.name == "packages")
    install = work.definition[packages]
    assert isinstance(install.op, ExecOp)  # noqa: S101 - the adapter's own pair of steps
    root, items = _installed(work, install, install.op, op.cwd)
    (output,) = op.outputs
    for edge in vertex.inputs[1:]:
        source = work.definition[edge.vertex].op
        if isinstance(source, SourceOp):
            if output.source.startswith(f"{SRC}/"):
                work.context.leave_out(output.source.removeprefix(f"{SRC}/"))
            items += _copies(_sources(work, source), op.cwd)
    items += needed_copies(work, vertex, op, op.cwd)
    more = {name: value for name, value in op.env.items() if install.op.env.get(name) != value}
    items += [Env(FrozenMap(more))] if (more := {n: v for n, v in more.items() if n not in _STEP_ONLY}) else []
    secrets: tuple[Mount, ...] = tuple(
        work.secret(mount.id, target=mount.target, env=mount.env)
        for mount in op.mounts
        if isinstance(mount, SecretMount)
    )
    commands = tuple(_in_folder(command, op.cwd, op.cwd) for command in op.commands)
    if commands:
        items.append(Run(commands, secrets))
    native = install.platform == ANY
    remark = (
        f"layer {layer}: {shell_word(op.observed.get('script', '') or 'files')} of {op.cwd.removeprefix(f'{SRC}/')}"
    )
    remark += ", the same on every platform" if native else ""
    number = work.stages.add(f"{layer}-build", Stage(root.stage, tuple(items), remark), work.cell)
    return ((output.target, Part(number, output.source, folder=True)),)


def _sources(work: Work, op: SourceOp) -> list[tuple[str, bool]]:
    """The folders of the packages, whole, and single files beside them."""
    found: list[tuple[str, bool]] = []
    for pattern in op.patterns:
        if pattern.startswith("!"):
            continue
        folder = pattern.removesuffix("/**") if pattern.endswith("**") else ""
        if folder == "**":
            found.append((".", True))
        elif folder and work.context.tree.exists(folder):
            found.append((folder, True))
        else:
            found += [(path, False) for path in work.context.tree.paths((pattern,))]
    out = list(dict.fromkeys(found))
    if (".", True) in out:
        out = [(".", True)]
    out = [(path, folder) for path, folder in out if not any(_inside(path, other) for other, whole in out if whole)]
    work.context.take(*(path for path, _ in out))
    return out


def _inside(path: str, folder: str) -> bool:
    return path != folder and (folder == "." or path.startswith(f"{folder}/"))


def _copies(found: list[tuple[str, bool]], cwd: str) -> list[Instruction]:
    """A COPY for each folder, which takes what is in it, and one for all single files of a place."""
    folders: list[Instruction] = [
        Copy((path,), _place("" if path == "." else path, cwd)) for path, whole in found if whole
    ]
    loose: dict[str, list[str]] = {}
    for path, whole in found:
        if not whole:
            loose.setdefault(_place(posixpath.dirname(path), cwd), []).append(path)
    return [*folders, *(Copy(tuple(paths), place) for place, paths in loose.items())]
