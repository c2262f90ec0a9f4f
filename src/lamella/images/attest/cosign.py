"""Signatures through cosign(1), where it is installed.

cosign takes its key from ``LAMELLA_COSIGN_KEY`` (a file, a KMS address) or ``COSIGN_PRIVATE_KEY`` (the key itself), or
signs without a key by the identity that a CI system gives it. What it needs of passwords it reads itself. Signatures
are noted in the transparency log that cosign is configured for, the public one by itself; ``LAMELLA_COSIGN_TLOG=false``
leaves that out, for registries that nobody else shall hear of.
"""

from __future__ import annotations

from collections.abc import Mapping

from lamella.errors import AuthError
from lamella.process import Completed, run, which
from lamella.values import dataclass

__all__ = ["Cosign", "find_cosign"]

_NO = ("0", "false", "no")
_NO_KEY = "set LAMELLA_COSIGN_KEY or COSIGN_PRIVATE_KEY, or run where cosign finds an identity"
_NO_LOG = "the transparency log did not answer; with a key of your own LAMELLA_COSIGN_TLOG=false signs without it"
_NO_CONFIG, _WANTS_CONFIG = "--use-signing-config=false", b"or --use-signing-config."
"""cosign 3 takes its services from a configuration by itself and then refuses to leave one out; 2.5 and older have no
such flag. Its refusal comes before anything is signed.
"""
_PATIENCE = 300.0
"""Seconds for one signature; without a key cosign waits for services of others."""


@dataclass(frozen=True, slots=True)
class Cosign:
    """The program with the environment it gets. ``insecure`` allows plain HTTP."""

    program: str
    environ: Mapping[str, str]
    insecure: bool = False

    def sign(self, repository: str, digest: str) -> None:
        """Signs what a repository has under a digest; raises AuthError with cosign's last words."""
        done = self._run(repository, digest, *self._log())
        if done.code != 0 and self._log() and _WANTS_CONFIG in done.stderr:
            done = self._run(repository, digest, *self._log(), _NO_CONFIG)
        if done.code != 0:
            words = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise AuthError(
                f"cosign did not sign {repository}@{digest}: {words[-1] if words else f'exit status {done.code}'}",
                hint=_NO_LOG if "/api/v1/log/" in "".join(words[-2:]) else _NO_KEY,
                details=tuple(words[-6:-1]),
            )

    def _run(self, repository: str, digest: str, *flags: str) -> Completed:
        http = ("--allow-http-registry",) if self.insecure else ()
        argv = (self.program, "sign", "--yes", *self._key(), *flags, *http, f"{repository}@{digest}")
        return run(argv, env=self.environ, check=False, timeout=_PATIENCE, error=AuthError)

    def _log(self) -> tuple[str, ...]:
        return ("--tlog-upload=false",) if self.environ.get("LAMELLA_COSIGN_TLOG", "").lower() in _NO else ()

    def _key(self) -> tuple[str, ...]:
        if self.environ.get("LAMELLA_COSIGN_KEY"):
            return ("--key", self.environ["LAMELLA_COSIGN_KEY"])
        return ("--key", "env://COSIGN_PRIVATE_KEY") if self.environ.get("COSIGN_PRIVATE_KEY") else ()


def find_cosign(environ: Mapping[str, str], *, insecure: bool = False) -> Cosign | None:
    """The program on the caller's PATH, None when it is not there."""
    program = which("cosign", environ)
    return Cosign(program, environ, insecure) if program else None
