"""A cargo layer as vertices: ``NAME:deps`` compiles third-party packages, ``NAME`` the selected binary.

Both run on one root file system, at the fixed paths ``/lamella/src``, ``/lamella/target`` and
``/lamella/cargo``, with the command line, environment and target directory that one :class:`CargoSelection`
gives. The first leaves its work in the state that the second one holds next.
"""

from __future__ import annotations

import posixpath

from lamella.canonical import FrozenMap, digest_value
from lamella.graph.mount import BindMount, CacheMount, Mount, SecretMount, StateMount
from lamella.graph.op import Command, ExecOp, InlineFile, InlineOp, OutputPath, SourceOp
from lamella.graph.vertex import AllPaths, Input, RootfsOf, Vertex
from lamella.oci.platform import ANY
from lamella.project.spec import CargoSpec
from lamella.stacks.base import (
    SRC,
    LowerContext,
    Lowered,
    Placement,
    Requirement,
    Rootfs,
    layer_error,
    vertex_info,
)
from lamella.stacks.cargo.cfg import target_of
from lamella.stacks.cargo.choose import check_features, choose_binary, choose_package
from lamella.stacks.cargo.document import MANIFEST
from lamella.stacks.cargo.lockfile import LOCK
from lamella.stacks.cargo.matching import check_lock
from lamella.stacks.cargo.native import native_needs
from lamella.stacks.cargo.package import Package
from lamella.stacks.cargo.places import joined
from lamella.stacks.cargo.requests import Selected, requests_of
from lamella.stacks.cargo.rust import Toolchain, cross_linker, own_toolchain, toolchain_version
from lamella.stacks.cargo.selection import CARGO_HOME, TARGET, CargoSelection, split_flags
from lamella.stacks.cargo.settings import CargoSettings, ToolchainFile, read_settings, read_toolchain
from lamella.stacks.cargo.skeleton import DEPS_PACKAGE, STUB_MARKER, deps_skeleton
from lamella.stacks.cargo.sources import kept_patterns, package_patterns, with_linked
from lamella.stacks.cargo.staged import (
    Loaded,
    load_packages,
    own_entries,
    pruned_lock,
    staged_manifests,
    staged_package,
)
from lamella.stacks.cargo.tomltext import toml_text
from lamella.stacks.cargo.workspace import load_workspace
from lamella.stacks.files import need_mounts
from lamella.values import dataclass, replace

__all__ = ["lower_cargo"]

MADE = "/lamella/made"
"""Where a step finds the files that planning made; they are copied over the sources."""

_MADE_FILES = (f"**/{MANIFEST}", f"**/{LOCK}", "**/.lamella/**")
"""What a step lays over its sources, and the lock that Cargo cuts."""

_KEPT_MARK = posixpath.join(TARGET, ".lamella-kept")
"""In the target directory: digest of the kept packages that it was last compiled with."""

_FETCH = """
host=$(rustc -vV | sed -n 's/^host: //p')
exec cargo fetch --target "$host" "$@"
"""
"""Cuts the lock and downloads what the host and the target need, not the packages of every platform."""

_CHECK_LOCK = """
strange=$(grep -E '^(checksum|source) = ' "$1" | grep -vxF -f "$2")
[ -z "$strange" ] && exit 0
echo "Cargo wants packages that Cargo.lock does not hold:" >&2
echo "$strange" >&2
exit 1
"""
"""Fails when Cargo's cut lock ($1) holds a checksum or a source that the project's lock ($2) does not."""

_CHECK_STUB = """
grep -qaF -e "$1" "$2" || exit 0
echo "the binary $2 holds a stub of the dependency step" >&2
exit 1
"""

_MARK = 'printf "%s\\n" "$1" > "$2"'


@dataclass(frozen=True, slots=True)
class _Work:
    """A layer on its way to vertices."""

    context: LowerContext
    spec: CargoSpec
    loaded: Loaded
    package: Package
    selection: CargoSelection
    settings: CargoSettings
    toolchain: ToolchainFile | None
    rust: Toolchain
    rootfs: Rootfs

    @property
    def local(self) -> bool:
        """Whether results must stay on this machine."""
        native = any("target-cpu=native" in flag.replace(" ", "") for flag in self.selection.rustc_flags)
        return self.rootfs.host or native


