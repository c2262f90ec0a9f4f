"""``lamella run``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lamella.api.session import Session, SessionOptions, open_store
from lamella.build.options import BuildOptions
from lamella.cli.messages import say, warn
from lamella.cli.options import file_option, format_option, parse_size, progress_option, selection_from, source_options
from lamella.cli.progress import open_progress
from lamella.cli.secrets import read_secrets
from lamella.cli.session import command_settings, project_session, session_options
from lamella.errors import ConfigError

if TYPE_CHECKING:
    from lamella.api.run import Runnable
    from lamella.cli.settings import Settings
    from lamella.runtime.settings import RunFlags
    from lamella.store.store import Store

__all__ = ["command"]

_LATER = {
    "devices": ("--device", "device access comes with accelerators; until then: --engine docker after build --load"),
    "gpus": ("--gpus", "device access comes with accelerators; until then: docker run --gpus after build --load"),
    "detect": ("--detect", "finding accelerators comes later; choose the cell with --only"),
    "services": ("--with", "services come with compose; start them yourself and use --network or --env"),
}


def _complete(context: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    from lamella.cli.complete import image_names

    return [name for name in image_names(context) if name.startswith(incomplete)]


def _run_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options with docker run's spellings and meanings."""
    options = [
        click.option("--engine", type=click.Choice(["auto", "local", "docker"]), default="auto", show_default=True,
                     help="Embedded runtime, or a Docker daemon (DOCKER_HOST). auto is local on Linux."),
        click.option("-p", "--publish", multiple=True, metavar="[[IP:]HOST:]PORT", help="Publish a port."),
        click.option("-v", "--volume", "volumes", multiple=True, metavar="SRC:/DST[:ro]", help="Mount a path."),
        click.option("-e", "--env", multiple=True, metavar="K[=V]", help="Set a variable, or take it from here."),
        click.option("--env-file", "env_files", multiple=True, type=click.Path(path_type=Path), help="Lines K=V."),
        click.option("-u", "--user", default="", metavar="USER[:GROUP]", help="Run as; 'host' is you."),
        click.option("-w", "--workdir", default="", metavar="DIR", help="Start in this directory."),
        click.option("--entrypoint", default=None, metavar="PROGRAM", help="Instead of the image's entrypoint."),
        click.option("--network", default="", metavar="NAME", help="bridge, host or none; Docker knows more."),
        click.option("--memory", default=None, metavar="SIZE", help="Memory for all of it."),
        click.option("--read-only", is_flag=True, help="Nothing but volumes may be written."),
        click.option("-i", "--interactive", is_flag=True, help="Give the program this terminal."),
        click.option("-d", "--detach", is_flag=True, help="Leave it running, after it is healthy."),
        click.option("--show-config", is_flag=True, help="Only show what would run, and where each value comes from."),
        click.option("--device", "devices", multiple=True, hidden=True),
        click.option("--gpus", default="", hidden=True),
        click.option("--detect", is_flag=True, hidden=True),
        click.option("--with", "services", multiple=True, hidden=True),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


@click.command("run")
@click.argument("image", required=False, shell_complete=_complete)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- ARGS]")
@click.option("--dev", "profile", flag_value="dev", default=None, help="The cell of the dev profile.")
@click.option("--prod", "profile", flag_value="prod", help="The cell of the prod profile.")
@click.option("--only", multiple=True, metavar="AXIS=V", help="The cell with this value of an axis.")
@click.option("--platform", default="", metavar="OS/ARCH", help="The cell of this platform.")
@file_option
@source_options
@_run_options
@click.option("--no-build", is_flag=True, help="Start what was built last, even if it is not up to date.")
@click.option("--secret", "secrets", multiple=True, metavar="id=NAME[,src=FILE|,env=VAR]", help="For the build.")
@progress_option("Of the build.")
@format_option
def command(image: str | None, arguments: tuple[str, ...], **flags: Any) -> int:
    """Start an image: build it when it is not up to date, run it, pass its exit status on.

    IMAGE is one of the project's, or any name of the local store (see: lamella images). Without a daemon it runs in
    the embedded sandbox: its files are thrown away at the end, volumes stay, and it has the host's network, so the
    ports are those that the program opens itself. Ctrl-C stops it.

    \b
    lamella run                             the project's only image
    lamella run api -- --verbose            with arguments for the program
    lamella run -- --verbose                the same, where the project has one image
    lamella run api --env-file .env -v ./data:/data
    lamella run api --detach                returns when it is healthy
    lamella run api --engine docker -p 8081:8080
    lamella run api --show-config           only say what would run
    """
    for name, (option, hint) in _LATER.items():
        if flags[name]:
            raise ConfigError(f"run {option} is not yet supported", hint=hint)
    settings = command_settings()
    options = session_options(settings)
    image, arguments = split_words(image, arguments, click.get_current_context().find_root().obj or ())
    runnable, store, root = _runnable(image, flags, settings, options)
    container = _container(runnable, arguments, flags, settings, root)
    if flags["show_config"]:
        from lamella.cli.show_config import show_config

        show_config(container, runnable.spec, flags["output_format"])
        return 0
    engine = flags["engine"]
    if engine == "auto":
        engine = "local" if sys.platform.startswith("linux") else "docker"
    from lamella.api.cache import bring_image
    from lamella.cli import run_container

    at_hand = frozenset(runnable.snapshots) if engine == "local" else frozenset()
    bring_image(store, options, runnable.image, warn, without=at_hand)
    if engine == "docker":
        return run_container.with_docker(container, store, settings, detach=flags["detach"])
    return run_container.embedded(container, runnable, store, options, detach=flags["detach"])


