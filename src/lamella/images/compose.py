"""Composes an image: manifest and config from base layers, own layers and the image's table. Pure.

Nothing is stacked on yesterday's image: an image is always recomposed from its parts (DESIGN section 3, rule 5).
"""

from __future__ import annotations

from collections.abc import Mapping

from lamella.canonical import FrozenMap, digest_bytes
from lamella.errors import ConfigError, Problem
from lamella.graph.facts import BaseFacts
from lamella.images.healthcheck import healthcheck_test
from lamella.images.requirements import user_problem
from lamella.oci import media
from lamella.oci.config import EPOCH, Healthcheck, History, ImageConfig, RuntimeConfig
from lamella.oci.manifest import Descriptor, Manifest
from lamella.oci.platform import parse_platform
from lamella.planning.lowering import ImagePlan
from lamella.project.spec import ImageSpec, Text
from lamella.project.template import Deferred
from lamella.values import dataclass

__all__ = ["ComposedImage", "ImageLayer", "compose", "runtime_config"]

SECOND = 1_000_000_000
"""Nanoseconds, the unit of Docker's health check times."""


@dataclass(frozen=True, slots=True)
class ImageLayer:
    """One layer ready for a manifest: the blob's descriptor, its diff_id, who made it."""

    name: str
    descriptor: Descriptor
    diff_id: str


@dataclass(frozen=True, slots=True)
class ComposedImage:
    """A manifest with its config's bytes. ``layers`` are lowest first."""

    name: str
    manifest: Manifest
    config: ImageConfig
    layers: tuple[ImageLayer, ...]

    @property
    def digest(self) -> str:
        """The manifest's digest."""
        return digest_bytes(self.manifest.to_bytes())


def compose(
    plan: ImagePlan,
    layers: tuple[ImageLayer, ...],
    facts: BaseFacts,
    *,
    labels: Mapping[str, str] = FrozenMap(),
    created: str = EPOCH,
) -> ComposedImage:
    """The image of one cell. ``labels`` of the command line win over the project's.

    Raises ConfigError for a user that the base does not know, a health check nobody can run, and a
    ``{base.X}`` that the base does not set.
    """
    runtime = runtime_config(plan, facts, labels)
    history = tuple(History(f"lamella: {layer.name}", created) for layer in layers)
    config = ImageConfig(
        parse_platform(plan.cell.platform), runtime, tuple(layer.diff_id for layer in layers), history, created
    )
    data = config.to_bytes()
    described = Descriptor(media.IMAGE_CONFIG, digest_bytes(data), len(data))
    manifest = Manifest(described, tuple(layer.descriptor for layer in layers))
    return ComposedImage(plan.image.name, manifest, config, layers)


def runtime_config(plan: ImagePlan, facts: BaseFacts, labels: Mapping[str, str]) -> RuntimeConfig:
    """The config object: the base's, with the image's table laid over it."""
    image, base = plan.image, facts.runtime
    base_env = dict(entry.partition("=")[::2] for entry in base.env)
    entrypoint, cmd = _start(plan, base, base_env)
    own_labels = {name: _text(image, value, base_env) for name, value in image.labels.items()}
    return RuntimeConfig(
        user=_user(image, facts),
        env=tuple(f"{name}={value}" for name, value in _environment(plan, base_env).items()),
        entrypoint=entrypoint,
        cmd=cmd,
        working_dir=image.workdir or base.working_dir,
        exposed_ports=tuple(sorted({*base.exposed_ports, *image.expose})),
        volumes=tuple(sorted({*base.volumes, *image.volumes})),
        labels=FrozenMap({**base.labels, **own_labels, **labels}),
        stop_signal=image.stop_signal or base.stop_signal,
        healthcheck=_healthcheck(image, facts),
    )


def _problem(image: ImageSpec, message: str, hint: str = "") -> ConfigError:
    place = image.position
    text = f"image {image.name!r}: {message}"
    return ConfigError.from_problems((Problem(place.file, place.line, place.column, text, hint),))


def _text(image: ImageSpec, value: Text, base_env: Mapping[str, str]) -> str:
    if isinstance(value, Deferred):
        missing = sorted(name for name in value.names if name not in base_env)
        if missing:
            known = ", ".join(sorted(base_env)) or "none"
            raise _problem(image, f"{{base.{missing[0]}}} has no value: the base sets {known}")
        return value.resolve(base_env)
    return value


def _environment(plan: ImagePlan, base_env: Mapping[str, str]) -> dict[str, str]:
    """The base's variables, directories of layers before its PATH, then the image's own."""
    image = plan.image
    out = dict(base_env)
    if plan.path:
        default = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        out["PATH"] = ":".join((*plan.path, out.get("PATH") or default))
    if image.defaults is not None and image.defaults.as_ == "env":
        prefix = image.defaults.env_prefix
        out |= {f"{prefix}{name}": _scalar(image, name, value) for name, value in image.defaults.values.items()}
    return out | {name: _text(image, value, base_env) for name, value in image.env.items()}


def _scalar(image: ImageSpec, name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise _problem(image, f"default {name!r} is not a scalar and cannot be an environment variable", 'use as = "file"')


def _start(
    plan: ImagePlan, base: RuntimeConfig, base_env: Mapping[str, str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Entrypoint and cmd: what is written, else the only program of the layers, else the base's."""
    image = plan.image
    cmd = tuple(_text(image, item, base_env) for item in image.cmd) if image.cmd is not None else None
    if image.entrypoint is not None:
        return tuple(_text(image, item, base_env) for item in image.entrypoint), cmd or ()
    if cmd is None and len(plan.entrypoints) == 1:
        return plan.entrypoints[0], ()
    return base.entrypoint, cmd if cmd is not None else base.cmd


def _user(image: ImageSpec, facts: BaseFacts) -> str:
    problem = user_problem(image, facts)
    if problem is not None:
        raise ConfigError.from_problems((problem,))
    return image.user if image.user is not None else facts.runtime.user


def _healthcheck(image: ImageSpec, facts: BaseFacts) -> Healthcheck | None:
    wanted = image.healthcheck
    if wanted is None:
        return facts.runtime.healthcheck
    port = wanted.port or wanted.tcp or _first_port((*image.expose, *facts.runtime.exposed_ports))
    try:
        test = healthcheck_test(wanted, port, facts)
    except ConfigError as error:
        raise _problem(image, error.message, error.hint) from error
    return Healthcheck(test, wanted.interval * SECOND, wanted.timeout * SECOND, wanted.start * SECOND, wanted.retries)


def _first_port(exposed: tuple[str, ...]) -> int | None:
    return next((int(port.partition("/")[0]) for port in exposed), None)
