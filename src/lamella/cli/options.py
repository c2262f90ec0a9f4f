"""Options that commands share: selectors, build options, output formats. Spellings are buildx's where it has one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from lamella.api.options import EngineOptions
from lamella.build.selection import Selection
from lamella.canonical import FrozenMap
from lamella.errors import ConfigError

__all__ = [
    "complete_layers",
    "engine_from",
    "engine_options",
    "file_option",
    "format_option",
    "pairs",
    "parse_age",
    "parse_size",
    "progress_option",
    "project_options",
    "selection_from",
    "selectors",
    "source_options",
]

_PROGRESS = ("auto", "plain", "tty", "rawjson", "quiet")

F = TypeVar("F", bound=Callable[..., Any])

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def _apply(function: F, decorators: list[Callable[[F], F]]) -> F:
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


def file_option(function: F) -> F:
    """``-f``: the project file."""
    return click.option(
        "-f",
        "--file",
        "file",
        type=click.Path(path_type=Path),
        default=None,
        help="Project file or its folder. [default: lamella.toml here or in a folder above]",
    )(function)


def selectors(function: F) -> F:
    """``[IMAGE…] --dev/--prod --only --platform --all``."""
    return _apply(
        function,
        [
            click.argument("images", nargs=-1, shell_complete=_complete_images),
            click.option("--dev", "profile", flag_value="dev", default=None, help="Cells of the dev profile."),
            click.option("--prod", "profile", flag_value="prod", help="Cells of the prod profile."),
            click.option("--only", multiple=True, metavar="AXIS=V[,V]", help="Cells with these values of an axis."),
            click.option(
                "--platform", "platforms", multiple=True, metavar="OS/ARCH[,…]", help="Cells of these platforms."
            ),
            click.option("--all", "every", is_flag=True, help="Every legal cell, not just the default one."),
        ],
    )


def source_options(function: F) -> F:
    """``--build-arg``, ``--build-context``: what changes the meaning of the project file."""
    return _apply(
        function,
        [
            click.option("--build-arg", "build_args", multiple=True, metavar="K=V", help="Set an argument of [args]."),
            click.option(
                "--build-context", "contexts", multiple=True, metavar="NAME=PATH", help="Another folder of sources."
            ),
        ],
    )


def engine_options(function: F) -> F:
    """``--engine``, ``--builder`` and what goes with a builder, for :func:`engine_from`."""
    return _apply(
        function,
        [
            click.option(
                "--engine",
                type=click.Choice(["auto", "local", "buildkit"]),
                default=None,
                help="What runs steps. [default: the project's, else local where it can run, else buildkit]",
            ),
            click.option("--builder", default="", metavar="NAME", help="The builder, one of `docker buildx ls`."),
            click.option(
                "--builder-network",
                type=click.Choice(["default", "host"]),
                default=None,
                help="What steps with an open network get on a builder.",
            ),
            click.option(
                "--allow-network",
                is_flag=True,
                help="Accept a builder that cannot close the network of single steps (Docker 20.10).",
            ),
            click.option("--emulate", is_flag=True, help="Accept a builder that emulates a foreign platform."),
        ],
    )


def engine_from(flags: Mapping[str, Any], environ: Mapping[str, str]) -> EngineOptions:
    """Takes the options of :func:`engine_options` out of a command's flags; LAMELLA_ENGINE and
    LAMELLA_BUILDER_NETWORK stand for those that were not given, as in commands without them. Raises ConfigError.
    """
    name = flags.get("engine") or environ.get("LAMELLA_ENGINE", "")
    builder = flags.get("builder", "")
    if builder and name == "local":
        raise ConfigError("--builder names a builder, and the local engine has none", hint="leave --engine local out")
    return EngineOptions(
        name=name or ("buildkit" if builder else ""),
        builder=builder,
        network=flags.get("builder_network") or environ.get("LAMELLA_BUILDER_NETWORK") or "default",
        allow_network=flags.get("allow_network", False),
        emulate=flags.get("emulate", False),
    )


def progress_option(text: str = "How progress is shown.") -> Callable[[F], F]:
    """``--progress``, for :func:`lamella.cli.progress.open_progress`."""
    return click.option("--progress", type=click.Choice(_PROGRESS), default="auto", show_default=True, help=text)


def format_option(function: F) -> F:
    """``--format text|json``."""
    return click.option(
        "--format",
        "output_format",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="Data for people or programs.",
    )(function)


def project_options(function: F) -> F:
    """All options that say which project and which part of it."""
    return _apply(function, [selectors, file_option, source_options])


def selection_from(
    images: tuple[str, ...],
    profile: str | None,
    only: tuple[str, ...],
    platforms: tuple[str, ...],
    every: bool,
    layer: str = "",
) -> Selection:
    """A selection from the shared options; raises ConfigError for a malformed ``--only``."""
    axes: dict[str, tuple[str, ...]] = {}
    for text in only:
        axis, sign, values = text.partition("=")
        if not sign or not axis or not values:
            raise ConfigError(
                f"--only {text!r} is not of the form AXIS=VALUE[,VALUE]", hint="--only accelerator=cpu,cuda"
            )
        axes[axis] = (*axes.get(axis, ()), *values.split(","))
    flat = tuple(item for text in platforms for item in text.split(",") if item)
    return Selection(images, layer, profile or "", FrozenMap(axes), flat, every)


def pairs(texts: tuple[str, ...], option: str) -> dict[str, str]:
    """``K=V`` options as a dict; raises ConfigError."""
    out: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise ConfigError(f"{option} {text!r} is not of the form NAME=VALUE")
        out[name] = value
    return out


def parse_size(text: str | None, option: str) -> int:
    """Bytes of ``512MiB``, ``2g``, ``1000``; 0 for None. ``MB`` is 10^6, ``MiB`` and ``m`` are 2^20 as in Docker."""
    if not text:
        return 0
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"{option} {text!r} is not a size", hint="write 512MiB or 2GB")
    number, unit, binary = match.groups()
    decimal = bool(unit) and not binary and text.strip().lower().endswith("b")
    return int(float(number) * (1000 if decimal else 1024) ** _POWERS[unit.lower()])


def parse_age(text: str, option: str) -> int:
    """Seconds of ``90s``, ``15m``, ``12h``, ``7d``, as in the project file; ``0`` is no time at all."""
    from lamella.project.formats import FormatError, parse_duration

    if text == "0":
        return 0
    try:
        return parse_duration(text)
    except FormatError as error:
        raise ConfigError(f"{option} {text!r} is not a duration", hint=error.hint or "write 12h or 7d") from error


def _complete_images(context: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    from lamella.cli.complete import image_names

    return [name for name in image_names(context) if name.startswith(incomplete)]


def complete_layers(context: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Layer names for completion."""
    from lamella.cli.complete import layer_names

    return [name for name in layer_names(context) if name.startswith(incomplete)]
