"""What the runner asks of its helper, as values that travel as one line of JSON each.

Paths are the host's unless they say ``target`` or ``source`` of an output. All of it is prepared by the runner, which
holds leases, locks and secrets; the helper only touches the directories that it is given.
"""

from __future__ import annotations

from typing import Any

from lamella import errors
from lamella.errors import InternalError, LamellaError
from lamella.values import dataclass, field

__all__ = [
    "BootstrapJob",
    "ChainJob",
    "CommandJob",
    "DirectoryMount",
    "ExportJob",
    "ExportReply",
    "Hello",
    "InputMount",
    "OutputJob",
    "RemoveJob",
    "Reply",
    "Request",
    "RootfsJob",
    "SecretFile",
    "StepJob",
    "StepReply",
    "TmpfsJob",
    "UnpackJob",
    "error_of",
    "error_reply",
]


@dataclass(frozen=True, slots=True)
class Hello:
    """The first line: what the helper needs to know of its surroundings.

    ``env`` is the environment for programs of the host, ``rootless`` whether a user namespace is needed,
    ``scratch`` a directory of the store's file system for a trial mount.
    """

    env: dict[str, str]
    rootless: bool
    scratch: str


@dataclass(frozen=True, slots=True)
class RootfsJob:
    """A root file system: ``lowers`` lowest first, or ``host`` paths shown read-only at the same place."""

    lowers: tuple[str, ...] = ()
    host: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InputMount:
    """An input at ``target``: ``source`` inside ``tree``, writes thrown away and reported.

    With ``fileset`` (a file that holds one in stored form) those files are copied out of ``tree`` first, into
    ``stage`` when there is a lasting one. ``touch`` makes their times newer than ``after`` (nanoseconds).
    """

    target: str
    tree: str
    source: str = ""
    fileset: str = ""
    stage: str = ""
    touch: bool = False
    after: int = 0


@dataclass(frozen=True, slots=True)
class DirectoryMount:
    """A state or cache at ``target``; with ``stamp`` its time is set to the step's end."""

    target: str
    path: str
    stamp: bool = False


@dataclass(frozen=True, slots=True)
class TmpfsJob:
    """A directory in memory; ``size`` in bytes, 0 for the kernel's default."""

    target: str
    size: int = 0


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A secret as a file at ``target``."""

    target: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class CommandJob:
    """One command with its whole environment. ``capture`` is the file that takes standard output, empty for the log."""

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    network: bool = False
    unless: tuple[str, ...] = ()
    capture: str = ""


@dataclass(frozen=True, slots=True)
class OutputJob:
    """One path of the step that is copied out, to ``target`` in the product (empty: the product itself)."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class StepJob:
    """A step. ``folder`` is private to it and goes with it; ``result`` (in it) takes product or changes.

    ``ca_bundle`` is PEM text that programs shall trust too, shown at ``ca_target``. ``masks`` are the texts that
    must not appear in output. ``memory`` bytes and ``processes`` are limits, 0: none.
    """

    folder: str
    result: str
    rootfs: RootfsJob
    commands: tuple[CommandJob, ...]
    user: str = "0:0"
    inputs: tuple[InputMount, ...] = ()
    directories: tuple[DirectoryMount, ...] = ()
    tmpfs: tuple[TmpfsJob, ...] = ()
    secrets: tuple[SecretFile, ...] = ()
    outputs: tuple[OutputJob, ...] = ()
    scratch: tuple[str, ...] = ()
    ca_bundle: bytes = b""
    ca_target: str = ""
    masks: tuple[bytes, ...] = field(default=(), repr=False)
    memory: int = 0
    processes: int = 0
    terminal: bool = False


@dataclass(frozen=True, slots=True)
class StepReply:
    """What a step did. ``fileset``, ``packages`` and ``facts`` (an outline) are files in its folder; with ``unchanged``
    the latter two are those of the chain below. ``failed`` is the number of the command that ended with ``code``, -1
    for none; ``out_of`` says which limit it met.
    """

    fileset: str = ""
    packages: str = ""
    facts: str = ""
    unchanged: bool = False
    failed: int = -1
    code: int = 0
    out_of: str = ""
    wrote: tuple[str, ...] = ()
    seconds: tuple[float, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BootstrapJob:
    """A bootstrap with mmdebstrap(1). ``arguments`` name ``<folder>/merged`` as the target."""

    folder: str
    result: str
    arguments: tuple[str, ...]
    env: dict[str, str]


@dataclass(frozen=True, slots=True)
class UnpackJob:
    """A layer blob to unpack into ``result`` on top of ``lowers`` (lowest first)."""

    folder: str
    result: str
    blob: str
    media_type: str
    diff_id: str
    size: int
    lowers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExportJob:
    """One element of a chain, to be written as a layer's blob into ``folder``; ``fileset`` is its file set's file."""

    tree: str
    fileset: str
    folder: str
    compressor: str


@dataclass(frozen=True, slots=True)
class ExportReply:
    """The blob of a layer: a file, durable, hashed while it was written. ``diff_id``, ``size`` (bytes) and ``entries``
    are the layer's, the others the blob's.
    """

    path: str
    media_type: str
    digest: str
    blob_size: int
    diff_id: str
    size: int
    entries: int


@dataclass(frozen=True, slots=True)
class ChainJob:
    """A question about a chain: ``lowers`` lowest first; ``want`` is ``facts`` or ``packages``."""

    folder: str
    lowers: tuple[str, ...]
    want: str
    platform: str = ""


@dataclass(frozen=True, slots=True)
class RemoveJob:
    """Trees to remove."""

    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """One line to the helper: start ``job`` of ``kind`` under a number, or with ``kind`` ``cancel`` end that one."""

    number: int
    kind: str
    job: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """One line from the helper. ``event`` is ``line`` (of output), ``done`` or ``error``.

    ``error`` names a class of ``lamella.errors``.
    """

    number: int
    event: str
    stream: int = 0
    text: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    hint: str = ""
    details: tuple[str, ...] = ()


def error_reply(number: int, error: LamellaError) -> Reply:
    """An error on its way to the runner."""
    return Reply(
        number, "error", text=error.message, error=type(error).__name__, hint=error.hint, details=error.details
    )


def error_of(reply: Reply) -> LamellaError:
    """The error that a reply brings; a defect of ours when its class is not known."""
    kind = getattr(errors, reply.error, InternalError)
    error: LamellaError = kind(reply.text, hint=reply.hint, details=reply.details)
    return error
