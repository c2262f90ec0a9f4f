"""The docker command line as a value: which program, which daemon, with which part of the user's environment."""

from __future__ import annotations

from collections.abc import Mapping

from lamella.canonical import FrozenMap
from lamella.errors import ConfigError, LamellaError, RegistryError
from lamella.process import base_env, run, which
from lamella.values import dataclass, field

__all__ = ["DockerCli", "find_docker"]

_KEPT = ("PATH", "HOME", "USER", "TMPDIR", "XDG_*", "SSH_*", "DOCKER_*", "http_proxy", "https_proxy", "no_proxy")
"""What the docker program reads of the environment; nothing else is handed on."""

_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class DockerCli:
    """``env`` says which daemon: DOCKER_HOST, DOCKER_CONTEXT, DOCKER_CONFIG as the user set them."""

    program: str
    env: FrozenMap[str, str] = field(repr=False)

    @property
    def host(self) -> str:
        """The daemon's address for people."""
        return self.env.get("DOCKER_HOST") or self.env.get("DOCKER_CONTEXT") or "the default Docker daemon"

    def argv(self, *arguments: str) -> tuple[str, ...]:
        """A command of the docker program."""
        return (self.program, *arguments)

    def run(self, *arguments: str, error: type[LamellaError] = RegistryError, hint: str = "") -> str:
        """Standard output of a short command; raises ``error`` with what docker said."""
        return run(self.argv(*arguments), env=self.env, timeout=_SECONDS, error=error, hint=hint).text

    def server_version(self) -> str:
        """The daemon's version, which proves that it answers; raises RegistryError."""
        try:
            return self.run("version", "--format", "{{.Server.Version}}")
        except LamellaError as error:
            raise RegistryError(
                f"the Docker daemon does not answer ({self.host})",
                hint="start it, or set DOCKER_HOST; `lamella run` and `-o type=docker-archive,dest=PATH` need none",
                details=error.details[1:],
            ) from error


def find_docker(environ: Mapping[str, str]) -> DockerCli:
    """The user's docker program; raises ConfigError when there is none."""
    program = which("docker", environ)
    if program is None:
        raise ConfigError(
            "the docker command line is not installed",
            hint="install it, or write a file instead: lamella build -o type=docker-archive,dest=image.tar",
        )
    return DockerCli(program, FrozenMap(base_env(environ, _KEPT)))
