"""From a step as the solver knows it to a job as the helper can do it: directories, environments, secrets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from lamella.engines.local.certificates import CA_TARGET
from lamella.engines.local.environment import command_environment
from lamella.engines.local.jobs import (
    CommandJob,
    DirectoryMount,
    InputMount,
    OutputJob,
    RootfsJob,
    SecretFile,
    StepJob,
    TmpfsJob,
)
from lamella.engines.local.values import Chain, RunnerSettings, SnapshotInput, StepSpec
from lamella.errors import ConfigError, InternalError
from lamella.graph.mount import BindMount, CacheMount, SecretMount, StateMount, TmpfsMount
from lamella.graph.op import Command
from lamella.store.snapshots import Snapshot, missing_snapshot
from lamella.store.store import Store
from lamella.values import dataclass, replace

__all__ = ["StepContext", "shell_spec", "step_job"]

_SHELL = ("sh", "-c", "if command -v bash >/dev/null; then exec bash --norc -i; else exec sh -i; fi")
"""No start-up files: they would put another PATH in place of the step's."""


@dataclass(frozen=True, slots=True)
class StepContext:
    """Where a step is prepared: ``folder`` is its own, ``result`` in it takes what it makes."""

    store: Store
    settings: RunnerSettings
    folder: Path
    result: Path


def step_job(
    spec: StepSpec, context: StepContext, stack: ExitStack, *, terminal: bool = False
) -> tuple[StepJob, dict[str, Path]]:
    """The job, and the files by evidence name that its commands fill.

    States and caches are held until ``stack`` closes. Raises ConfigError for a secret or bundle that is not there,
    IntegrityError for a snapshot that is gone, StoreBusyError when a state is not let go.
    """
    op, settings = spec.op, context.settings
    bundle = _bundle(settings)
    directories = _directories(spec, context, stack)
    captures: dict[str, Path] = {}
    secret_env = _secret_variables(spec)
    commands = tuple(_command(spec, command, settings, secret_env, context, captures) for command in op.commands)
    job = StepJob(
        folder=str(context.folder),
        result=str(context.result),
        rootfs=_rootfs(spec, context),
        commands=commands,
        user=op.user,
        inputs=_inputs(spec, context, directories, stack),
        directories=directories,
        tmpfs=tuple(TmpfsJob(mount.target, mount.size) for mount in op.mounts if isinstance(mount, TmpfsMount)),
        secrets=_secret_files(spec),
        outputs=() if terminal else tuple(OutputJob(output.source, output.target) for output in op.outputs),
        scratch=op.scratch,
        ca_bundle=bundle,
        ca_target=CA_TARGET,
        masks=tuple(value for _, value in sorted(spec.secrets.items())),
        memory=spec.memory or settings.memory,
        processes=settings.processes,
        terminal=terminal,
    )
    return job, captures


def shell_spec(spec: StepSpec) -> StepSpec:
    """The step with a shell in place of its commands; the network is as open as any of them has it."""
    network = any(command.network for command in spec.op.commands)
    cwd = spec.op.commands[-1].cwd if spec.op.commands else ""
    shell = Command(_SHELL, network=network, cwd=cwd)
    env = spec.op.env.with_items({"PS1": f"{spec.name}:\\w\\$ ", "TERM": "xterm-256color"})
    return replace(spec, op=replace(spec.op, commands=(shell,), outputs=(), env=env))


def _rootfs(spec: StepSpec, context: StepContext) -> RootfsJob:
    if not isinstance(spec.rootfs, Chain):
        return RootfsJob(host=spec.rootfs.binds)
    return RootfsJob(lowers=tuple(_tree(context.store, identity) for identity in spec.rootfs.snapshots))


def _tree(store: Store, identity: str) -> str:
    return str(_snapshot(store, identity).path)


def _snapshot(store: Store, identity: str) -> Snapshot:
    found = store.snapshots.find(identity)
    if found is None:
        raise missing_snapshot(identity)
    return found


