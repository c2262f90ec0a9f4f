"""From image, project and command line to one container: the nearest to the user wins, its origin is kept."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.errors import ConfigError
from lamella.images.stored import StoredImage
from lamella.oci.config import RuntimeConfig
from lamella.project.spec import HealthcheckSpec, ImageSpec, RunOptions, Text
from lamella.project.template import Deferred
from lamella.runtime.envfile import read_env_file
from lamella.runtime.values import Container, Health, Port, Variable, Volume
from lamella.values import dataclass

__all__ = ["RunFlags", "make_container", "parse_port", "parse_volume"]

_PORT = re.compile(r"(?:(?:(\[[0-9a-f:]+\]|\d+\.\d+\.\d+\.\d+):)?(\d{0,5}):)?(\d{1,5})(?:/(tcp|udp|sctp))?")
_PROBED = re.compile(r"https?://(?:127\.0\.0\.1|localhost):(\d+)(/[^\s'\"]*)?")
_SECOND = 1_000_000_000
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What programs have when the image sets no PATH, as in Docker."""


@dataclass(frozen=True, slots=True)
class RunFlags:
    """What the command line says. None and empty parts leave what image and project say.

    ``root`` is the project's folder, ``cwd`` where the command runs, ``environ`` what ``-e NAME`` takes values from,
    ``caller`` the (uid, gid) that ``user = "host"`` means.
    """

    arguments: tuple[str, ...] = ()
    publish: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    env_files: tuple[Path, ...] = ()
    user: str = ""
    workdir: str = ""
    entrypoint: str | None = None
    network: str = ""
    memory: int = 0
    read_only: bool = False
    interactive: bool = False
    root: Path = Path()
    cwd: Path = Path()
    caller: tuple[int, int] = (0, 0)
    environ: Mapping[str, str] = EMPTY_MAP


def make_container(
    image: StoredImage, spec: ImageSpec | None, flags: RunFlags, *, warn: Callable[[str], None] = lambda text: None
) -> Container:
    """The container of an image. ``spec`` is the project's image, None for one of the store alone.

    Raises ConfigError for malformed options, a missing env file, and an image that has nothing to run.
    """
    runtime, options = image.config.runtime, spec.run if spec is not None else RunOptions()
    env = _environment(runtime, spec, options, flags)
    if spec is not None:
        _check_prefix(spec, env, warn)
    arguments = flags.arguments or options.args
    if flags.entrypoint is None:
        argv = (*runtime.entrypoint, *(arguments or runtime.cmd))
    else:
        argv = (*filter(None, (flags.entrypoint,)), *arguments)
    if not argv:
        raise ConfigError(
            f"image {image.names[0]} names no program to run", hint="give one: lamella run IMAGE -- PROGRAM [ARGS]"
        )
    user, user_origin = _first((flags.user, "--user"), (options.user or "", "project"), (runtime.user, "image"))
    workdir, where = _first((flags.workdir, "--workdir"), (runtime.working_dir, "image"), ("/", "default"))
    network, network_origin = _first(
        (flags.network, "--network"), (options.network if spec is not None else "", "project"), ("bridge", "default")
    )
    if not workdir.startswith("/"):
        raise ConfigError(f"--workdir {workdir!r} is not an absolute path")
    return Container(
        image,
        argv,
        arguments,
        env,
        _ports(runtime, options, flags),
        _volumes(options, flags),
        f"{flags.caller[0]}:{flags.caller[1]}" if user == "host" else user,
        workdir,
        network,
        flags.memory or options.memory or 0,
        options.cpus or "",
        flags.read_only or (spec is not None and spec.read_only),
        spec is not None and spec.init,
        flags.interactive,
        _signal_number(runtime.stop_signal),
        _health(runtime, spec),
        FrozenMap({"user": user_origin, "workdir": where, "network": network_origin}),
    )


def _first(*choices: tuple[str, str]) -> tuple[str, str]:
    """The first value that is set, with its origin."""
    return next((choice for choice in choices if choice[0]), ("", "default"))


def _environment(
    runtime: RuntimeConfig, spec: ImageSpec | None, options: RunOptions, flags: RunFlags
) -> FrozenMap[str, Variable]:
    """Image, then the project's env file and table, then the command line's files and options."""
    base = dict(entry.partition("=")[::2] for entry in runtime.env)
    out = {"PATH": Variable(_PATH, "default")}
    out |= {name: Variable(value, "image") for name, value in base.items()}
    if options.env_file is not None:
        path = flags.root / options.env_file
        found = read_env_file(path, flags.environ, shown=options.env_file)
        out |= {name: Variable(value, options.env_file) for name, value in found.items()}
    where = f"image.{spec.name}.run.env" if spec is not None else ""
    out |= {name: Variable(_text(value, base), where) for name, value in options.env.items()}
    for file in flags.env_files:
        found = read_env_file(flags.cwd / file, flags.environ, shown=str(file))
        out |= {name: Variable(value, str(file)) for name, value in found.items()}
    for text in flags.env:
        name, sign, value = text.partition("=")
        if not name:
            raise ConfigError(f"--env {text!r} is not of the form NAME[=VALUE]")
        if sign or name in flags.environ:
            out[name] = Variable(value if sign else flags.environ[name], "--env")
    return FrozenMap(out)