def split_words(
    image: str | None, arguments: tuple[str, ...], typed: tuple[str, ...]
) -> tuple[str | None, tuple[str, ...]]:
    """Image and arguments as they were ``typed``: what comes after ``--`` is the program's; click does not say it."""
    if image is not None and "--" in typed and typed[typed.index("--") + 1 :] == (image, *arguments):
        return None, (image, *arguments)
    return image, arguments


def _runnable(
    image: str | None, flags: dict[str, Any], settings: Settings, options: SessionOptions
) -> tuple[Runnable, Store, Path]:
    """The image, its store (closed when the command ends), and the folder that paths of the project start at."""
    from lamella.api.run import project_image, stored_image

    session = _session(image, flags)
    if session is None:
        store = open_store(options, warn=warn)
        click.get_current_context().call_on_close(store.close)
        return stored_image(store, image or "", flags["platform"]), store, Path.cwd()
    platforms = (flags["platform"],) if flags["platform"] else ()
    selection = selection_from((image,) if image else (), flags["profile"], flags["only"], platforms, every=False)
    if flags["show_config"] or flags["no_build"]:
        sink_mode, build = "quiet", False
    else:
        sink_mode, build = flags["progress"], True
    build_options = BuildOptions(
        secrets=read_secrets(session.project, flags["secrets"], settings.environ, session.root)
    )
    with open_progress(sink_mode, terminal=settings.terminal) as sink:
        runnable = project_image(session, selection, build_options, sink, build=build)
    if runnable.report is not None and runnable.report.count("built"):
        from lamella.cli.report import build_summary

        for line in build_summary(runnable.report, ()):
            say(line)
    return runnable, session.store, session.root


def _session(image: str | None, flags: dict[str, Any]) -> Session | None:
    """The project's session; None when there is no project, or the name is one of the local store."""
    from lamella.api.files import find_project_file

    try:
        find_project_file(flags["file"], Path.cwd())
    except ConfigError:
        if flags["file"] is not None or not image:
            raise
        return None
    session = project_session(flags["file"], flags["build_args"], flags["contexts"])
    if not image or image in session.project.images:
        return session
    if image.startswith(("/", ".")) or not set(image) & {":", "/"}:
        known = ", ".join(session.project.images)
        raise ConfigError(
            f"the project has no image {image!r}",
            hint=f"it has {known}; the image comes before the program's arguments: lamella run IMAGE -- ARGS",
        )
    return None


def _container(
    runnable: Runnable, arguments: tuple[str, ...], flags: dict[str, Any], settings: Settings, root: Path
) -> Any:
    from lamella.api.run import caller
    from lamella.runtime.settings import RunFlags, make_container

    given: RunFlags = RunFlags(
        arguments=arguments,
        publish=flags["publish"],
        volumes=flags["volumes"],
        env=flags["env"],
        env_files=flags["env_files"],
        user=flags["user"],
        workdir=flags["workdir"],
        entrypoint=flags["entrypoint"],
        network=flags["network"],
        memory=parse_size(flags["memory"], "--memory"),
        read_only=flags["read_only"],
        interactive=flags["interactive"],
        root=root,
        cwd=Path.cwd(),
        caller=caller(),
        environ=settings.environ,
    )
    return make_container(runnable.image, runnable.spec, given, warn=warn)
