"""Steps that turn folders of the project, pinned commits and source archives into wheels.

pip builds them in isolation (PEP 517), so the build backend comes over the network and the step is not hermetic; what
it makes is still checked: the wheel must be of the locked version and fit the layer's interpreter.
"""

from __future__ import annotations

import posixpath

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from lamella.canonical import FrozenMap
from lamella.graph.fileset import EntryType, FileSet
from lamella.graph.mount import BindMount, SecretMount
from lamella.graph.op import Command, ExecOp, InlineFile, InlineOp, OutputPath, SourceOp
from lamella.graph.vertex import AllPaths, Input, RootfsOf, Vertex
from lamella.oci.platform import ANY
from lamella.sources.wheel_tags import Target
from lamella.stacks.base import (
    SRC,
    LowerContext,
    Observation,
    Rootfs,
    StepOutputs,
    layer_error,
    vertex_info,
)
from lamella.stacks.files import need_mounts
from lamella.stacks.python.resolved import SourceBuild
from lamella.stacks.toolchain import own_rootfs

__all__ = ["build_vertices", "observe_build", "source_patterns"]

WHEELS = "/lamella/wheels"
"""Where a build step leaves its wheels."""

LIST = "/lamella/sdists"

PIP_ENV = FrozenMap(
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

_WRITTEN = ("**/build/**", "**/dist/**", "**/*.egg-info/**", "**/__pycache__/**", "**/*.so", "**/_version.py")
"""What build backends write into the sources."""


def source_patterns(folder: str, extra: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Globs of a package's sources: its folder without what cannot matter, and the layer's ``inputs``."""
    whole = "**" if folder in ("", ".") else f"{folder}/**"
    return (whole, *(f"!{pattern}" for pattern in _NEVER_BUILT), *extra)


def build_vertices(context: LowerContext, builds: tuple[SourceBuild, ...], target: Target) -> tuple[str, ...]:
    """One step per folder of the project (they change often) and one for everything from elsewhere."""
    if not builds:
        return ()
    rootfs = _toolchain(context, builds)
    vertices = [_folder_step(context, rootfs, build, target) for build in builds if build.folder]
    foreign = tuple(build for build in builds if not build.folder)
    if foreign:
        vertices.insert(0, _foreign_step(context, rootfs, foreign, target))
    return tuple(vertices)


def _toolchain(context: LowerContext, builds: tuple[SourceBuild, ...]) -> Rootfs:
    """What ``on`` names, else a Debian with pip; a compiler only where foreign sources are built."""
    if context.rootfs is not None:
        return context.rootfs
    packages = ["ca-certificates", "python3", "python3-pip"]
    if any(not build.folder for build in builds):
        packages += ["build-essential", "python3-dev"]
    if any(build.direct for build in builds):
        packages.append("git")
    return own_rootfs(context, packages=tuple(packages))


def _folder_step(context: LowerContext, rootfs: Rootfs, build: SourceBuild, target: Target) -> str:
    """The wheel of one folder of the project."""
    layer = context.layer
    if not context.tree.exists(build.folder):
        raise layer_error(layer, f"folder {build.folder!r} of package {build.name!r} is not there")
    op = SourceOp(source_patterns(build.folder, layer.inputs))
    source = context.graph.add(Vertex(op, (), ANY, ANY, vertex_info(layer, f"{build.name} source")))
    needed, mounts = need_mounts(context, first=2)
    edges = (rootfs.edge(RootfsOf()), Input(source, AllPaths(), "sources"), *needed)
    folder = posixpath.normpath(f"{SRC}/{build.folder}")
    return _step(
        context,
        rootfs,
        edges,
        (BindMount(1, SRC), *mounts),
        (*PIP, folder),
        (build,),
        target,
        part=f"{build.name} wheel",
    )


def _foreign_step(context: LowerContext, rootfs: Rootfs, builds: tuple[SourceBuild, ...], target: Target) -> str:
    """The wheels of source archives and commits, named with their hashes in a requirement file."""
    lines = []
    for build in builds:
        if build.direct:
            lines.append(build.direct)
        elif build.sdist and build.sdist.url:
            lines.append(f"{build.name} @ {build.sdist.url}#sha256={build.sdist.sha256}")
        elif build.sdist:
            lines.append(f"{build.name}=={build.version} --hash=sha256:{build.sdist.sha256}")
    text = "".join(f"{line}\n" for line in lines)
    inline = InlineOp((InlineFile("requirements.txt", text.encode()),))
    listed = context.graph.add(Vertex(inline, (), ANY, ANY, vertex_info(context.layer, "sdists list")))
    edges = (rootfs.edge(RootfsOf()), Input(listed, AllPaths(), "sdists"))
    argv = (*PIP, "--no-binary", ",".join(build.name for build in builds), "--requirement", f"{LIST}/requirements.txt")
    return _step(context, rootfs, edges, (BindMount(1, LIST),), argv, builds, target, part="sdists wheel")


def _step(
    context: LowerContext,
    rootfs: Rootfs,
    edges: tuple[Input, ...],
    mounts: tuple[BindMount, ...],
    argv: tuple[str, ...],
    builds: tuple[SourceBuild, ...],
    target: Target,
    *,
    part: str,
) -> str:
    layer = context.layer
    env = rootfs.env.with_items(PIP_ENV).with_items({name: str(value) for name, value in layer.env.items()})
    op = ExecOp(
        commands=(Command(("mkdir", "-p", WHEELS)), Command(argv)),
        env=env,
        mounts=(*mounts, *(SecretMount(name, target=f"/run/secrets/{name}") for name in layer.secrets)),
        network="host",
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