def lower_cargo(context: LowerContext) -> Lowered:
    """The vertices of a cargo layer. Raises ConfigError for a wrong selection, a missing or a stale lock."""
    work = _prepare(context)
    check_lock(work.loaded.workspace, work.loaded.packages)
    deps = _deps_vertex(work)
    product = _build_vertex(work, deps)
    target = context.layer.to or f"/app/{work.selection.binary}"
    mode = "" if context.layer.mode is None else f"{context.layer.mode:04o}"
    placement = Placement(product, target, context.layer.owner, mode, rename=True, name=target)
    requirement = Requirement("glibc", "", f"binary {work.selection.binary}", work.rootfs.vertex)
    return Lowered(
        product=product,
        placements=(placement,),
        entrypoints=((target,),),
        requirements=() if "musl" in work.selection.target else (requirement,),
        notes=_notes(work),
        details=FrozenMap({"package": work.package.name, "binary": work.selection.binary, "deps": deps}),
    )


def _prepare(context: LowerContext) -> _Work:
    spec, layer = context.layer.spec, context.layer
    assert isinstance(spec, CargoSpec)  # noqa: S101 - the planner's table pairs kind and adapter
    _refuse_later_keys(context)
    directory = joined("", spec.dir)
    workspace = load_workspace(context.tree, directory)
    package = choose_package(workspace, layer, spec)
    check_features(layer, spec, package)
    settings = read_settings(context.tree, directory)
    loaded = load_packages(workspace, package.directory, spec.profile, settings.overrides)
    toolchain = read_toolchain(context.tree, directory)
    target = spec.target or settings.target
    rust = toolchain_version(context, toolchain, package.rust_version)
    rootfs = context.rootfs
    if rootfs is None:
        check_lock(workspace, loaded.packages)
        needs = native_needs(pruned_lock(loaded, [entry for _, entry in own_entries(loaded)]))
        rootfs = own_toolchain(
            context, rust, needs, target=target, linker=spec.linker or "", wrapper=spec.wrapper or ""
        )
    selection = _selection(context, spec, package, settings, rootfs)
    return _Work(context, spec, loaded, package, selection, settings, toolchain, rust, rootfs)


def _refuse_later_keys(context: LowerContext) -> None:
    for key in ("ssh", "services", "caches"):
        if getattr(context.layer, key):
            hint = "the package registry and the target directory are kept without it"
            raise layer_error(context.layer, f"'{key}' is not yet supported for cargo layers", hint=hint)


def _selection(
    context: LowerContext, spec: CargoSpec, package: Package, settings: CargoSettings, rootfs: Rootfs
) -> CargoSelection:
    """The one record; see :class:`CargoSelection`."""
    target = spec.target or settings.target
    linker = spec.linker or ("" if context.rootfs else cross_linker(target, context.execution))
    rustc, cargo = split_flags(spec.flags, linker)
    own = {name: str(value) for name, value in context.layer.env.items()}
    if rustc and "RUSTFLAGS" in own:  # the variable hides every configured flag, ours too
        own["RUSTFLAGS"] = " ".join((own["RUSTFLAGS"], *rustc))
        rustc = ()
    fixed = {"CARGO_HOME": CARGO_HOME, "CARGO_TARGET_DIR": TARGET, "CARGO_TERM_PROGRESS_WHEN": "never"}
    wrapper = {"RUSTC_WRAPPER": spec.wrapper} if spec.wrapper else {}
    if posixpath.basename(spec.wrapper or "") == "sccache":
        wrapper["SCCACHE_DIR"] = "/lamella/sccache"
    return CargoSelection(
        directory=joined("", spec.dir),
        package=package.name,
        binary=choose_binary(context.layer, spec, package),
        features=tuple(sorted(set(spec.features))),
        default_features=spec.default_features,
        profile=spec.profile,
        target=target,
        rustc_flags=rustc,
        cargo_flags=cargo,
        config_key="target.'cfg(all())'.rustflags" if settings.target_flags else "build.rustflags",
        env=rootfs.env.with_items({**wrapper, **own, **fixed}),
    )


# ---- the two steps ---------------------------------------------------------------------------------------------------


