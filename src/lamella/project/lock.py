"""``lamella.lock``: what was resolved once and holds until ``lamella lock`` writes it anew (DESIGN section 3b).

JSON, because it is read at each start and a set of wheels is long. Keys and lists are sorted and each wheel stands on a
line of its own, so that a change of one wheel is a change of one line. Equal locks are equal bytes.
"""

from __future__ import annotations

import json
from typing import Any

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.errors import ConfigError, Problem
from lamella.graph.facts import Interpreter
from lamella.graph.op import Wheel
from lamella.project.lock_reader import LockReader, Wrong
from lamella.values import dataclass

__all__ = [
    "EMPTY_LOCK",
    "LOCK_VERSION",
    "BasePin",
    "BootstrapPin",
    "Lock",
    "ModelPin",
    "PythonSet",
    "ToolPin",
    "parse_lock",
    "render_lock",
]

LOCK_VERSION = 1
"""Major version of the format."""

_REPAIR = "run: lamella lock"


@dataclass(frozen=True, slots=True)
class BasePin:
    """A base image. ``index`` is the digest the reference named, ``manifests`` the one of each platform in it.

    ``os_family`` is ID and ID_LIKE of os-release(5) with spaces between, ``interpreters`` what each platform's image
    has, ``env`` the environment of its configuration.
    """

    index: str
    manifests: FrozenMap[str, str]
    os_family: str = ""
    interpreters: FrozenMap[str, tuple[Interpreter, ...]] = EMPTY_MAP
    env: FrozenMap[str, str] = EMPTY_MAP


@dataclass(frozen=True, slots=True)
class BootstrapPin:
    """A bootstrapped suite. ``mirror`` only if the user gave one, ``snapshot`` as ``YYYYMMDDTHHMMSSZ``."""

    mirror: str | None = None
    snapshot: str | None = None


@dataclass(frozen=True, slots=True)
class PythonSet:
    """The wheels (or source archives) of one layer in one variant, sorted by name.

    ``request`` is the digest of everything that was asked of the resolver: another digest means the set is stale.
    ``variant`` says for people which cells it is for.
    """

    layer: str
    variant: str
    request: str
    wheels: tuple[Wheel, ...]


@dataclass(frozen=True, slots=True)
class ToolPin:
    """A tool's version, and the hex sha256 of what is fetched where that is known."""

    version: str
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class ModelPin:
    """The ``commit`` that ``revision`` of a hub repository named, and hex sha256 by file where known."""

    commit: str
    revision: str = ""
    files: FrozenMap[str, str] = EMPTY_MAP


@dataclass(frozen=True, slots=True)
class Lock:
    """All pins: bases by reference as written, suites by ``DISTRIBUTION/SUITE``, tools by name, models by hub name."""

    bases: FrozenMap[str, BasePin] = EMPTY_MAP
    bootstraps: FrozenMap[str, BootstrapPin] = EMPTY_MAP
    python: tuple[PythonSet, ...] = ()
    tools: FrozenMap[str, ToolPin] = EMPTY_MAP
    models: FrozenMap[str, ModelPin] = EMPTY_MAP

    def python_set(self, request: str) -> tuple[Wheel, ...] | None:
        """The wheels that answer the request with this digest, or None."""
        return next((found.wheels for found in self.python if found.request == request), None)

    def python_sets_of(self, layer: str) -> tuple[PythonSet, ...]:
        """All sets of a layer: when none answers the layer's request, they are stale."""
        return tuple(found for found in self.python if found.layer == layer)

    def interpreters(self, language: str, platform: str) -> tuple[Interpreter, ...]:
        """The interpreters of a language in any base for a platform, in the order of the bases' references."""
        found = (
            item
            for _, pin in sorted(self.bases.items())
            for item in pin.interpreters.get(platform, ())
            if item.language == language
        )
        return tuple(dict.fromkeys(found))


EMPTY_LOCK = Lock()
"""The lock of a project that has none."""


def parse_lock(data: bytes, *, file: str) -> Lock:
    """The lock in ``data``; ``file`` is its name in messages.

    Raises ConfigError that names ``lamella lock`` for anything but a lock of this major version.
    """
    try:
        document = json.loads(data.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_float=_no_float)
    except json.JSONDecodeError as error:
        problem = Problem(file, error.lineno, error.colno, f"the lock is no JSON: {error.msg}", _conflict(data))
        raise ConfigError.from_problems((problem,)) from None
    except (ValueError, RecursionError) as error:
        reason = "values are nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(f"{file}: the lock cannot be read: {reason}", hint=_REPAIR) from None
    version = document.get("lock") if isinstance(document, dict) else None
    if type(version) is int and version > LOCK_VERSION:
        raise ConfigError(
            f"{file}: the lock has version {version}, this Lamella knows {LOCK_VERSION}",
            hint="take a newer Lamella, or write the lock again: lamella lock",
        )
    if version != LOCK_VERSION or isinstance(version, bool):
        raise ConfigError(f'{file}: the lock does not say "lock": {LOCK_VERSION}', hint=_REPAIR)
    try:
        return _lock(LockReader(document, ""))
    except Wrong as error:
        raise ConfigError(f"{file}: {error}", hint=_REPAIR) from None


def _conflict(data: bytes) -> str:
    return f"it has marks of a merge conflict; take either side, then {_REPAIR}" if b"\n<<<<<<< " in data else _REPAIR


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"{twice!r} is written twice")
    return found


