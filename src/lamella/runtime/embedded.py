"""Starts a container with the embedded engine's helper: no daemon, the host's network, nothing left behind."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from lamella.engines.local.container import ContainerBind, ContainerJob
from lamella.engines.local.helper import Helper
from lamella.engines.local.values import BaseLayer, LayerBlob
from lamella.errors import ConfigError, SandboxError
from lamella.host.probes import emulator, machine, platform_of
from lamella.images.stored import StoredImage
from lamella.runtime.health import is_answering
from lamella.runtime.values import Container, Volume
from lamella.store.snapshots import missing_snapshot
from lamella.store.store import Store
from lamella.values import dataclass

__all__ = ["EmbeddedParts", "Launch", "check_embedded", "prepare", "run_launch"]

Unpack = Callable[[tuple[LayerBlob, ...]], tuple[BaseLayer, ...]]


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything that starts a container, in a form that can be handed to another process.

    ``store`` is the store's directory, ``snapshots`` ids of unpacked layers, lowest first, ``writable`` targets of
    volumes that go with the container, ``host_env`` the environment for programs of the host.
    """

    store: str
    host_env: dict[str, str]
    snapshots: tuple[str, ...]
    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    user: str
    binds: tuple[ContainerBind, ...]
    writable: tuple[str, ...]
    read_only: bool
    network: bool
    hostname: str
    memory: int
    stop: int
    terminal: bool


@dataclass(frozen=True, slots=True)
class EmbeddedParts:
    """What the runtime works with. ``unpack`` makes layers snapshots of the store, ``volumes`` is the directory of
    named volumes, ``snapshots`` maps diff_ids of layers to snapshots that hold the same and are there already.
    """

    store: Store
    unpack: Unpack
    volumes: Path
    env: Mapping[str, str]
    snapshots: Mapping[str, str]
    warn: Callable[[str], None]


def check_embedded(container: Container) -> None:
    """Refuses what this runtime cannot do. Raises SandboxError with the remedy, ConfigError for ports in use.

    The program has the host's network, so a published port is one that it opens itself.
    """
    platform, own = str(container.image.platform), platform_of(machine())
    if platform != own and not emulator(platform):
        raise SandboxError(
            f"image {container.name} is for {platform}, and this machine is {own}",
            hint="as root: apt-get install qemu-user-static; or build the cell of this machine: --platform",
        )
    if container.network not in ("bridge", "host", "none"):
        raise SandboxError(
            f"network {container.network!r} is a network of Docker", hint="use --engine docker, or --network host"
        )
    for port in container.ports:
        if container.network == "none":
            break
        if port.host != port.container:
            raise SandboxError(
                f"port {port} cannot be mapped: on the embedded runtime the program has the host's own network",
                hint=f"publish {port.container}:{port.container}, let the program listen on {port.host}, "
                "or use --engine docker",
            )
        if port.protocol == "tcp" and is_answering(port.container):
            raise ConfigError(
                f"port {port.container} of this machine is in use already, and the program would want it",
                hint="stop what listens there (ss -ltnp says who), or use --engine docker with another host port",
            )


def prepare(container: Container, parts: EmbeddedParts) -> Launch:
    """Unpacks what is not unpacked yet and says how the container is started.

    Raises SandboxError for a limit that cannot be held here.
    """
    if os.geteuid() != 0 and container.memory:
        raise SandboxError(
            "a memory limit for a whole container needs a control group, which only root may make here",
            hint="leave out the memory limit, become root, or use --engine docker",
        )
    if container.cpus:
        parts.warn(f"the embedded runtime does not limit processors (cpus = {container.cpus}); Docker does")
    taken = {volume.target for volume in container.volumes}
    anonymous = container.image.config.runtime.volumes if container.read_only else ()
    return Launch(
        store=str(parts.store.root),
        host_env=dict(parts.env),
        snapshots=_snapshots(container.image, parts),
        argv=container.argv,
        env=container.environment,
        cwd=container.workdir,
        user=_user(container.user),
        binds=tuple(_bind(volume, parts.volumes) for volume in container.volumes),
        writable=tuple(target for target in anonymous if target not in taken),
        read_only=container.read_only,
        network=container.network != "none",
        hostname=container.name.rpartition("/")[2].partition(":")[0][:63] or "lamella",
        memory=container.memory,
        stop=container.stop_signal,
        terminal=container.interactive,
    )


def run_launch(launch: Launch, store: Store, stop: threading.Event) -> int:
    """Runs a container to its end, with this process's output streams; its exit status.

    When ``stop`` is set the program gets its stop signal and ten seconds. Raises SandboxError where the sandbox
    cannot be had, IntegrityError when a layer is gone.
    """
    with store.lease("run"), store.snapshots.stage() as staged:
        writable = [
            ContainerBind(target, _folder(staged.folder / f"volume-{number}"), adopt=True)
            for number, target in enumerate(launch.writable)
        ]
        job = ContainerJob(
            folder=str(staged.folder),
            lowers=tuple(_tree(store, identity) for identity in launch.snapshots),
            argv=launch.argv,
            env=launch.env,
            cwd=launch.cwd,
            user=launch.user,
            binds=(*launch.binds, *writable),
            read_only=launch.read_only,
            network=launch.network,
            hostname=launch.hostname,
            memory=launch.memory,
            stop=launch.stop,
            terminal=launch.terminal,
        )
        with store.snapshots.stage() as trial:  # staged, so that nobody sweeps it away meanwhile
            helper = Helper(launch.host_env, trial.folder, terminal=True)
        try:
            return int(helper.call("container", job, cancelled=stop)["code"])
        finally:
            helper.close()


def _folder(path: Path) -> str:
    path.mkdir(mode=0o755)
    return str(path)


def _tree(store: Store, identity: str) -> str:
    found = store.snapshots.find(identity)
    if found is None:
        raise missing_snapshot(identity)
    return str(found.path)


def _snapshots(image: StoredImage, parts: EmbeddedParts) -> tuple[str, ...]:
    """Ids of the layers' snapshots, lowest first; of a layer that comes twice only the upper one has a meaning."""
    layers = {layer.diff_id: layer for layer in reversed(image.layers)}
    found: list[str] = []
    for diff_id, layer in reversed(layers.items()):
        known = parts.snapshots.get(diff_id, "")
        if known and parts.store.snapshots.find(known) is not None:
            found.append(known)
            continue
        blob = LayerBlob(layer.descriptor.digest, layer.descriptor.size, layer.descriptor.media_type, diff_id)
        parts.unpack((blob,))
        found.append(diff_id)
    return tuple(found)


def _user(user: str) -> str:
    """In a user namespace the caller is root, so his own number means 0 there."""
    mine = f"{os.getuid()}:{os.getgid()}"
    return "0:0" if os.geteuid() != 0 and user in (mine, str(os.getuid())) else user


def _bind(volume: Volume, volumes: Path) -> ContainerBind:
    """A volume as a mount; what is not there yet is made, as Docker does."""
    path = volumes / volume.source if volume.is_named else Path(volume.source)
    if not path.exists():
        path.mkdir(parents=True, exist_ok=True)
    return ContainerBind(volume.target, str(path), volume.read_only, not path.is_dir(), adopt=volume.is_named)
