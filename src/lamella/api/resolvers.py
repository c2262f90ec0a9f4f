"""What ``lamella lock`` asks the outside world: registries and layouts, uv, and the clients of tools."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from lamella.api.bases import fetch_layers, layer_blobs
from lamella.api.network import registry_client
from lamella.api.options import SessionOptions
from lamella.canonical import FrozenMap
from lamella.engines.plain.chain import MergedChain, kept_element
from lamella.errors import ConfigError, LamellaError, RegistryError
from lamella.graph.facts import BaseFacts
from lamella.graph.op import Wheel
from lamella.layers.decompress import open_decompressed
from lamella.layers.facts import tree_facts
from lamella.layers.unpack import keep_layer
from lamella.oci.platform import parse_platform
from lamella.oci.reference import parse_reference
from lamella.process import run, which
from lamella.project.lock import BasePin, ToolPin
from lamella.registry.documents import ImageSource, Resolved
from lamella.registry.layout import open_local
from lamella.sources.wheel_request import ResolveRequest
from lamella.sources.wheels import UvResolver
from lamella.store.store import Store
from lamella.values import dataclass, replace

__all__ = ["OutsideResolvers", "StaleResolvers"]

_TIMEOUT = 120.0
_TOOL_PYTHON = "3.13"
"""Python whose packages are asked for a tool of uv: that of the default suite."""


@dataclass(frozen=True, slots=True)
class OutsideResolvers:
    """``lamella.build.lock.Resolvers``. ``root`` is what paths of layouts are relative to."""

    store: Store
    root: Path
    options: SessionOptions
    say: Callable[[str], None] = lambda text: None

    def base(
        self, reference: str, platforms: tuple[str, ...], *, look: tuple[str, ...], known: BasePin | None = None
    ) -> BasePin:
        """See the Protocol. Looking inside means pulling, into the store, so that a build need not do it again."""
        source = self._source(reference, known)
        found = {platform: source.resolve(parse_platform(platform)) for platform in platforms}
        family, interpreters = "", {}
        for platform in look:
            image = found[platform]
            if known is not None and _looked_into(known, platform, image.descriptor.digest):
                family, interpreters[platform] = known.os_family, known.interpreters[platform]
                continue
            facts = self._facts(reference, source, image, platform)
            interpreters[platform] = facts.interpreters
            family = " ".join(filter(None, (facts.os_release.get("ID", ""), facts.os_release.get("ID_LIKE", ""))))
        first = found[platforms[0]]
        return BasePin(
            index=first.root.digest,
            manifests=FrozenMap({platform: image.descriptor.digest for platform, image in found.items()}),
            os_family=family,
            interpreters=FrozenMap(interpreters),
            env=FrozenMap(dict(entry.partition("=")[::2] for entry in first.config.runtime.env)),
        )

    def wheels(self, request: ResolveRequest) -> tuple[Wheel, ...]:
        """See the Protocol; resolved by uv."""
        return UvResolver(self.options.environ, offline=self.options.offline).resolve(request)

    def tool(self, source: str, name: str) -> ToolPin | None:
        """See the Protocol. Each is asked through its ordinary client, with the user's own configuration."""
        if self.options.offline:
            raise RegistryError(f"the version of {source}:{name} must be asked for, and --offline forbids it")
        if source == "uv":
            return self._python_tool(name)
        client = which(source, self.options.environ)
        if client is None:
            return None
        if source == "npm":
            version = self._ask(client, "view", name, "version").strip()
        else:
            match = re.search(r"^version: (\S+)", self._ask(client, "info", name), re.MULTILINE)
            version = match[1] if match else ""
        if not re.fullmatch(r"\d[\w.+-]*", version):
            raise ConfigError(f"{source} knows no tool {name!r}", hint="correct its name in 'tools'")
        return ToolPin(version)

    def _python_tool(self, name: str) -> ToolPin:
        request = ResolveRequest((name,), (), _TOOL_PYTHON, "linux/amd64", "manylinux_2_36", layer=name)
        wheels = self.wheels(request)
        return ToolPin(next(wheel.version for wheel in wheels if wheel.name == name.lower().replace("_", "-")))

    def _ask(self, client: str, *arguments: str) -> str:
        done = run(
            (client, *arguments),
            env=self.options.environ,
            cwd=self.root,
            timeout=_TIMEOUT,
            check=False,
            error=RegistryError,
        )
        if done.code != 0:
            last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-10:]
            raise RegistryError(
                f"{Path(client).name} {arguments[0]} {arguments[-1]} ended with exit status {done.code}",
                hint="check the network, the tool's name and the registry that its client is configured for",
                details=tuple(last),
            )
        return done.text

    def _source(self, reference: str, known: BasePin | None) -> ImageSource:
        local = open_local(reference, self.root)
        if local is not None:
            return local
        if self.options.offline:
            raise RegistryError(f"base {reference} must be resolved, and --offline forbids it")
        parsed = parse_reference(reference)
        pinned = replace(parsed, tag="", digest=known.index) if known is not None else parsed
        return registry_client(self.options).image(pinned)

    def _facts(self, reference: str, source: ImageSource, image: Resolved, platform: str) -> BaseFacts:
        """What is inside an image: the bytes of its layers' files, which are thrown away again."""
        size = sum(descriptor.size for descriptor, _ in image.layers)
        self.say(f"looking into {reference} for {platform} ({size / 1e6:.0f} MB)")
        blobs = layer_blobs(image)
        with self.store.lease("lock"), self.store.snapshots.stage() as staged:
            fetch_layers(self.store, source, image, lambda more, total: None)
            kept = []
            for number, blob in enumerate(blobs):
                folder = staged.folder / str(number)
                folder.mkdir()
                with self.store.blobs.open(blob.digest) as packed:
                    archive = open_decompressed(packed, blob.media_type)
                    done = keep_layer(archive, folder, diff_id=blob.diff_id)
                kept.append(kept_element(done.fileset, folder))
            return tree_facts(MergedChain(kept).view(), platform=platform, runtime=image.config.runtime)


class StaleResolvers:
    """For ``lamella lock --check``: whatever would have to be asked for says that the lock is not up to date."""

    def __init__(self, local: OutsideResolvers) -> None:
        self._local = local

    def base(
        self, reference: str, platforms: tuple[str, ...], *, look: tuple[str, ...], known: BasePin | None = None
    ) -> BasePin:
        """A layout on disk is read, anything else is stale."""
        if open_local(reference, self._local.root) is not None:
            return self._local.base(reference, platforms, look=look, known=known)
        raise _stale(f"base {reference} is not in it for {', '.join(platforms)}")

    def wheels(self, request: ResolveRequest) -> tuple[Wheel, ...]:
        """Always stale."""
        raise _stale(
            f"the packages of layer {request.layer!r} for {request.platform} are not in it as they are asked for"
        )

    def tool(self, source: str, name: str) -> ToolPin | None:
        """Stale where the tool's client is here, so that its version could be written."""
        if source == "uv" or which(source, self._local.options.environ) is not None:
            raise _stale(f"tool {source}:{name} has no version in it")
        return None


def _looked_into(pin: BasePin, platform: str, manifest: str) -> bool:
    """Whether a pin already knows what is inside this very manifest."""
    return pin.manifests.get(platform) == manifest and platform in pin.interpreters


def _stale(why: str) -> LamellaError:
    return ConfigError(f"lamella.lock is not up to date: {why}", hint="run: lamella lock")
