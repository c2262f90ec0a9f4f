"""The project around a JavaScript package: its lock file, the local packages it needs, the skeleton."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.errors import ConfigError
from lamella.graph.op import InlineFile
from lamella.graph.patterns import compile_patterns
from lamella.graph.protocols import Tree
from lamella.project.spec import LayerSpec
from lamella.stacks.base import layer_error
from lamella.stacks.node.locks import LOCK_NAMES, LockFile, read_lock
from lamella.stacks.node.manifest import Manifest, join, read_manifest, rendered
from lamella.stacks.node.semver import is_range, satisfies
from lamella.values import dataclass, field

__all__ = ["LocalFolder", "Workspace", "find_workspace", "skeleton"]

_SETTINGS = (".npmrc", "bunfig.toml", "pnpm-workspace.yaml", ".pnpmfile.cjs")
"""Files beside the lock that an installer reads."""

_FOREIGN = {
    "yarn.lock": "yarn's lock file cannot be read; change to npm (npm install), bun (bun install), pnpm (pnpm import)",
    "bun.lockb": "the binary form cannot be read; run: bun install --save-text-lockfile",
}


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A folder that package ``owner`` (a folder) names with ``file:`` or ``link:`` under ``name``."""

    owner: str
    name: str
    folder: str
    linked: bool


@dataclass(frozen=True, slots=True)
class Workspace:
    """``app`` is the package to build, ``root`` the folder of its lock; they are equal outside of workspaces.

    ``members`` are the manifests that take part: the root's, the app's, and those of the local packages they need.
    ``archives`` are packed packages of the project (``file:x.tgz``).
    """

    lock: LockFile
    root: str
    app: Manifest
    members: tuple[Manifest, ...]
    locals: tuple[LocalFolder, ...] = ()
    archives: tuple[str, ...] = ()
    settings: FrozenMap[str, Any] = field(default=EMPTY_MAP, compare=False)

    @property
    def trusted(self) -> tuple[str, ...]:
        """Packages whose install scripts the project allows, in manifests or in pnpm-workspace.yaml."""
        names = {name for member in self.members for name in member.trusted}
        names |= {str(name) for name in self.settings.get("onlyBuiltDependencies") or ()}
        names |= {str(name) for name, yes in (self.settings.get("allowBuilds") or {}).items() if yes is True}
        return tuple(sorted(names))

    @property
    def patches(self) -> tuple[str, ...]:
        """Patch files that the installer applies, as paths of the project."""
        found = [join(member.folder, patch) for member in self.members for patch in member.patches]
        listed = self.settings.get("patchedDependencies") or {}
        return tuple(sorted({*found, *(join(self.root, str(path)) for path in listed.values())}))

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders of all members, sorted: each may have a ``node_modules``."""
        return tuple(sorted({member.folder for member in self.members}))

    @property
    def tool(self) -> str:
        """npm, bun or pnpm."""
        return self.lock.tool

    @property
    def root_manifest(self) -> Manifest:
        """The manifest beside the lock."""
        return next(member for member in self.members if member.folder == self.root)


def find_workspace(tree: Tree, layer: LayerSpec, directory: str) -> Workspace:
    """The workspace of the package in ``directory``. Raises ConfigError for what is missing, malformed or stale."""
    folder = posixpath.normpath(directory)
    app = read_manifest(tree, folder)
    if app is None:
        raise layer_error(layer, f"{join(folder, 'package.json')} is not there")
    root, lock = _find_lock(tree, layer, app)
    everyone = _all_members(tree, root)
    root_manifest = everyone.get(root) or app
    found = _Closure(tree, everyone)
    try:
        for manifest in (root_manifest, app, *(everyone.values() if app.folder == root else ())):
            found.add(manifest)
    except ValueError as error:
        raise layer_error(layer, str(error)) from None
    members = tuple(found.members[key] for key in sorted(found.members))
    _check_lock(layer, lock, root, tuple(member for member in members if member.folder in everyone))
    settings = FrozenMap(_pnpm_settings(tree, root))
    return Workspace(lock, root, app, members, tuple(found.locals), tuple(sorted(found.archives)), settings)


def _find_lock(tree: Tree, layer: LayerSpec, app: Manifest) -> tuple[str, LockFile]:
    """The nearest lock file upwards whose folder is the package's own or has it as a workspace member."""
    for folder in _upwards(app.folder):
        names = [name for name in LOCK_NAMES if tree.exists(join(folder, name))]
        manifest = read_manifest(tree, folder)
        if names and manifest is not None and (folder == app.folder or app.folder in _all_members(tree, folder)):
            return folder, read_lock(tree, join(folder, _chosen(manifest, names)))
        for foreign, hint in _FOREIGN.items():
            if folder == app.folder and not names and tree.exists(join(folder, foreign)):
                raise layer_error(layer, f"{join(folder, foreign)} is the only lock file", hint=hint)
    tool = str(app.data.get("packageManager", "")).partition("@")[0] or "npm"
    command = {"bun": "bun install", "pnpm": "pnpm install"}.get(tool, "npm install")
    raise layer_error(
        layer, f"{app.path} has no lock file", hint=f"run in {app.folder}: {command}, and commit the lock"
    )