def _text(value: Text, base: Mapping[str, str]) -> str:
    if not isinstance(value, Deferred):
        return value
    missing = [name for name in value.names if name not in base]
    if missing:
        raise ConfigError(f"{{base.{missing[0]}}} has no value: the image does not set it")
    return value.resolve(base)


def _check_prefix(spec: ImageSpec, env: Mapping[str, Variable], warn: Callable[[str], None]) -> None:
    """A variable that looks as if it changed a default, and changes none (SCHEMA.md, question 4)."""
    defaults = spec.defaults
    if defaults is None or not defaults.env_prefix:
        return
    known = {f"{defaults.env_prefix}{name}" for name in defaults.values}
    for name, variable in env.items():
        if name.startswith(defaults.env_prefix) and name not in known and variable.origin != "image":
            warn(f"{name} ({variable.origin}) has the prefix of the defaults, and no default has that name")


def parse_port(text: str) -> Port:
    """``[[IP:]HOST:]CONTAINER[/PROTOCOL]``; without a host port it is the same one.

    >>> parse_port("8081:8080")
    Port(host=8081, container=8080, protocol='tcp', address='')
    """
    match = _PORT.fullmatch(text)
    if match is None or not 0 < int(match[3]) < 65536 or int(match[2] or 0) > 65535:
        raise ConfigError(f"--publish {text!r} is not a port", hint="write [[IP:]HOST:]CONTAINER[/PROTOCOL]")
    return Port(int(match[2] or match[3]), int(match[3]), match[4] or "tcp", match[1] or "")


def _ports(runtime: RuntimeConfig, options: RunOptions, flags: RunFlags) -> tuple[Port, ...]:
    """What is published: the command line's ports, those of the project for other ports of the container, and
    without any of them what the image exposes.
    """
    given = [parse_port(text) for text in flags.publish]
    taken = {(port.container, port.protocol) for port in given}
    given += [port for port in map(parse_port, options.ports) if (port.container, port.protocol) not in taken]
    return tuple(given or (parse_port(text) for text in runtime.exposed_ports))


def parse_volume(text: str, base: Path) -> Volume:
    """``SOURCE:TARGET[:ro|rw]``; a source that starts with ``.``, ``/`` or ``~`` is a path, relative to ``base``."""
    parts = text.split(":")
    if len(parts) not in (2, 3) or not parts[0] or not parts[1].startswith("/"):
        raise ConfigError(f"--volume {text!r} is not of the form SOURCE:/TARGET[:ro]")
    options = set(parts[2].split(",")) if len(parts) == 3 else set()
    source = parts[0]
    if source.startswith(("/", ".", "~")):
        source = str((base / Path(source).expanduser()).resolve())
    elif "/" in source:
        raise ConfigError(f"--volume {text!r}: {source!r} is no name of a volume", hint=f"for a path write ./{source}")
    return Volume(source, parts[1], "ro" in options)


def _volumes(options: RunOptions, flags: RunFlags) -> tuple[Volume, ...]:
    """The project's and the command line's, which wins where both have one target."""
    found = {volume.target: volume for volume in (parse_volume(text, flags.root) for text in options.volumes)}
    found |= {volume.target: volume for volume in (parse_volume(text, flags.cwd) for text in flags.volumes)}
    return tuple(found.values())


def _signal_number(text: str) -> int:
    """``SIGINT``, ``INT`` or ``2`` of an image's stop signal."""
    if not text:
        return int(signal.SIGTERM)
    if text.isdigit():
        return int(text)
    name = text.upper() if text.upper().startswith("SIG") else f"SIG{text.upper()}"
    try:
        return int(signal.Signals[name])
    except KeyError as error:
        raise ConfigError(f"the image's stop signal {text!r} is not a signal") from error


def _health(runtime: RuntimeConfig, spec: ImageSpec | None) -> Health | None:
    """What can be asked from outside: the project's check, or one that the image's own probe program asks."""
    if spec is not None and spec.healthcheck is not None:
        return _health_of(spec.healthcheck, runtime)
    check = runtime.healthcheck
    match = _PROBED.search(" ".join(check.test)) if check is not None else None
    if check is None or match is None:
        return None
    return Health(
        int(match[1]),
        match[2] or "/",
        check.interval // _SECOND or 30,
        check.timeout // _SECOND or 30,
        check.start_period // _SECOND,
        check.retries or 3,
    )


def _health_of(check: HealthcheckSpec, runtime: RuntimeConfig) -> Health | None:
    exposed = next((int(port.partition("/")[0]) for port in runtime.exposed_ports), None)
    port = check.port or check.tcp or exposed
    if port is None or (check.http is None and check.tcp is None):
        return None
    path = check.http or ""
    if path.startswith(":"):
        path = path[path.index("/") :]
    return Health(port, path, check.interval, check.timeout, check.start, check.retries)
