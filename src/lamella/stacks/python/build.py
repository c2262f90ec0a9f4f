"""Steps that turn folders of the project, pinned commits and source archives into wheels.

The project's own packages are built by their backend (PEP 517) out of a locked environment, without network. Foreign
sources are built by pip in isolation, which fetches backends nobody locked: such a step is not hermetic. What either
makes is checked: the wheel must be of the locked version and fit the layer's interpreter.
"""

from __future__ import annotations

import posixpath

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from lamella.canonical import FrozenMap
from lamella.graph.fileset import EntryType, FileSet
from lamella.graph.mount import BindMount, SecretMount
from lamella.graph.op import Command, ExecOp, InlineFile, InlineOp, OutputPath, SourceOp, WheelsOp
from lamella.graph.vertex import AllPaths, Input, RootfsOf, Vertex
from lamella.oci.platform import ANY
from lamella.sources.wheel_tags import Target, is_pure
from lamella.stacks.base import SRC, LowerContext, Observation, Rootfs, StepOutputs, layer_error, vertex_info
from lamella.stacks.files import need_mounts
from lamella.stacks.python.backend import BACKEND_ENV, backend_argv, backend_wheels
from lamella.stacks.python.pyproject import Pyproject, read_pyproject
from lamella.stacks.python.resolved import SourceBuild
from lamella.stacks.toolchain import own_rootfs

__all__ = ["build_vertices", "observe_build", "source_patterns"]

WHEELS = "/lamella/wheels"
"""Where a build step leaves its wheels."""

LISTS = "/lamella/sdists"

STEP_ENV = FrozenMap(
    {
        "HOME": "/tmp",  # noqa: S108 - a path inside the step, where nobody else is
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_CACHE_DIR": "1",
        "PIP_NO_INPUT": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "PYTHONHASHSEED": "0",
        "SOURCE_DATE_EPOCH": "315532800",  # 1980-01-01, the first moment a zip archive can name
    }
)
PIP = ("python3", "-m", "pip", "wheel", "--no-deps", "--ignore-requires-python", "--wheel-dir", WHEELS)

_NEVER_BUILT = (
    "**/__pycache__/**", "**/*.pyc", "**/.venv/**", "**/.git*", "**/node_modules/**", "**/.mypy_cache/**",
    "**/.pytest_cache/**", "**/.ruff_cache/**", "lamella.toml", "lamella.lock", "**/uv.lock", "**/Dockerfile*",
    ".github/**", "**/.dockerignore",
)  # fmt: skip
"""What no build backend puts into a wheel."""

_WRITTEN = (
    "bin/python",
    "**/build/**",
    "**/dist/**",
    "**/*.egg-info/**",
    "**/__pycache__/**",
    "**/*.so",
    "**/_version.py",
)
"""What build backends write into the sources, and their driver into their environment."""


