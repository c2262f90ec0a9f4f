"""The mounts of a step, in the words of RUN --mount; and the names by which a builder knows caches and secrets."""

from __future__ import annotations

from collections.abc import Callable

from lamella.canonical import digest_value
from lamella.engines.buildkit import script as scripts
from lamella.engines.buildkit.dockerfile import MountOption
from lamella.engines.buildkit.levels import Level
from lamella.engines.buildkit.phase import Phase
from lamella.errors import ConfigError, InternalError
from lamella.graph.mount import BindMount, CacheMount, Mount, SecretMount, StateMount, TmpfsMount
from lamella.graph.op import ExecOp
from lamella.values import dataclass

__all__ = ["CA_FOLDER", "GIVEN", "StepMounts", "cache_id", "context_file", "is_root", "secret_id", "secret_variable"]

GIVEN = "given"
"""A stage with scripts and CA bundle, for builders that cannot keep a step from writing into the context."""

CA_FOLDER = "/run/lamella"
"""Where the joined CA bundle is made, in memory."""

_Options = tuple[tuple[str, str | None], ...]


def cache_id(kind: str, name: str) -> str:
    """The id of a BuildKit cache mount for a state or cache; names may hold anything, so they are hashed."""
    return f"lamella-{kind}-{_hash({'kind': kind, 'id': name}, 32)}"


def secret_id(name: str) -> str:
    """The id of a secret for the builder: hashed, since buildx reads it out of comma-separated text."""
    return _hash({"secret": name}, 16)


def secret_variable(name: str) -> str:
    """The environment variable by which buildx gets a value: never in arguments (RELIABILITY B4)."""
    return f"LAMELLA_SECRET_{secret_id(name).upper()}"


def is_root(op: ExecOp) -> bool:
    """Whether a step runs as root of its container."""
    return op.user.partition(":")[0] in ("0", "root")


def context_file(path: str, target: str, level: Level) -> MountOption:
    """A file of the context that a step must not change; where a builder would let it, it gets a copy.

    That copy is one of the stage ``GIVEN``: what lies below a writable bind becomes unchangeable in the builder, so
    the context itself would have to be sent again as a whole, with every build (measured on 0.8 and 0.25).
    """
    source = (("source", path),) if level.firm_readonly else (("from", GIVEN), ("source", path))
    mode: _Options = () if level.firm_readonly else (("rw", None),)
    return MountOption((("type", "bind"), *source, ("target", target), *mode))


@dataclass(frozen=True, slots=True)
class StepMounts:
    """Makes the mounts of a phase's steps. ``stage_of`` gives the stage of a step's product, or of an input's copy."""

    phase: Phase
    level: Level
    stage_of: Callable[[str], str]

    def of(self, key: str, op: ExecOp, script: str, ca_bundle: str) -> tuple[MountOption, ...]:
        """All mounts: the ``script`` and the CA bundle (empty: none) of the context, what the op names, outer first.

        Raises ConfigError for a secret without a value.
        """
        found = [context_file(script, scripts.STEP_PATH, self.level)]
        if ca_bundle:
            found.append(context_file(ca_bundle, scripts.CA_SOURCE, self.level))
            found.append(MountOption((("type", "tmpfs"), ("target", CA_FOLDER))))
        others = [mount for mount in op.mounts if not isinstance(mount, SecretMount)]
        found += [self._mount(key, op, mount) for mount in sorted(others, key=lambda mount: mount.target)]
        return (*found, *self._secrets(key, op))

    def _mount(self, key: str, op: ExecOp, mount: Mount) -> MountOption:
        match mount:
            case BindMount():
                source = self._source(key, mount)
                return MountOption((("type", "bind"), *source, ("target", mount.target), ("rw", None)))
            case CacheMount():
                return self._cache(op, mount, cache_id("cache", mount.id), mount.sharing)
            case StateMount():
                return self._cache(op, mount, cache_id("state", mount.id), "locked")
            case TmpfsMount():
                size: _Options = (("size", str(mount.size)),) if mount.size and self.level.tmpfs_size else ()
                return MountOption((("type", "tmpfs"), ("target", mount.target), *size))
            case SecretMount():
                raise InternalError("secrets are mounted by their place among the secrets")

    def _source(self, key: str, mount: BindMount) -> _Options:
        """Where a bind comes from: the copy of a folder of the context, or the product of a step in this phase.

        Copies are for the reason that ``context_file`` names.
        """
        vertex = self.phase.definition[key].inputs[mount.input].vertex
        inner = mount.source.strip("/")
        if vertex in self.phase.inputs:
            return (("from", self.stage_of(vertex)), *((("source", inner),) if inner else ()))
        if vertex not in self.phase.steps:
            name = self.phase.definition[vertex].info.name
            raise InternalError(f"product {name!r} is neither in the phase nor handed in")
        product = f"{scripts.OUT}/product"
        return (("from", self.stage_of(vertex)), ("source", f"{product}/{inner}" if inner else product))

    def _cache(self, op: ExecOp, mount: CacheMount | StateMount, default: str, sharing: str) -> MountOption:
        identity = self.phase.states.get(mount.id, default)
        options = (("type", "cache"), ("id", identity), ("target", mount.target), ("sharing", sharing))
        return MountOption((*options, *_owner(op, "0755", "0777")))

    def _secrets(self, key: str, op: ExecOp) -> list[MountOption]:
        """Secrets that have a value: as the file that the op names, and as one for the script to read."""
        found = []
        for mount in op.mounts:
            if isinstance(mount, SecretMount) and mount.id not in self.phase.secrets and not mount.optional:
                raise ConfigError(
                    f"{self.phase.definition[key].info.name} needs secret {mount.id!r}, which has no value",
                    hint=f"set its environment variable or file, or give --secret id={mount.id},env=NAME",
                )
        for number, mount in enumerate(scripts.given_secrets(op, self.phase.secrets)):
            places = (mount.target, scripts.secret_file(number) if mount.env else "")
            for place in filter(None, places):
                options = (("type", "secret"), ("id", secret_id(mount.id)), ("target", place), ("required", None))
                found.append(MountOption((*options, *(_owner(op, "0400", "0444") or (("mode", "0400"),)))))
        return found


def _owner(op: ExecOp, mode: str, others: str) -> _Options:
    """Owner and mode of a mount for the step's user, empty for root; a user by name must get by with the mode."""
    user, _, group = op.user.partition(":")
    if is_root(op):
        return ()
    if user.isdigit() and (group or user).isdigit():
        return (("mode", mode), ("uid", user), ("gid", group or user))
    return (("mode", others),)


def _hash(value: dict[str, str], length: int) -> str:
    return digest_value(value).removeprefix("sha256:")[:length]
