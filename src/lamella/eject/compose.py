"""Compose files of a recipe: the project's services, or its images, for development and as they are published."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from typing import Any

from lamella.canonical import FrozenMap
from lamella.eject.recipe import Recipe, Target
from lamella.eject.text import wrapped
from lamella.eject.watch import dev_server, develop
from lamella.eject.yaml_text import UID_MARK, yaml_text
from lamella.errors import ConfigError
from lamella.graph.facts import BaseFacts
from lamella.graph.patterns import literal_prefix
from lamella.images.healthcheck import healthcheck_test
from lamella.project.delivery import Delivery, DeviceSpec, Raw, ServiceHealth, ServiceSpec
from lamella.project.devices import devices_of
from lamella.project.settings import SecretSpec
from lamella.project.spec import HealthcheckSpec, RunOptions, Text
from lamella.project.template import Deferred, Scope, Template, TemplateError, render
from lamella.values import dataclass

__all__ = ["ComposeGiven", "compose_text"]


@dataclass(frozen=True, slots=True)
class ComposeGiven:
    """What compose files need besides the recipe.

    ``dockerfile`` is its path in ``context``, ``context`` the project seen from the files' folder. ``options`` are
    those of ``image.N.run`` for a target, ``scope`` the templates' values for its cell.
    """

    dockerfile: str
    context: str
    file: str
    delivery: Delivery
    options: Callable[[Target], RunOptions]
    scope: Callable[[FrozenMap[str, str]], Scope]
    secrets: FrozenMap[str, SecretSpec]


def compose_text(recipe: Recipe, profile: str, given: ComposeGiven) -> str:
    """The file for one profile (``dev`` or ``prod``)."""
    targets = [target for target in recipe.targets if target.profile == profile]
    builder = _Builder(recipe, profile, given, targets)
    services = builder.services()
    name = recipe.project if profile == "prod" else f"{recipe.project}-{profile}"  # volumes of their own
    document: dict[str, Any] = {"name": name, "services": services}
    volumes = sorted({name for service in services.values() for name in _named_volumes(service)})
    if volumes:
        document["volumes"] = {name: _given(name=builder.real_names.get(name, "")) for name in volumes}
    used = [name for name in recipe.secrets if any("build" in service for service in services.values())]
    if used:
        document["secrets"] = {name: builder.secret(name) for name in used}
    return "\n".join([*_head(recipe, profile, given.file, builder.extra_profiles), yaml_text(document)])


def _head(recipe: Recipe, profile: str, file: str, extra: list[str]) -> list[str]:
    what = "for development" if profile == "dev" else "as it is published"
    text = (
        f"{recipe.project} {what}, written by lamella eject.\n\n"
        f"  docker compose --file {file} up --build        build and start\n"
        f"  docker compose --file {file} down --volumes    stop and forget"
    )
    if profile == "dev":
        text += f"\n  docker compose --file {file} watch             build again when a watched file changes"
    if extra:
        text += f"\nOther variants stand behind profiles: --profile {extra[0]} starts the one for {extra[0]}."
    return wrapped(text)


def _named_volumes(service: Mapping[str, Any]) -> list[str]:
    sources = [str(volume).partition(":")[0] for volume in service.get("volumes", ())]
    return [source for source in sources if source and not source.startswith(("/", ".", "~"))]


class _Builder:
    """Services of one file."""

    def __init__(self, recipe: Recipe, profile: str, given: ComposeGiven, targets: list[Target]) -> None:
        self._recipe = recipe
        self._profile = profile
        self._given = given
        self._targets = targets
        self.extra_profiles: list[str] = []
        self.real_names: dict[str, str] = {}

    def services(self) -> dict[str, Any]:
        """The project's services, and images that no service names but that can run by themselves."""
        declared = self._given.delivery.service
        out: dict[str, Any] = {}
        for name, service in declared.items():
            if service.image is None:
                out[name] = self._foreign(service)
                continue
            for number, target in enumerate(self._of(service.image)):
                out[self._name(name, target, number)] = self._own(target, service, number)
        named = {service.image for service in declared.values()}
        for image in self._runnable():
            for number, target in enumerate(self._of(image) if image not in named else ()):
                out.setdefault(self._name(image, target, number), self._own(target, ServiceSpec(image=image), number))
        return out

    def secret(self, name: str) -> dict[str, str]:
        """Where a secret of a build comes from."""
        spec = self._given.secrets.get(name)
        if spec is not None and spec.file:
            return {"file": self._path(spec.file)}
        return {"environment": (spec.env if spec is not None else None) or name}

    def _of(self, image: str) -> list[Target]:
        return [target for target in self._targets if target.image.name == image]

    def _runnable(self) -> list[str]:
        """Images that listen or start something; all where none says so."""
        images = {target.image.name: target.image for target in self._targets}
        wanted = [name for name, image in images.items() if image.expose or image.entrypoint or image.healthcheck]
        return wanted or ([] if self._given.delivery.service else list(images))

    def _name(self, service: str, target: Target, number: int) -> str:
        return "-".join((service, *self._words(target))) if number else service

    def _words(self, target: Target) -> list[str]:
        """Values of axes in which a cell differs from the first one of its image."""
        first = self._of(target.image.name)[0]
        return [value for axis, value in target.axes.items() if first.axes.get(axis) != value]

    def _text(self, raw: Raw, axes: FrozenMap[str, str], facts: BaseFacts) -> str:
        if not isinstance(raw, Template):
            return raw
        try:
            return _resolved(render(raw, self._given.scope(axes)), facts)
        except TemplateError as error:
            raise ConfigError(f"compose: {error.message}", hint=error.hint) from error

    def _foreign(self, service: ServiceSpec) -> dict[str, Any]:
        """A service of somebody else's image."""
        axes, facts = FrozenMap[str, str](), BaseFacts()
        out: dict[str, Any] = {"image": self._text(service.from_ or "", axes, facts)}
        out |= self._common(service, axes, facts)
        return out

    def _own(self, target: Target, service: ServiceSpec, number: int) -> dict[str, Any]:
        """A service of one of the project's images."""
        image, options, given = target.image, self._given.options(target), self._given
        if self._profile == "dev" and service.dev is not None and service.dev.mode == "server":
            return self._server(target, service)
        out: dict[str, Any] = {"image": target.references[0], "build": self._build(target.stage)}
        if number:
            out["profiles"] = ["-".join(self._words(target))]
            self.extra_profiles += out["profiles"]
        ports = service.ports or options.ports or tuple(_published(port) for port in image.expose)
        env = {name: _resolved(value, target.facts) for name, value in options.env.items()}
        volumes = [self._volume(text) for text in options.volumes]
        out |= _given(ports=[*ports], environment=env, volumes=volumes)
        out |= _given(env_file=[self._path(options.env_file)] if options.env_file else [])
        out |= _limits(options)
        out |= _given(read_only=image.read_only, init=image.init)
        out |= self._devices(devices_of(target.axes.values(), given.delivery.device), target)
        common = self._common(service, target.axes, target.facts)
        out["environment"] = {**out.get("environment", {}), **common.pop("environment", {})}
        out["volumes"] = [*out.get("volumes", []), *common.pop("volumes", [])]
        out = _given(**out) | common
        if self._profile == "dev":
            out |= _given(develop=develop(self._watched(service), given.context))
        else:
            out["restart"] = "unless-stopped"
        return out

    def _watched(self, service: ServiceSpec) -> tuple[str, ...]:
        """What ``dev.watch`` names, else every folder that enters the build."""
        if service.dev is not None and service.dev.watch:
            return tuple(dict.fromkeys(literal_prefix(pattern) or "." for pattern in service.dev.watch))
        return self._recipe.sources

    def _build(self, stage: str) -> dict[str, Any]:
        build: dict[str, Any] = {"context": self._given.context, "dockerfile": self._given.dockerfile, "target": stage}
        return build | _given(secrets=[*self._recipe.secrets])

    def _server(self, target: Target, service: ServiceSpec) -> dict[str, Any]:
        """A development server of the tools' own, on the mounted sources."""
        dev = service.dev
        assert dev is not None  # noqa: S101 - asked for by the caller
        stages = {name for name, _ in self._recipe.stages}
        stage = dev.on if dev.on in stages else target.stage
        command = [self._text(word, target.axes, target.facts) for word in dev.command]
        out = dev_server(dev, self._build(str(stage)), command, self._given.context)
        common = self._common(service, target.axes, target.facts)
        common.pop("ports", None)
        out["volumes"] = [*out["volumes"], *common.pop("volumes", [])]
        return out | common

    def _common(self, service: ServiceSpec, axes: FrozenMap[str, str], facts: BaseFacts) -> dict[str, Any]:
        """What every service may say."""
        env = {name: self._text(value, axes, facts) for name, value in service.env.items()}
        volumes = [self._volume(self._text(volume, axes, facts)) for volume in service.volumes]
        out = _given(ports=[*service.ports] if service.image is None else [], environment=env, volumes=volumes)
        out |= _given(env_file=[self._path(service.env_file)] if service.env_file else [])
        if service.after:
            out["depends_on"] = {name: {"condition": self._condition(name)} for name in service.after}
        if service.healthcheck is not None:
            out["healthcheck"] = self._health(service.healthcheck, service, axes, facts)
        return out

    def _condition(self, name: str) -> str:
        """Well, where somebody can tell; else started."""
        service = self._given.delivery.service.get(name)
        own = self._of(service.image) if service is not None and service.image else []
        checked = (service is not None and service.healthcheck is not None) or any(t.image.healthcheck for t in own)
        return "service_healthy" if checked else "service_started"

    def _health(
        self, check: ServiceHealth, service: ServiceSpec, axes: FrozenMap[str, str], facts: BaseFacts
    ) -> dict[str, Any]:
        times = {
            "interval": f"{check.interval}s",
            "timeout": f"{check.timeout}s",
            "start_period": f"{check.start}s",
            "retries": check.retries,
        }
        return {"test": self._test(check, service, axes, facts), **times}

    def _test(
        self, check: ServiceHealth, service: ServiceSpec, axes: FrozenMap[str, str], facts: BaseFacts
    ) -> list[str]:
        if check.cmd:
            return ["CMD", *(self._text(word, axes, facts) for word in check.cmd)]
        http = self._text(check.http, axes, facts) if check.http is not None else None
        inside = next((int(text.rpartition(":")[2].partition("/")[0]) for text in service.ports), None)
        wanted = HealthcheckSpec(http=http, tcp=check.tcp, timeout=check.timeout)
        tools = facts if facts.tools else BaseFacts(tools=("wget",))
        return list(healthcheck_test(wanted, check.tcp or inside, tools))

    def _devices(self, devices: tuple[DeviceSpec, ...], target: Target) -> dict[str, Any]:
        """Device flags of ``docker run`` in compose's words."""
        paths = [path for device in devices for path in device.devices]
        groups = [group for device in devices for group in device.groups]
        out = _given(devices=[*dict.fromkeys(paths)], group_add=[*dict.fromkeys(groups)])
        out |= _given(runtime=next((device.runtime for device in devices if device.runtime), ""))
        wishes = [
            {"driver": "nvidia", **_count(device.gpus), "capabilities": ["gpu"]} for device in devices if device.gpus
        ]
        if wishes:
            out["deploy"] = {"resources": {"reservations": {"devices": wishes}}}
        pairs = [pair for device in devices for pair in device.env.items()]
        return out | _given(environment={name: self._text(value, target.axes, target.facts) for name, value in pairs})

    def _volume(self, text: str) -> str:
        source, colon, rest = text.partition(":")
        if source.startswith("."):
            return f"{self._path(source)}{colon}{rest}"
        if str(UID_MARK) in source and not source.startswith(("/", "~")):
            key = source.replace(str(UID_MARK), "").strip("_-.") or "user"
            self.real_names[key] = source  # the name of a volume may hold a variable, its key may not
            return f"{key}{colon}{rest}"
        return text

    def _path(self, path: str) -> str:
        """A path of the project, seen from the compose file's folder."""
        if path.startswith(("/", "~")):
            return path
        found = posixpath.normpath(posixpath.join(self._given.context, path))
        return found if found.startswith(".") else f"./{found}"