def _chosen(manifest: Manifest, names: list[str]) -> str:
    tool = str(manifest.data.get("packageManager", "")).partition("@")[0]
    wanted = {"bun": "bun.lock", "pnpm": "pnpm-lock.yaml", "npm": "package-lock.json"}.get(tool, names[0])
    return wanted if wanted in names else names[0]


def _upwards(folder: str) -> Iterator[str]:
    """A folder and those above it, up to the project's root."""
    while folder not in ("", "."):
        yield folder
        folder = posixpath.dirname(folder)
    yield "."


def _all_members(tree: Tree, root: str) -> dict[str, Manifest]:
    """The root's manifest and every workspace member's, by folder."""
    manifest = read_manifest(tree, root)
    found = {root: manifest} if manifest is not None else {}
    listed = _pnpm_settings(tree, root).get("packages") or ()
    globs = (*(manifest.workspaces if manifest else ()), *(str(item) for item in listed))
    if not globs:
        return found
    cleaned = [(glob.startswith("!"), glob.removeprefix("!").removeprefix("./").rstrip("/")) for glob in globs]
    patterns = tuple(("!" if negated else "") + join(root, f"{glob}/package.json") for negated, glob in cleaned)
    matches = compile_patterns(patterns)
    for path in tree.paths(tuple(pattern for pattern in patterns if not pattern.startswith("!"))):
        if path.endswith("/package.json") and matches(path) and "node_modules" not in path.split("/"):
            member = read_manifest(tree, posixpath.dirname(path))
            if member is not None:
                found[member.folder] = member
    return found


def _pnpm_settings(tree: Tree, root: str) -> dict[str, Any]:
    """Of pnpm-workspace.yaml: members and, since pnpm 10, settings."""
    path = join(root, "pnpm-workspace.yaml")
    if not tree.exists(path):
        return {}
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document = YAML(typ="safe", pure=True).load(tree.read(path).decode("utf-8", "replace"))
    except YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {str(error).splitlines()[0]}") from None
    return document if isinstance(document, dict) else {}


class _Closure:
    """Collects manifests: workspace members by name, folders and archives by path."""

    def __init__(self, tree: Tree, everyone: dict[str, Manifest]) -> None:
        self.tree = tree
        self.by_name = {manifest.name: manifest for manifest in everyone.values() if manifest.name}
        self.members: dict[str, Manifest] = {}
        self.locals: list[LocalFolder] = []
        self.archives: set[str] = set()

    def add(self, manifest: Manifest) -> None:
        """A manifest with all local packages it needs; raises ValueError for one that is not there."""
        if manifest.folder in self.members:
            return
        self.members[manifest.folder] = manifest
        for _, name, text in manifest.dependencies():
            if text.startswith(("file:", "link:", "./", "../")):
                self._local(manifest, name, text)
            elif name in self.by_name and _is_local(text, self.by_name[name]):
                self.add(self.by_name[name])

    def _local(self, manifest: Manifest, name: str, text: str) -> None:
        place = join(manifest.folder, text.removeprefix("file:").removeprefix("link:"))
        if place.startswith(".."):
            raise ValueError(f"{manifest.path} names {text}, which lies outside the project")
        if place.endswith((".tgz", ".tar.gz", ".tar")):
            if not self.tree.exists(place):
                raise ValueError(f"{manifest.path} names {text}, which is not there")
            self.archives.add(place)
            return
        target = read_manifest(self.tree, place)
        if target is None:
            raise ValueError(f"{manifest.path} names {text}, which has no package.json")
        self.locals.append(LocalFolder(manifest.folder, name, target.folder, text.startswith("link:")))
        self.add(target)


