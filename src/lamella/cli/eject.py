"""``lamella eject``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lamella.build.selection import Selection
from lamella.cli.messages import say, warn
from lamella.cli.options import format_option, project_options, selection_from
from lamella.cli.session import project_session
from lamella.errors import ConfigError

if TYPE_CHECKING:
    from lamella.api.eject import Ejected
    from lamella.eject.files import EjectedFile

__all__ = ["command"]

F = TypeVar("F", bound=Callable[..., Any])

STEP_FAILED = 1
"""Exit code of ``--check`` when files differ: the check is what failed, not its usage."""


@click.group("eject")
def command() -> None:
    """Write the project as files that work without Lamella: the way out, or a look at what is built.

    The files build the same images with Docker's own tools: readable stages per layer, cache mounts, the same file
    contents and configuration as far as a Dockerfile can. They are yours to keep and edit; nothing reads them back.

    IMAGE and the cell options select as everywhere else. Without --dev or --prod both profiles are written, because
    the files take the place of both. Files go beside lamella.toml unless --output says otherwise, and none that is
    there with another content is replaced without --force.

    \b
    lamella eject dockerfile               Dockerfile and its ignore file
    lamella eject dockerfile -o -          only show it
    lamella eject compose --output docker  Dockerfile and compose files, in a folder
    lamella eject makefile --all           everything, for the whole matrix
    lamella eject dockerfile --check       1 when the files on disk have drifted from the project
    """


def _output_options(function: F) -> F:
    decorators: tuple[Callable[[F], F], ...] = (
        click.option(
            "-o",
            "--output",
            type=click.Path(allow_dash=True, file_okay=False),
            default="",
            metavar="FOLDER|-",
            help="Where the files go; - prints the one asked for. [default: the project's folder]",
        ),
        click.option("--force", is_flag=True, help="Replace files that are there."),
        click.option("--check", is_flag=True, help="Write nothing; exit 1 when files on disk differ or are missing."),
        format_option,
    )
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


@command.command("dockerfile", short_help="A Dockerfile, and its ignore file.")
@project_options
@click.option("--monolithic", is_flag=True, help="One image of one cell, one file, nothing beside it.")
@_output_options
def dockerfile(monolithic: bool, **options: Any) -> int:
    """A Dockerfile with a stage per layer and one per image, and the ignore file that belongs to it.

    Every image of the selection is a target of one file; stages that images or cells share are written once. Sets of
    packages that only lamella.lock holds are written beside it as requirement files with versions and hashes.

    With --monolithic the file stands alone: one image, its published form unless --dev is given, package sets inside.

    \b
    lamella eject dockerfile                        both profiles of every image
    lamella eject dockerfile app --monolithic -o -  one image, on standard output
    """
    return _eject("dockerfile", monolithic=monolithic, **options)


@command.command("bake", short_help="A bake file over the Dockerfile.")
@project_options
@_output_options
def bake(**options: Any) -> int:
    """A bake file (docker-bake.hcl) over the Dockerfile: targets with tags and platforms, groups by profile.

    \b
    lamella eject bake
    docker buildx bake prod --push
    """
    return _eject("bake", **options)


@command.command("compose", short_help="Compose files for development and production.")
@project_options
@_output_options
def compose(**options: Any) -> int:
    """Compose files over the Dockerfile: compose.yaml for development, compose.prod.yaml as it is published.

    They hold the services of lamella.toml, or without any the images that listen: ports, volumes, environment, health
    checks, limits, order of start, and for each accelerator the flags of its device. Cells beside the default one
    stand behind compose profiles.

    \b
    lamella eject compose
    docker compose up --build
    """
    return _eject("compose", **options)


@command.command("makefile", short_help="A Makefile over all of the others.")
@project_options
@_output_options
def makefile(**options: Any) -> int:
    """A Makefile over Dockerfile, bake file and compose files, which are written too.

    \b
    lamella eject makefile
    make build up
    """
    return _eject("makefile", **options)


@command.command("script", short_help="A shell script around docker buildx build.")
@project_options
@_output_options
def script(**options: Any) -> int:
    """A POSIX shell script (build.sh) around docker buildx build, for places without bake.

    \b
    lamella eject script
    ./build.sh all --push
    """
    return _eject("script", **options)


@command.command("builder", short_help="A script that makes a Kubernetes builder for the project's platforms.")
@project_options
@_output_options
def builder(**options: Any) -> int:
    """A POSIX shell script (builder.sh) that makes a builder of pods in Kubernetes.

    It has one deployment for each platform of the selection (without one: of all cells), whose pods run on nodes of
    that architecture, so that nothing is emulated. Each setting is an option of buildx's kubernetes driver.

    \b
    lamella eject builder
    NAMESPACE=builders REPLICAS=2 ./builder.sh --driver-opt requests.cpu=4
    lamella build --builder NAME
    """
    return _eject("builder", **options)


def _eject(
    kind: str,
    *,
    images: tuple[str, ...],
    profile: str | None,
    only: tuple[str, ...],
    platforms: tuple[str, ...],
    every: bool,
    file: Path | None,
    build_args: tuple[str, ...],
    contexts: tuple[str, ...],
    output: str,
    force: bool,
    check: bool,
    output_format: str,
    monolithic: bool = False,
) -> int:
    from lamella.api.eject import eject_fleet, eject_project, write_files

    if output == "-" and (force or check):
        raise ConfigError("--output - writes no file", hint="leave --force and --check out")
    session = project_session(file, build_args, contexts)
    selection: Selection = selection_from(images, profile, only, platforms, every)
    folder = Path(output).absolute() if output not in ("", "-") else session.root
    if kind == "builder":
        ejected = eject_fleet(session, selection)
    else:
        ejected = eject_project(session, kind, selection, folder, monolithic=monolithic)
    for name in ejected.guessed:
        warn(
            f"image {name}: its base was never built here, so the program of its health check is taken from what the "
            "project says of the base"
        )
    if output == "-":
        _print(kind, ejected, output_format)
        return 0
    if check:
        return _check(ejected, folder, output_format)
    _report(folder, write_files(ejected, folder, force=force), output_format)
    return 0


def _print(kind: str, ejected: Ejected, output_format: str) -> None:
    """The one file that was asked for, on standard output."""
    main = [file for file in ejected.files if file.main]
    if output_format == "json":
        _json({"files": [{"name": file.name, "text": file.text} for file in ejected.files]})
        return
    click.echo(main[0].text, nl=False)
    rest = [file.name for file in ejected.files if file is not main[0]]
    if rest:
        say(f"not shown: {', '.join(rest)}; {kind} writes them too")


def _check(ejected: Ejected, folder: Path, output_format: str) -> int:
    from lamella.api.eject import differing_files

    found = differing_files(ejected, folder)
    if output_format == "json":
        _json(
            {
                "drift": bool(found),
                "files": [{"path": str(folder / file.name), "state": state} for file, state in found],
            }
        )
    else:
        for file, state in found:
            click.echo(f"{state:<8} {folder / file.name}")
    say(f"{len(found)} of {len(ejected.files)} files differ from the project" if found else "the files are up to date")
    return STEP_FAILED if found else 0


def _report(folder: Path, done: tuple[tuple[EjectedFile, str], ...], output_format: str) -> None:
    if output_format == "json":
        rows = [
            {"path": str(folder / file.name), "state": state, "size": len(file.text.encode())} for file, state in done
        ]
        _json({"files": rows})
        return
    for file, state in done:
        click.echo(f"{state:<9} {folder / file.name}")


def _json(data: dict[str, Any]) -> None:
    click.echo(json.dumps({"format": 1, **data}, indent=2, ensure_ascii=False))