def _no_float(text: str) -> Any:
    raise ValueError(f"{text} is not a whole number")


def _lock(reader: LockReader) -> Lock:
    reader.keys("lock", "bases", "bootstraps", "python", "tools", "models")
    return Lock(
        bases=FrozenMap({name: _base(item) for name, item in reader.entries("bases")}),
        bootstraps=FrozenMap({name: _bootstrap(item) for name, item in reader.entries("bootstraps")}),
        python=tuple(_python_set(item) for item in reader.items("python")),
        tools=FrozenMap({name: _tool(item) for name, item in reader.entries("tools")}),
        models=FrozenMap({name: _model(item) for name, item in reader.entries("models")}),
    )


def _base(reader: LockReader) -> BasePin:
    reader.keys("index", "manifests", "os_family", "interpreters", "env")
    by_platform = {}
    for platform, items in reader.lists("interpreters"):
        by_platform[platform] = tuple(_interpreter(item) for item in items)
    return BasePin(
        index=reader.digest("index"),
        manifests=reader.digests("manifests"),
        os_family=reader.text("os_family", ""),
        interpreters=FrozenMap(by_platform),
        env=reader.texts("env"),
    )


def _interpreter(reader: LockReader) -> Interpreter:
    reader.keys("language", "path", "version", "abi")
    return Interpreter(reader.text("language"), reader.text("path"), reader.text("version"), reader.text("abi", ""))


def _bootstrap(reader: LockReader) -> BootstrapPin:
    reader.keys("mirror", "snapshot")
    return BootstrapPin(reader.text("mirror", "") or None, reader.text("snapshot", "") or None)


def _python_set(reader: LockReader) -> PythonSet:
    reader.keys("layer", "variant", "request", "wheels")
    return PythonSet(
        layer=reader.text("layer"),
        variant=reader.text("variant", ""),
        request=reader.digest("request"),
        wheels=tuple(_wheel(item) for item in reader.items("wheels")),
    )


def _wheel(reader: LockReader) -> Wheel:
    reader.keys("name", "version", "filename", "sha256", "url", "size")
    return Wheel(
        name=reader.text("name"),
        version=reader.text("version"),
        filename=reader.filename("filename"),
        sha256=reader.sha256("sha256"),
        url=reader.url("url"),
        size=reader.size("size"),
    )


def _tool(reader: LockReader) -> ToolPin:
    reader.keys("version", "sha256")
    return ToolPin(reader.text("version"), reader.sha256("sha256", ""))


def _model(reader: LockReader) -> ModelPin:
    reader.keys("commit", "revision", "files")
    return ModelPin(reader.text("commit"), reader.text("revision", ""), reader.texts("files"))


def render_lock(lock: Lock) -> bytes:
    """The bytes of a lock; ``parse_lock`` gives the same lock again."""
    document = {
        "lock": LOCK_VERSION,
        "bases": {name: _base_data(pin) for name, pin in lock.bases.items()},
        "bootstraps": {
            name: _filled({"mirror": pin.mirror, "snapshot": pin.snapshot}) for name, pin in lock.bootstraps.items()
        },
        "python": [
            {
                "layer": found.layer,
                "variant": found.variant,
                "request": found.request,
                "wheels": [_Line(_wheel_data(wheel)) for wheel in sorted(found.wheels, key=_wheel_order)],
            }
            for found in sorted(lock.python, key=lambda item: (item.layer, item.variant, item.request))
        ],
        "tools": {name: _filled({"version": pin.version, "sha256": pin.sha256}) for name, pin in lock.tools.items()},
        "models": {
            name: _filled({"commit": pin.commit, "revision": pin.revision, "files": dict(pin.files)})
            for name, pin in lock.models.items()
        },
    }
    written = {name: value for name, value in document.items() if value}
    return (_text(written, "") + "\n").encode("utf-8")


def _base_data(pin: BasePin) -> dict[str, Any]:
    return _filled(
        {
            "index": pin.index,
            "manifests": dict(pin.manifests),
            "os_family": pin.os_family,
            "interpreters": {
                platform: [
                    _Line(_filled({"language": i.language, "path": i.path, "version": i.version, "abi": i.abi}))
                    for i in items
                ]
                for platform, items in pin.interpreters.items()
            },
            "env": dict(pin.env),
        }
    )


def _wheel_data(wheel: Wheel) -> dict[str, Any]:
    return _filled(
        {
            "name": wheel.name,
            "version": wheel.version,
            "filename": wheel.filename,
            "sha256": wheel.sha256,
            "url": wheel.url,
            "size": wheel.size,
        }
    )


def _wheel_order(wheel: Wheel) -> tuple[str, str, str]:
    return wheel.name, wheel.version, wheel.filename


def _filled(data: dict[str, Any]) -> dict[str, Any]:
    """The entries that say something."""
    return {key: value for key, value in data.items() if value}


class _Line(dict[str, Any]):
    """An object that is written on one line."""


def _text(value: Any, indent: str) -> str:
    """JSON with two spaces per level and sorted keys; the outermost object begins with the version."""
    inner = f"{indent}  "
    if isinstance(value, _Line):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict) and value:
        items = sorted(value.items(), key=lambda item: (bool(indent) or item[0] != "lock", item[0]))
        lines = (f"{inner}{json.dumps(key, ensure_ascii=False)}: {_text(item, inner)}" for key, item in items)
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(f"{inner}{_text(item, inner)}" for item in value) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)