def _deps_vertex(work: _Work) -> str:
    """The step that compiles what is not the project's own; empty when there is nothing of that kind."""
    selection, context = work.selection, work.context
    selected = Selected(
        work.package.directory,
        selection.features,
        selection.default_features,
        work.loaded.workspace.resolver,
        target_of(selection.target, context.platform),
        target_of("", context.execution),
        work.loaded.kept,
    )
    files = deps_skeleton(work.loaded, requests_of(work.loaded.packages, selected))
    if not files:
        return ""
    if selection.directory != work.loaded.workspace.directory:  # Cargo starts there: configuration is found upwards
        files = (*files, InlineFile(selection.directory, directory=True))
    patterns = (*kept_patterns(work.loaded), *_common_patterns(work))
    build = selection.build(DEPS_PACKAGE, DEPS_PACKAGE, with_features=False, capture="cargo")
    lock = posixpath.join(SRC, work.loaded.workspace.lock_path)
    return _step(work, "deps", files, patterns, (build,), OutputPath(lock, LOCK), ())


def _build_vertex(work: _Work, deps: str) -> str:
    """The step that compiles the binary with the project's real files."""
    selection, context = work.selection, work.context
    products = [
        target for needed in context.needs for target in needed.need.paths.values() if not target.startswith("/")
    ]
    patterns = (
        *package_patterns(work.loaded, products=products),
        *_common_patterns(work),
        *context.layer.inputs,
    )
    build = selection.build(selection.package, selection.binary, with_features=True, capture="cargo")
    no_stub = Command(("sh", "-c", _CHECK_STUB, "sh", STUB_MARKER, selection.output))
    edges = (Input(deps, AllPaths(), f"{context.layer.name}:deps"),) if deps else ()
    output = OutputPath(selection.output, selection.binary)
    return _step(work, "", staged_manifests(work.loaded), patterns, (build, no_stub), output, edges)


def _common_patterns(work: _Work) -> tuple[str, ...]:
    """Files that act on every compile: configuration, toolchain, vendored registries, a target's description."""
    found = [*work.settings.files, *(f"{directory}/**" for directory in work.settings.directories)]
    if work.toolchain is not None:
        found.append(work.toolchain.path)
    if work.selection.target.endswith(".json"):
        found.append(joined(work.selection.directory, work.selection.target))
    return tuple(found)


def _step(
    work: _Work,
    part: str,
    files: tuple[InlineFile, ...],
    patterns: tuple[str, ...],
    commands: tuple[Command, ...],
    output: OutputPath,
    edges: tuple[Input, ...],
) -> str:
    """One step: sources, then what planning made over them, then Cargo."""
    context, name = work.context, part or "build"
    made = context.graph.add(Vertex(InlineOp(files), (), ANY, ANY, vertex_info(context.layer, f"{name} manifests")))
    inputs = [Input(work.rootfs.vertex, RootfsOf(), "rootfs"), Input(made, AllPaths(), f"{name} manifests")]
    mounts: list[Mount] = [BindMount(1, MADE)]
    if patterns:
        patterns = with_linked(context.tree, patterns)
        source = context.graph.add(
            Vertex(SourceOp(patterns), (), ANY, ANY, vertex_info(context.layer, f"{name} sources"))
        )
        inputs.append(Input(source, AllPaths(), "sources"))
    mounts.append(BindMount(len(inputs) - 1, SRC, touch=True))
    if not part:
        need_inputs, need_binds = need_mounts(context, first=len(inputs))
        inputs += need_inputs
        mounts += [replace(bind, touch=True) for bind in need_binds]
    inputs += edges
    op = ExecOp(
        commands=(*_before(work), *commands, *_after(work)),
        env=work.selection.env,
        cwd=SRC,
        mounts=(*mounts, *_kept_mounts(work)),
        network="host" if context.layer.network and not part else "none",
        outputs=(output,),
        scratch=(*_MADE_FILES, *context.layer.scratch),
        observer="cargo",
        observed=_observed(work, part),
    )
    info = vertex_info(context.layer, part, local=work.local)
    return context.graph.add(Vertex(op, tuple(inputs), context.platform, context.execution, info))


def _kept_mounts(work: _Work) -> tuple[Mount, ...]:
    """Target directory, Cargo's home, secrets."""
    folders = tuple(f"{directory}/**" for directory in work.settings.directories)
    vendored = work.context.tree.digest(folders) if folders else ""
    mounts: list[Mount] = [
        StateMount(work.selection.state_id(work.context.project, work.rootfs.vertex, vendored), TARGET),
        CacheMount("cargo-home", CARGO_HOME),
    ]
    if "SCCACHE_DIR" in work.selection.env:
        mounts.append(CacheMount("sccache", work.selection.env["SCCACHE_DIR"]))
    mounts += [SecretMount(name, target=f"/run/secrets/{name}") for name in work.context.layer.secrets]
    return tuple(mounts)


