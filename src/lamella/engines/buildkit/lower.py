"""From a phase to what buildx is given: a Dockerfile, scripts for the context, the bake file, and what comes back.

The simplest form that all levels understand is used for all of them: one context with folders, root file systems as
tars that ADD unpacks, one RUN per step. Equal phases give equal bytes: nothing of this machine and no time is in them.
"""

from __future__ import annotations

from lamella.canonical import FrozenMap
from lamella.engines.buildkit import script as scripts
from lamella.engines.buildkit.bakefile import bake_file
from lamella.engines.buildkit.dockerfile import (
    Add,
    Copy,
    From,
    Instruction,
    Run,
    User,
    Workdir,
    dockerfile_text,
)
from lamella.engines.buildkit.levels import Level
from lamella.engines.buildkit.mounts import (
    CA_FOLDER,
    GIVEN,
    StepMounts,
    cache_id,
    context_file,
    is_root,
    secret_variable,
)
from lamella.engines.buildkit.phase import Lowered, LowerOptions, Phase, Target
from lamella.errors import InternalError, SandboxError
from lamella.graph.mount import BindMount
from lamella.graph.op import ExecOp, HostOp, ScratchOp

__all__ = ["cache_id", "lower", "mark_of", "network_of", "short_key"]

_STUBS = ("/dev", "/etc/hosts", "/etc/resolv.conf", "/lamella", "/proc", "/sys")
"""What BuildKit mounts in every step, and our own folder: places that may be left empty in a root file system."""
_SCRIPTS = "scripts"
_PACKAGES_SCRIPT = f"{_SCRIPTS}/packages"


def short_key(key: str) -> str:
    """The part of a definition key that names stages, files and marks."""
    return key.removeprefix("sha256:")[:16]


def mark_of(key: str) -> str:
    """What begins the lines that a step's script writes for the engine."""
    return f"lamella-step:{short_key(key)}"


def network_of(op: ExecOp) -> str:
    """``open`` when any command of a step needs the network, since BuildKit knows one mode per step; else ``none``."""
    return "open" if op.network != "none" or any(command.network for command in op.commands) else "none"


def lower(phase: Phase, level: Level, options: LowerOptions) -> Lowered:
    """Lowers a phase for a builder of ``level``.

    Raises SandboxError for what that level cannot do (per-step network on 0.8 without ``allow_network``, root file
    systems of the host), HostileInputError for paths that a Dockerfile cannot hold, ConfigError for a secret without
    a value.
    """
    if not phase.steps:
        raise InternalError("a phase without steps has nothing to run")
    lowering = _Lowering(phase, level, options)
    for key in phase.steps:
        lowering.step(key)
    targets = lowering.targets()
    dockerfile = dockerfile_text(tuple(lowering.instructions), level)
    return Lowered(
        dockerfile=dockerfile,
        files=FrozenMap(lowering.files),
        bake=bake_file(
            dockerfile,
            lowering.exported,
            targets,
            lowering.bases,
            options,
            level=level,
            platform=phase.definition[phase.steps[0]].execution,
            network=lowering.target_network,
            secrets=lowering.secrets,
        ),
        targets=targets,
        secrets=FrozenMap(lowering.secrets),
        allow=("network.host",) if lowering.target_network == "host" else (),
        stages=FrozenMap(lowering.stages),
        open_network=lowering.open_network,
        notes=lowering.notes(),
    )