def _is_local(text: str, member: Manifest) -> bool:
    """Whether an installer takes the workspace's own package for a specification."""
    return text.startswith("workspace:") or not member.version or satisfies(member.version, text) is not False


def _check_lock(layer: LayerSpec, lock: LockFile, root: str, members: tuple[Manifest, ...]) -> None:
    found = [problem for member in members for problem in lock.problems(member)]
    if found:
        error = layer_error(
            layer, f"{lock.path} is stale: {found[0]}", hint=f"run in {root}: {lock.repair}, and commit the lock"
        )
        raise ConfigError(error.message, hint=error.hint, details=tuple(found[1:]), problems=error.problems)


def skeleton(tree: Tree, workspace: Workspace) -> tuple[InlineFile, ...]:
    """What the installer sees: normalised manifests and lock, settings, patches, packed packages, stubs of programs."""
    normal = _Normal(workspace)
    files = {
        member.path: rendered(member.skeleton(normal.rewrite, keep_version=normal.keeps_version(member.folder)))
        for member in workspace.members
    }
    files[workspace.lock.path] = workspace.lock.normalised(normal.rewrite, normal.keeps_version)
    for name in _SETTINGS:
        path = join(workspace.root, name)
        if tree.exists(path):
            files[path] = tree.read(path)
    for path in (*workspace.patches, *workspace.archives):
        files[path] = tree.read(path)
    programs = {path: _first_line(tree.read(path)) for path in _programs(tree, workspace) if path not in files}
    return (
        *(InlineFile(path, data) for path, data in sorted(files.items())),
        *(InlineFile(path, data, 0o755) for path, data in sorted(programs.items())),
    )


class _Normal:
    """Which specifications and versions of local packages can be made equal for all releases."""

    def __init__(self, workspace: Workspace) -> None:
        self._members = {member.name: member for member in workspace.members if member.name}
        self._star = {"npm": "*", "bun": "workspace:*"}.get(workspace.tool)
        specs = [(name, text) for member in workspace.members for _, name, text in member.dependencies()]
        self._fixed = {
            self._members[name].folder
            for name, text in specs
            if name in self._members and self.rewrite(name, text) == text and _names_version(text)
        }

    def rewrite(self, name: str, text: str) -> str:
        """A range that a local package meets is "any version" of it."""
        member = self._members.get(name)
        if self._star is None or member is None or text.startswith(("file:", "link:", ".")):
            return text
        return self._star if _is_local(text, member) else text

    def keeps_version(self, folder: str) -> bool:
        """Whether somebody depends on the number of the package in a folder."""
        return folder in self._fixed


def _names_version(text: str) -> bool:
    """``workspace:^1.2`` and ``^1.2`` name a version; ``workspace:^`` and ``*`` do not."""
    bare = text.removeprefix("workspace:")
    return any(char.isdigit() for char in bare) and is_range(bare)


def _programs(tree: Tree, workspace: Workspace) -> Iterator[str]:
    """Programs of local packages, which installers link into ``.bin`` when they are there."""
    for member in workspace.members:
        found = member.data.get("bin")
        paths = [found] if isinstance(found, str) else list(found.values()) if isinstance(found, dict) else []
        for path in paths:
            place = join(member.folder, str(path))
            if not place.startswith("..") and tree.exists(place):
                yield place


def _first_line(data: bytes) -> bytes:
    """Installers look at the interpreter line of a program and at nothing else."""
    line = data.split(b"\n", 1)[0][:200]
    return line + b"\n" if line.startswith(b"#!") else b"\n"