def source_patterns(folder: str, extra: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Globs of a package's sources: its folder without what cannot matter, and the layer's ``inputs``."""
    whole = "**" if folder in ("", ".") else f"{folder}/**"
    return (whole, *(f"!{pattern}" for pattern in _NEVER_BUILT), *extra)


def build_vertices(context: LowerContext, builds: tuple[SourceBuild, ...], target: Target) -> tuple[str, ...]:
    """One step per folder of the project (they change often) and one for everything from elsewhere.

    Raises UnlockedSetError when ``lamella.lock`` does not hold a folder's build requirements.
    """
    if not builds:
        return ()
    rootfs = _toolchain(context, builds)
    vertices = [_folder_step(context, rootfs, build, target) for build in builds if build.folder]
    foreign = tuple(build for build in builds if not build.folder)
    if foreign:
        vertices.insert(0, _foreign_step(context, rootfs, foreign, target))
    return tuple(vertices)


def _toolchain(context: LowerContext, builds: tuple[SourceBuild, ...]) -> Rootfs:
    """What ``on`` names, else a Debian with Python; pip and a compiler only where something needs them."""
    if context.rootfs is not None:
        return context.rootfs
    packages = ["ca-certificates", "python3"]
    if context.layer.network or any(not build.folder for build in builds):
        packages += ["build-essential", "python3-dev", "python3-pip"]
    if any(build.direct for build in builds):
        packages.append("git")
    return own_rootfs(context, packages=tuple(packages))


def _folder_step(context: LowerContext, rootfs: Rootfs, build: SourceBuild, target: Target) -> str:
    """The wheel of one folder of the project."""
    layer = context.layer
    project = read_pyproject(context.tree, build.folder)
    if project is None:
        raise layer_error(layer, f"package {build.name!r} has no {posixpath.join(build.folder, 'pyproject.toml')}")
    op = SourceOp(source_patterns(build.folder, layer.inputs))
    source = context.graph.add(Vertex(op, (), ANY, ANY, vertex_info(layer, f"{build.name} source")))
    edges = [rootfs.edge(RootfsOf()), Input(source, AllPaths(), "sources")]
    mounts = [BindMount(1, SRC)]
    folder = posixpath.normpath(f"{SRC}/{build.folder}")
    argv: tuple[str, ...] = (*PIP, folder)
    if not layer.network:
        argv = backend_argv(project, folder, WHEELS, target.python)
        environment = _environment(context, project, target)
        if environment:
            mounts.append(BindMount(len(edges), BACKEND_ENV))
            edges.append(Input(environment, AllPaths(), "build requirements"))
    needed, more = need_mounts(context, first=len(edges))
    return _step(
        context,
        rootfs,
        (*edges, *needed),
        (*mounts, *more),
        (argv,),
        (build,),
        target,
        part=f"{build.name} wheel",
        network=layer.network,
    )


def _environment(context: LowerContext, project: Pyproject, target: Target) -> str:
    """The backend with all it needs, laid out as the lock has it; empty for a backend inside the project."""
    wheels = backend_wheels(context, project, target)
    if not wheels:
        return ""
    op = WheelsOp(wheels, target.python, BACKEND_ENV)
    info = vertex_info(context.layer, f"{project.name} build requirements")
    platform = ANY if all(is_pure(wheel.filename) for wheel in wheels) else context.execution
    return context.graph.add(Vertex(op, (), platform, ANY, info))


def _foreign_step(context: LowerContext, rootfs: Rootfs, builds: tuple[SourceBuild, ...], target: Target) -> str:
    """The wheels of source archives, checked by hash, and of commits: pip takes no hashes for those."""
    lists = {
        "archives.txt": [_archive_line(build) for build in builds if build.sdist],
        "commits.txt": [build.direct for build in builds if build.direct],
    }
    written = {name: "".join(f"{line}\n" for line in lines) for name, lines in lists.items() if lines}
    inline = InlineOp(tuple(InlineFile(name, text.encode()) for name, text in sorted(written.items())))
    listed = context.graph.add(Vertex(inline, (), ANY, ANY, vertex_info(context.layer, "sdists list")))
    edges = (rootfs.edge(RootfsOf()), Input(listed, AllPaths(), "sdists"))
    names = ",".join(build.name for build in builds)
    argvs = tuple((*PIP, "--no-binary", names, "--requirement", f"{LISTS}/{name}") for name in sorted(written))
    return _step(
        context, rootfs, edges, (BindMount(1, LISTS),), argvs, builds, target, part="sdists wheel", network=True
    )


def _archive_line(build: SourceBuild) -> str:
    """A source archive as pip's requirement; one without a URL lies on the default index."""
    if build.sdist is None:
        return ""
    if build.sdist.url:
        return f"{build.name} @ {build.sdist.url}#sha256={build.sdist.sha256}"
    return f"{build.name}=={build.version} --hash=sha256:{build.sdist.sha256}"


def _step(
    context: LowerContext,
    rootfs: Rootfs,
    edges: tuple[Input, ...],
    mounts: tuple[BindMount, ...],
    argvs: tuple[tuple[str, ...], ...],
    builds: tuple[SourceBuild, ...],
    target: Target,
    *,
    part: str,
    network: bool,
) -> str:
    layer = context.layer
    env = rootfs.env.with_items(STEP_ENV).with_items({name: str(value) for name, value in layer.env.items()})
    op = ExecOp(
        commands=(Command(("mkdir", "-p", WHEELS)), *(Command(argv) for argv in argvs)),
        env=env,
        mounts=(*mounts, *(SecretMount(name, target=f"/run/secrets/{name}") for name in layer.secrets)),
        network="host" if network else "none",
        outputs=(OutputPath(WHEELS, ""),),
        scratch=(*_WRITTEN, *layer.scratch),
        observer="python",
        observed=FrozenMap(
            {
                "python": target.python,
                "platform": target.platform,
                "libc": target.libc,
                "libc_version": ".".join(map(str, target.libc_version)),
                "wheels": " ".join(sorted(f"{build.name}=={build.version}" for build in builds)),
            }
        ),
    )
    info = vertex_info(layer, part, local=rootfs.host)
    return context.graph.add(Vertex(op, edges, context.platform, context.execution, info))


def observe_build(outputs: StepOutputs) -> Observation:
    """Every wheel that was promised is there, of the locked version, and fits the layer's interpreter."""
    observed = outputs.observed
    major, minor = (int(part) for part in observed["libc_version"].split("."))
    target = Target(observed["python"], observed["platform"], libc=observed["libc"], libc_version=(major, minor))
    built = _built(outputs.product)
    wrong = []
    for promise in observed["wheels"].split():
        name, _, wanted = promise.partition("==")
        filename, version = built.get(canonicalize_name(name), ("", None))
        if version is None:
            wrong.append(f"the step made no wheel of {name}")
            continue
        if wanted and _differs(version, wanted):
            wrong.append(f"the lock has {name} {wanted}, its sources built {version}")
        if target.best((filename,)) is None:
            wrong.append(
                f"{filename} does not fit Python {target.python} on {target.platform}: build it on that Python"
            )
    return Observation(integrity=tuple(wrong))


def _differs(version: Version, wanted: str) -> bool:
    try:
        return version != Version(wanted)
    except InvalidVersion:
        return True


def _built(product: FileSet | None) -> dict[str, tuple[str, Version]]:
    """Wheels of a product: canonical name to file name and version."""
    found: dict[str, tuple[str, Version]] = {}
    for entry in product or ():
        filename = entry.path.rpartition("/")[2]
        if entry.type is EntryType.FILE and filename.endswith(".whl"):
            try:
                name, version, _, _ = parse_wheel_filename(filename)
            except InvalidWheelFilename:
                continue
            found[name] = (filename, version)
    return found