class _Lowering:
    """Collects stages, files and secrets of one phase. ``stages`` maps names to definition keys, ``exported`` names of
    targets to stages, ``bases`` names of stages that other targets make to their tars.
    """

    def __init__(self, phase: Phase, level: Level, options: LowerOptions) -> None:
        self._phase = phase
        self._level = level
        self._options = options
        self._names: dict[str, str] = {}
        self._copies: dict[str, str] = {}
        self.instructions: list[Instruction] = []
        self.files: dict[str, bytes] = {}
        self.stages: dict[str, str] = {}
        self.exported: dict[str, str] = {}
        self.bases: dict[str, str] = {}
        self.secrets: dict[str, str] = {}
        self._mounts = StepMounts(phase, level, lambda key: self._copies.get(key) or self._names[key])
        self._ops = {key: self._op(key) for key in phase.steps}
        if not level.firm_readonly:
            self._copy_given()
        self.open_network = self._forced_open()
        self.target_network = self._target_network()

    # -- network -----------------------------------------------------------------------------------------------------

    def _forced_open(self) -> frozenset[str]:
        """Steps whose network cannot be closed because another one of the phase needs it (DESIGN 7b.11)."""
        closed = frozenset(key for key, op in self._ops.items() if network_of(op) == "none")
        if self._level.run_network or not closed or len(closed) == len(self._ops):
            return frozenset()
        if not self._options.allow_network:
            names = ", ".join(sorted({self._phase.definition[key].info.name for key in closed}))
            raise SandboxError(
                f"{self._level} cannot close the network of single steps, and {names} must run without it",
                hint="use a newer builder, or --allow-network, which the records will say; or --engine local",
            )
        return closed

    def _target_network(self) -> str:
        """The mode of whole targets; a step's own ``none`` goes before it (BuildKit 0.9 and newer)."""
        if all(network_of(op) == "none" for op in self._ops.values()):
            return "none"
        return self._options.network

    def _run_network(self, op: ExecOp) -> str:
        return "none" if self._level.run_network and network_of(op) == "none" else ""

    def notes(self) -> tuple[str, ...]:
        """What the user should know, once for the phase."""
        definition = self._phase.definition
        found = []
        opened = [k for k, op in self._ops.items() if op.network == "none" and network_of(op) == "open"]
        if opened:
            names = ", ".join(dict.fromkeys(definition[key].info.name for key in opened))
            found.append(f"BuildKit opens the network for a whole step, so all commands of these have it: {names}")
        if self.open_network:
            names = ", ".join(dict.fromkeys(definition[k].info.name for k in self._ops if k in self.open_network))
            found.append(f"{self._level} cannot close the network of single steps, so these have it too: {names}")
        return tuple(found)

    # -- stages ------------------------------------------------------------------------------------------------------

    def _op(self, key: str) -> ExecOp:
        vertex = self._phase.definition[key]
        if not isinstance(vertex.op, ExecOp):
            raise InternalError(f"vertex {vertex.info.name!r} is no step and cannot be in a phase")
        if vertex.execution != self._phase.definition[self._phase.steps[0]].execution:
            raise InternalError("steps of one phase have one execution platform")
        return vertex.op

    def _copy_given(self) -> None:
        """Scripts and CA bundle in a stage of their own, see ``mounts.context_file``."""
        self.instructions += [From("scratch", GIVEN), Copy("", f"{_SCRIPTS}/", f"/{_SCRIPTS}/")]
        if self._options.ca_bundle:
            self.instructions.append(Copy("", self._options.ca_bundle, f"/{self._options.ca_bundle}"))

    def step(self, key: str) -> None:
        """The stage of a step, once."""
        if key in self._names:
            return
        op, path = self._ops[key], f"{_SCRIPTS}/{short_key(key)}"
        self._refuse(key, op)
        vertex = self._phase.definition[key]
        below = self._rootfs(vertex.inputs[0].vertex)
        for number in sorted({mount.input for mount in op.mounts if isinstance(mount, BindMount)}):
            self._bound(vertex.inputs[number].vertex)
        self._open_stage(below, f"step-{short_key(key)}", key)
        if op.outputs and not is_root(op):
            self._give_folder(op)
        self.instructions += [
            User(op.user),
            Workdir("/"),
            Run(
                ("/bin/sh", scripts.STEP_PATH), self._mounts.of(key, op, path, self._bundle(op)), self._run_network(op)
            ),
        ]
        for mount in scripts.given_secrets(op, self._phase.secrets):
            self.secrets[mount.id] = secret_variable(mount.id)
        self.files[path] = scripts.step_script(self._script(key, op))

    def _bound(self, key: str) -> None:
        """The stage of what a step binds, which must stand before the step's own."""
        if key in self._phase.inputs:
            if key not in self._copies:
                name = self._copies[key] = f"input-{short_key(key)}"
                self.stages[name] = key
                self.instructions.append(From("scratch", name))
                self.instructions.append(Copy("", f"{self._phase.inputs[key]}/", "/"))
        elif key in self._ops:
            self.step(key)

    def _refuse(self, key: str, op: ExecOp) -> None:
        """What this engine cannot do with any level."""
        name = self._phase.definition[key].info.name
        if not op.outputs and any(command.capture for command in op.commands):
            raise SandboxError(
                f"{name} captures output but has no product to carry it out of BuildKit", hint="use --engine local"
            )
        touches = any(isinstance(mount, BindMount) and mount.touch for mount in op.mounts)
        if touches and not is_root(op):
            raise SandboxError(
                f"{name} runs as {op.user}, who may not set new times on its sources on BuildKit",
                hint="run it as root, or use --engine local",
            )

    def _script(self, key: str, op: ExecOp) -> scripts.StepScript:
        return scripts.StepScript(
            op=op,
            mark=mark_of(key),
            secrets=self._phase.secrets,
            step_env=self._options.step_env,
            ca_bundle=bool(self._bundle(op)),
            nonce=self._phase.nonce if key in self._phase.forced else "",
        )

    def _bundle(self, op: ExecOp) -> str:
        return self._options.ca_bundle if network_of(op) == "open" else ""

    def _give_folder(self, op: ExecOp) -> None:
        """A place for outputs that the step's user may write."""
        program = f'mkdir -p {scripts.OUT} && chown "$0" {scripts.OUT}'
        self.instructions += [
            User("0:0"),
            Workdir("/"),
            Run(("/bin/sh", "-c", program, op.user), network="none" if self._level.run_network else ""),
        ]

    def _open_stage(self, base: str, name: str, key: str) -> None:
        self.instructions.append(From(base, name))
        self._names[key] = name
        self.stages[name] = key

    def _rootfs(self, key: str) -> str:
        """The stage of a root file system, made when it is not there yet."""
        if key in self._names:
            return self._names[key]
        if key in self._ops:
            self.step(key)
        elif key in self._phase.bases:
            self._base(key)
        elif key in self._phase.added:
            below = self._rootfs(self._phase.definition[key].inputs[0].vertex)
            self._open_stage(below, f"layer-{short_key(key)}", key)
            self.instructions.append(Add(self._phase.added[key], "/"))
        else:
            self._missing_base(key)
        return self._names[key]

    def _base(self, key: str) -> None:
        base = self._phase.bases[key]
        name = f"base-{short_key(key)}"
        match base.kind:
            case "image":
                if "@sha256:" not in base.value:
                    raise InternalError(f"base {base.value!r} is not pinned by digest")
                self._open_stage(base.value, name, key)
            case "tar" if self._level.named_contexts:
                self._names[key] = name
                self.stages[name] = key
                self.bases[name] = base.value
            case "tar":
                self._open_stage("scratch", name, key)
                self.instructions.append(Add(base.value, "/"))
            case "scratch":
                self._open_stage("scratch", name, key)
            case _:
                raise InternalError(f"a base of kind {base.kind!r} is unknown")

    def _missing_base(self, key: str) -> None:
        vertex = self._phase.definition[key]
        if isinstance(vertex.op, HostOp):
            raise SandboxError(
                f"{vertex.info.name} are the tools of this host, which a BuildKit builder does not have",
                hint="leave out host = true, or use --engine local",
            )
        if not isinstance(vertex.op, ScratchOp):
            raise InternalError(f"root file system {vertex.info.name!r} is neither in the phase nor handed in")
        self._open_stage("scratch", f"base-{short_key(key)}", key)

    # -- what comes back ---------------------------------------------------------------------------------------------

    def targets(self) -> tuple[Target, ...]:
        """Exports, in the order of the steps; adds the stages that they need."""
        found: list[Target] = []
        for key in self._phase.steps:
            if key in self._phase.products:
                found.append(self._product(key))
            if key in self._phase.identities:
                found.append(self._packages(key))
            if key in self._phase.rootfs:
                name = f"rootfs-{short_key(key)}"
                self.exported[name] = self._names[key]
                found.append(Target(name, key, "rootfs", f"{name}.tar", stubs=self._stubs(key)))
        wanted = self._phase.products | self._phase.identities | self._phase.rootfs
        if not wanted <= self._ops.keys():
            raise InternalError("only what a phase makes can be wanted back from it")
        return tuple(found)

    def _product(self, key: str) -> Target:
        name = f"product-{short_key(key)}"
        self.exported[name] = name
        self.instructions += [From("scratch", name), Copy(self._names[key], f"{scripts.OUT}/", "/")]
        return Target(name, key, "product", f"{name}.tar", evidence=scripts.evidence_files(self._ops[key]))

    def _packages(self, key: str) -> Target:
        """A stage that reads the package databases, and one with just what it found."""
        name = f"packages-{short_key(key)}"
        self.exported[name] = name
        self.files[_PACKAGES_SCRIPT] = scripts.packages_script()
        bind = context_file(_PACKAGES_SCRIPT, scripts.STEP_PATH, self._level)
        network = "none" if self._level.run_network else ""
        self.instructions += [
            From(self._names[key], f"read-{short_key(key)}"),
            User("0:0"),
            Workdir("/"),
            Run(("/bin/sh", scripts.STEP_PATH), (bind,), network),
            From("scratch", name),
            Copy(f"read-{short_key(key)}", f"{scripts.OUT}/", "/"),
        ]
        return Target(name, key, "packages", f"{name}.tar")

    def _stubs(self, key: str) -> tuple[str, ...]:
        """Places for mounts of this step and of those below it in the phase."""
        places = set(_STUBS)
        while key in self._ops:
            op = self._ops[key]
            places |= {mount.target for mount in op.mounts if mount.target}
            places |= {CA_FOLDER} if self._bundle(op) else set()
            key = self._phase.definition[key].inputs[0].vertex
        return tuple(sorted(places))
