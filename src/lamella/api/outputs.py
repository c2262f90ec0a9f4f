"""What ``-o`` and ``--load`` mean for a build: checked before it starts, written after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lamella.build.options import BuildReport
from lamella.errors import ConfigError
from lamella.graph.events import EventSink, Message
from lamella.graph.protocols import Clock
from lamella.images.daemon import find_api
from lamella.images.docker_cli import DockerCli, find_docker
from lamella.images.stored import full_name, read_image
from lamella.values import dataclass

if TYPE_CHECKING:
    from lamella.images.load import EarlyLoad
    from lamella.images.outputs.spec import Output
    from lamella.layers.tar import ByteSink
    from lamella.store.store import Store

__all__ = ["OutputTargets", "check_targets", "write_targets"]


@dataclass(frozen=True, slots=True)
class OutputTargets:
    """Where a build's images go besides the store; ``docker`` is the daemon that they are loaded into."""

    outputs: tuple[Output, ...] = ()
    docker: DockerCli | None = None

    @property
    def use_stdout(self) -> bool:
        """Whether standard output carries an archive and so nothing else."""
        return any(output.to_stdout for output in self.outputs)


def check_targets(
    texts: Sequence[str], *, load: bool, environ: Mapping[str, str], images: int = 0, stdout_usable: bool = True
) -> OutputTargets:
    """The targets of ``-o`` options and ``--load``, found to be usable.

    ``images`` is the number of images of the build, 0 for a layer alone. Raises ConfigError for options that make no
    sense and places that cannot be written, RegistryError when the Docker daemon does not answer.
    """
    parsed = _parse(texts)
    outputs = tuple(output for output in parsed if output.kind != "load")
    wanted = load or len(outputs) < len(parsed)
    if not images and (outputs or wanted):
        raise ConfigError(
            "--target builds a layer and no image that could be written or loaded",
            hint="lamella export LAYER PATH copies a layer's product out",
        )
    if outputs:
        from lamella.images.outputs.write import check_outputs

        check_outputs(outputs, images=images, stdout_usable=stdout_usable)
    docker = find_docker(environ) if wanted else None
    if docker is not None:
        _check_answers(docker)
    return OutputTargets(outputs, docker)


def _parse(texts: Sequence[str]) -> tuple[Output, ...]:
    if not texts:
        return ()
    from lamella.images.outputs.spec import parse_output

    return tuple(parse_output(text) for text in texts)


def _check_answers(docker: DockerCli) -> None:
    """A daemon that is asked directly answers in a millisecond; starting the docker program takes twenty."""
    api = find_api(docker.env)
    if api is None or not api.is_answering():
        docker.server_version()  # says what is wrong
    if api is not None:
        api.close()


def write_targets(
    store: Store,
    report: BuildReport,
    targets: OutputTargets,
    sink: EventSink,
    *,
    clock: Clock,
    mtime: int = 0,
    stdout: ByteSink | None = None,
    loading: EarlyLoad | None = None,
) -> tuple[tuple[str, str], ...]:
    """Writes a build's images to all targets; (what, where) of each, in order.

    ``mtime`` is the time of every member of an archive, in seconds since the epoch; ``stdout`` takes what goes to
    standard output; ``loading`` is what has been on its way into the daemon since the images were known. Raises what
    ``write_output`` and ``load_images`` do; targets before the failing one are written.
    """

    def say(level: str, text: str) -> None:
        sink.emit(Message(clock.monotonic(), level, text))

    written = []
    with store.lease("output"):
        images = tuple(
            read_image(store, built.manifest, tuple(dict.fromkeys(full_name(name) for name in built.names)))
            for built in report.images
        )
        for output in targets.outputs:
            from lamella.images.outputs.write import write_output

            where = "standard output" if output.to_stdout else output.dest
            say("info", f"writing {output.kind} to {where}")
            write_output(store, images, output, mtime=mtime, stdout=stdout, warn=lambda text: say("warning", text))
            written.append((output.kind, where))
        if targets.docker is not None:
            names = ", ".join(name for image in images for name in image.names)
            say("info", f"loading {names} into {targets.docker.host}")
            from lamella.images.load import EarlyLoad

            (loading or EarlyLoad(store, images, targets.docker, mtime=mtime)).finish(images)
            written.append(("docker", names))
    return tuple(written)
