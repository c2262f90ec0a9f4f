"""The error tree: who must act decides the class, the class decides the exit code.

    LamellaError
    ├── InternalError          70  a defect in Lamella itself
    ├── StepError               1  a build step of the project failed
    ├── ConfigError             2  usage or configuration; carries all problems of a file
    ├── IntegrityError          3  content does not match what was promised
    ├── StoreBusyError          4  somebody else holds the store or a key
    ├── ResourceError           5  disk, inodes, memory, descriptors or time used up
    ├── RegistryError           6  registry or network; trying again may help
    ├── AuthError               7  credentials are missing, wrong or not enough
    ├── SandboxError            8  the isolation that was asked for cannot be had
    └── HostileInputError       9  input that is hostile or of an unsupported form

A message says what, where and why without a full stop; ``hint`` says what to do.
Library code raises these and never prints or exits; ``lamella.cli`` is the one catcher.
"""

from __future__ import annotations

from lamella.values import dataclass

__all__ = [
    "EXIT_DETAILED",
    "AuthError",
    "ConfigError",
    "HostileInputError",
    "IntegrityError",
    "InternalError",
    "LamellaError",
    "Problem",
    "RegistryError",
    "ResourceError",
    "SandboxError",
    "StepError",
    "StoreBusyError",
]

EXIT_DETAILED = 10
"""Exit code for "there is work", only with ``--detailed-exitcode``."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One finding in an input file; ``line`` and ``column`` count from 1, 0 means unknown."""

    file: str
    line: int
    column: int
    message: str
    hint: str = ""

    @property
    def where(self) -> str:
        """``file:line:column``, without the parts that are unknown."""
        if not self.line:
            return self.file
        return f"{self.file}:{self.line}:{self.column}" if self.column else f"{self.file}:{self.line}"

    def render(self) -> str:
        """The problem as one or two lines of text."""
        text = f"{self.where}: {self.message}" if self.file else self.message
        return f"{text}\n  hint: {self.hint}" if self.hint else text


class LamellaError(Exception):
    """Root of everything Lamella raises on purpose.

    ``details`` are further lines for the reader (a log's tail, a command to paste).
    """

    exit_code = 70

    def __init__(self, message: str, *, hint: str = "", details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details


class InternalError(LamellaError):
    """A defect in Lamella: an invariant that its own code promised does not hold."""

    exit_code = 70


class StepError(LamellaError):
    """A step that runs the project's own code ended with a failure."""

    exit_code = 1


class ConfigError(LamellaError):
    """Wrong usage or configuration. ``problems`` holds every finding of the run, sorted by place."""

    exit_code = 2

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        details: tuple[str, ...] = (),
        problems: tuple[Problem, ...] = (),
    ) -> None:
        super().__init__(message, hint=hint, details=details)
        self.problems = tuple(sorted(problems))

    @classmethod
    def from_problems(cls, problems: tuple[Problem, ...]) -> ConfigError:
        """One error out of all findings; its message is the first finding or their number."""
        ordered = tuple(sorted(problems))
        if len(ordered) == 1:
            only = ordered[0]
            text = f"{only.where}: {only.message}" if only.file else only.message
            return cls(text, hint=only.hint, problems=ordered)
        return cls(f"{len(ordered)} problems in the configuration", problems=ordered)


class IntegrityError(LamellaError):
    """Content differs from its digest, size or record; trying again with the same input does not help."""

    exit_code = 3


class StoreBusyError(LamellaError):
    """A lock of the store was not released in time."""

    exit_code = 4


class ResourceError(LamellaError):
    """Disk space, inodes, memory, file descriptors or a time limit are used up."""

    exit_code = 5


class RegistryError(LamellaError):
    """A registry or the network did not do what was asked; the request may be tried again."""

    exit_code = 6


class AuthError(LamellaError):
    """Credentials are missing, wrong, or do not allow what was asked."""

    exit_code = 7


class SandboxError(LamellaError):
    """Isolation that a step needs cannot be had on this host. There is no silent weaker mode."""

    exit_code = 8


class HostileInputError(LamellaError):
    """An archive, manifest or name that is hostile, ambiguous or of an unsupported form."""

    exit_code = 9