def _count(gpus: str) -> dict[str, Any]:
    """A value of ``docker run --gpus`` as compose's reservation has it: all, a number, or devices by id."""
    if gpus == "all":
        return {"count": "all"}
    return {"count": int(gpus)} if gpus.isdigit() else {"device_ids": gpus.removeprefix("device=").split(",")}


def _resolved(value: Text, facts: BaseFacts) -> str:
    if not isinstance(value, Deferred):
        return value
    base = dict(entry.partition("=")[::2] for entry in facts.runtime.env)
    missing = [name for name in value.names if name not in base]
    if missing:
        raise ConfigError(f"compose: {{base.{missing[0]}}} has no value: the base does not set it")
    return value.resolve(base)


def _published(port: str) -> str:
    number, _, protocol = port.partition("/")
    return f"{number}:{number}" if protocol in ("", "tcp") else f"{number}:{number}/{protocol}"


def _limits(options: RunOptions) -> dict[str, Any]:
    user = f"{UID_MARK}" if options.user == "host" else options.user or ""
    return _given(
        mem_limit=str(options.memory) if options.memory else "",
        cpus=float(options.cpus) if options.cpus else 0,
        network_mode=options.network if options.network != "bridge" else "",
        user=user,
        command=[*options.args],
    )


def _given(**values: Any) -> dict[str, Any]:
    """Those that say something."""
    return {name: value for name, value in values.items() if value not in ("", [], {}, None, False, 0)}