def _command(
    spec: StepSpec,
    command: Command,
    settings: RunnerSettings,
    secret_env: Mapping[str, str],
    context: StepContext,
    captures: dict[str, Path],
) -> CommandJob:
    network = command.network or spec.op.network == "host"
    env = command_environment(
        spec.op.env,
        network=network,
        step_env=settings.step_env,
        with_bundle=settings.ca_bundle is not None,
        secrets=secret_env,
    )
    capture = ""
    if command.capture:
        path = captures.setdefault(command.capture, context.folder / f"capture-{len(captures)}")
        capture = str(path)
    cwd = command.cwd or spec.op.cwd or "/"
    return CommandJob(command.argv, env, cwd, network, command.unless, capture)


def _bundle(settings: RunnerSettings) -> bytes:
    if settings.ca_bundle is None:
        return b""
    try:
        data = settings.ca_bundle.read_bytes()
    except OSError as error:
        raise ConfigError(f"CA bundle {settings.ca_bundle} cannot be read: {error.strerror}") from error
    if b"-----BEGIN " not in data:
        raise ConfigError(f"CA bundle {settings.ca_bundle} holds no certificate in PEM form")
    return data


def _directories(spec: StepSpec, context: StepContext, stack: ExitStack) -> tuple[DirectoryMount, ...]:
    """States and caches, held in the order of their ids so that two steps cannot wait for each other."""
    held: list[DirectoryMount] = []
    wanted = [mount for mount in spec.op.mounts if isinstance(mount, (StateMount, CacheMount))]
    for mount in sorted(wanted, key=lambda mount: (mount.kind, mount.id)):
        is_state = isinstance(mount, StateMount)
        if spec.fresh_states:
            path = context.folder / f"fresh-{len(held)}"
            path.mkdir(mode=0o755)
        elif isinstance(mount, StateMount):
            path = stack.enter_context(context.store.states.hold(mount.id, label=spec.name))
        else:
            path = stack.enter_context(context.store.caches.hold(mount.id, mount.sharing, label=spec.name))
        held.append(DirectoryMount(mount.target, str(path), stamp=is_state))
    return tuple(held)


def _inputs(
    spec: StepSpec, context: StepContext, directories: tuple[DirectoryMount, ...], stack: ExitStack
) -> tuple[InputMount, ...]:
    after = max((os.stat(mount.path).st_mtime_ns for mount in directories if mount.stamp), default=0)
    binds = [mount for mount in spec.op.mounts if isinstance(mount, BindMount)]
    return tuple(replace(_input(spec, mount, context, stack), touch=mount.touch, after=after) for mount in binds)


def _input(spec: StepSpec, mount: BindMount, context: StepContext, stack: ExitStack) -> InputMount:
    """A product is mounted as it lies in the store, unless its times shall be new; sources are always copied."""
    given = spec.inputs.get(mount.input)
    if given is None:
        raise InternalError(f"{spec.name}: input {mount.input} of the mount at {mount.target} was not handed in")
    if isinstance(given, SnapshotInput):
        found = _snapshot(context.store, given.id)
        manifest = str(found.folder / "manifest") if mount.touch else ""
        return InputMount(mount.target, str(found.path), mount.source, manifest)
    path = context.folder / f"fileset-{mount.input}"
    path.write_bytes(given.fileset.to_bytes())
    stage = ""
    if not spec.fresh_states:
        name = f"stage {given.root} {spec.name} {mount.target}"
        stage = str(stack.enter_context(context.store.caches.hold(name, "private", label=f"stage of {spec.name}")))
    return InputMount(mount.target, str(given.root), mount.source, str(path), stage)


def _secret_files(spec: StepSpec) -> tuple[SecretFile, ...]:
    return tuple(
        SecretFile(mount.target, spec.secrets[mount.id])
        for mount in spec.op.mounts
        if isinstance(mount, SecretMount) and mount.target and _is_given(spec, mount)
    )


def _secret_variables(spec: StepSpec) -> dict[str, str]:
    return {
        mount.env: spec.secrets[mount.id].decode("utf-8", "surrogateescape").rstrip("\n")
        for mount in spec.op.mounts
        if isinstance(mount, SecretMount) and mount.env and _is_given(spec, mount)
    }


def _is_given(spec: StepSpec, mount: SecretMount) -> bool:
    if mount.id in spec.secrets:
        return True
    if mount.optional:
        return False
    raise ConfigError(
        f"{spec.name} needs secret {mount.id!r}, which has no value", hint=f"give --secret id={mount.id},env=NAME"
    )