def _observed(work: _Work, part: str) -> FrozenMap[str, str]:
    """What ``observe`` must know: directories of own packages that are to stay fresh, and the binary."""
    kept = "\n".join(sorted(posixpath.join(SRC, directory) for directory in work.loaded.kept))
    return FrozenMap({"step": part or "build", "kept": kept, "binary": "" if part else work.selection.output})


def _before(work: _Work) -> tuple[Command, ...]:
    """Lays the made files over the sources, lets Cargo cut the lock and fetch, checks what it did."""
    workspace, selection = work.loaded.workspace, work.selection
    lock, given = (posixpath.join(place, workspace.lock_path) for place in (SRC, MADE))
    fetch = ("sh", "-c", _FETCH, "sh", *(("--target", selection.target) if selection.target else ()))
    return (
        Command(("rm", "-f", *(posixpath.join(CARGO_HOME, name) for name in ("config", "config.toml")))),
        Command(("cp", "-R", f"{MADE}/.", SRC)),
        *_settle_kept(work),
        selection.command(fetch, network=True, unless=(*fetch, "--offline")),
        Command(("sh", "-c", _CHECK_LOCK, "sh", lock, given)),
        *_forget_kept(work),
    )


def _kept_digest(work: _Work) -> str:
    """Digest of everything that is compiled of kept packages: their files and their staged manifests."""
    manifests = tuple(staged_package(work.loaded, package) for package in work.loaded.kept_packages)
    return digest_value((work.context.tree.digest(kept_patterns(work.loaded)), toml_text({"kept": manifests})))


def _settle_kept(work: _Work) -> tuple[Command, ...]:
    """Kept packages get one constant old time: their freshness is decided by their digest, see
    :func:`_forget_kept`.
    """
    if not work.loaded.kept:
        return ()
    places = tuple(sorted(posixpath.join(SRC, directory) for directory in work.loaded.kept))
    return (Command(("find", *places, "-exec", "touch", "--no-dereference", "--date=@946684800", "{}", "+")),)


def _forget_kept(work: _Work) -> tuple[Command, ...]:
    """When the target directory was last filled with other bytes of the kept packages, Cargo forgets them.

    The mark is removed first and written after a good build, so that a step that died in between counts as unknown.
    """
    if not work.loaded.kept:
        return ()
    same = ("grep", "-qxF", "-e", _kept_digest(work), _KEPT_MARK)
    names = tuple(part for package in work.loaded.kept_packages for part in ("--package", package.name))
    clean = ("cargo", "clean", "--locked", "--offline", *work.selection.places, *names)
    return (Command(("rm", "-f", _KEPT_MARK), unless=same), work.selection.command(clean, unless=same))


def _after(work: _Work) -> tuple[Command, ...]:
    if not work.loaded.kept:
        return ()
    return (Command(("sh", "-c", _MARK, "sh", _kept_digest(work), _KEPT_MARK)),)


def _notes(work: _Work) -> tuple[str, ...]:
    """What a plan should say beforehand."""
    layer, profile = work.context.layer, work.loaded.workspace.root.table("profile").get(work.spec.profile, {})
    found: list[str] = []
    if isinstance(profile, dict) and profile.get("lto") in {True, "fat"}:
        found.append(
            f"profile {work.spec.profile} has fat LTO: linking repeats the dependencies' work at every change; "
            'lto = "thin" or "off" in a profile for development avoids that'
        )
    if moving := sorted({"commit", "date", "version"} & set(layer.variables)):
        found.append(
            f"{', '.join(moving)} in it: every new value compiles the dependencies again; "
            "put it into labels or the image's env"
        )
    if work.spec.volatile:
        names = ", ".join(work.spec.volatile)
        found.append(f"'volatile' is not yet in force: {names} is reused as long as its inputs are equal")
    if work.local and not work.rootfs.host:
        found.append("target-cpu=native binds the result to this machine")
    if not work.rust.pinned and work.context.rootfs is None:
        found.append(
            f"Rust {work.rust.version} ({work.rust.origin}) is no fixed version; write a rust-toolchain.toml to pin it"
        )
    return tuple(f"layer {layer.name}: {note}" for note in found)
