"""The seam between the BuildKit engine's loop and its pure lowering: what one bake call is made of, and what it gives.

Everything here is a value without paths of this machine and without times, so that equal phases give equal bytes.
Paths are relative to the staged context folder, or to the folder that takes the exports.
"""

from __future__ import annotations

from typing import Any

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.graph.definition import Definition
from lamella.values import dataclass, field

__all__ = ["BaseRef", "LowerOptions", "Lowered", "Phase", "Target"]


@dataclass(frozen=True, slots=True)
class BaseRef:
    """Where a root file system that this phase does not make comes from.

    ``kind`` is ``image`` (``value`` a reference with digest; its config must have no ONBUILD triggers), ``tar``
    (``value`` a flattened tree in the context, with owners) or ``scratch`` (``value`` empty).
    """

    kind: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class Phase:
    """Steps that run in one bake call, with what they stand on. Steps of one phase have one execution platform.

    ``steps`` are definition keys of ExecOps, inputs first. ``bases`` maps root file system vertices that are not made
    here to where they come from, ``added`` layer vertices of a chain (UsersOp) to a tar that is laid on top of what
    is below them, ``inputs`` vertices with a product to the folder of the context that holds it (a product of one
    file is a folder with one file). ``products``, ``rootfs`` and ``identities`` say what is wanted back: a step's
    product with its evidence, a whole tree, the package set. ``states`` maps ids of state and cache mounts of the ops
    to ids of BuildKit's cache mounts; ids without an entry are hashed. ``secrets`` are the ids that have a value.
    ``forced`` steps run again although BuildKit has them, by means of ``nonce``.
    """

    project: str
    definition: Definition
    steps: tuple[str, ...]
    bases: FrozenMap[str, BaseRef] = EMPTY_MAP
    added: FrozenMap[str, str] = EMPTY_MAP
    inputs: FrozenMap[str, str] = EMPTY_MAP
    products: frozenset[str] = frozenset()
    rootfs: frozenset[str] = frozenset()
    identities: frozenset[str] = frozenset()
    states: FrozenMap[str, str] = EMPTY_MAP
    secrets: frozenset[str] = frozenset()
    forced: frozenset[str] = frozenset()
    nonce: str = ""


@dataclass(frozen=True, slots=True)
class LowerOptions:
    """How the builder wants it. Nothing of it is in a key of ours.

    ``network`` is what steps with an open network get: ``default`` (the builder's own) or ``host``. ``allow_network``
    accepts that a step which asks for none has it, where the level cannot close it. ``no_cache`` makes BuildKit use
    nothing of its cache. ``proxies`` are build arguments that BuildKit knows and keeps out of its keys (HTTP_PROXY
    and the like), ``step_env`` further variables for commands with an open network. ``ca_bundle`` is a PEM file in
    the context that such commands trust too. ``context`` and ``exports`` are folders relative to where buildx runs.
    """

    network: str = "default"
    allow_network: bool = False
    no_cache: bool = False
    proxies: FrozenMap[str, str] = EMPTY_MAP
    step_env: FrozenMap[str, str] = EMPTY_MAP
    ca_bundle: str = ""
    context: str = "context"
    exports: str = "exports"
    secret_files: FrozenMap[str, str] = field(default=EMPTY_MAP, repr=False)


@dataclass(frozen=True, slots=True)
class Target:
    """One export of the bake call: ``name`` of the bake target, ``vertex`` the definition key, ``file`` its tar.

    ``kind`` says what the tar holds. ``product``: ``product/`` (the product), ``evidence/<number>`` (captured output;
    ``evidence`` maps names to these paths) and ``wrote`` (paths below binds that were written, each ended by NUL).
    ``rootfs``: the whole tree; ``stubs`` are absolute paths that BuildKit may have made for mounts: what of them is
    empty and not in the chain below is no change of the step. ``packages``: ``packages/dpkg-status``,
    ``packages/dpkg-status.d/*``, ``packages/apk-installed``, ``packages/rpm`` (lines of name, epoch:version-release,
    architecture), as far as the root file system has them.
    """

    name: str
    vertex: str
    kind: str
    file: str
    evidence: FrozenMap[str, str] = EMPTY_MAP
    stubs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lowered:
    """What goes to buildx. ``files`` are laid into the context, ``bake`` is the JSON value for ``bake -f -``.

    ``secrets`` maps ids of secrets to the environment variables that buildx reads their values from (those in
    ``LowerOptions.secret_files`` are read from there). ``allow`` are values for ``--allow``. ``stages`` maps names of
    stages to definition keys, for the progress stream. ``open_network`` are steps that asked for no network and have
    it; ``notes`` says such things once, in words.
    """

    dockerfile: str
    files: FrozenMap[str, bytes]
    bake: Any
    targets: tuple[Target, ...]
    secrets: FrozenMap[str, str] = EMPTY_MAP
    allow: tuple[str, ...] = ()
    stages: FrozenMap[str, str] = EMPTY_MAP
    open_network: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
