"""What a phase knows of the steps that it is about to run: which they are, what they read, what is wanted back."""

from __future__ import annotations

from collections.abc import Iterable

from lamella.canonical import FrozenMap, digest_value
from lamella.engines.local.steps import with_own_states
from lamella.engines.solving import Solving
from lamella.engines.work import Work
from lamella.errors import InternalError
from lamella.graph.keys import KeyParts
from lamella.graph.mount import CacheMount, StateMount
from lamella.graph.op import ExecOp
from lamella.graph.vertex import RootfsOf, Vertex
from lamella.values import dataclass, field

__all__ = ["Selected", "exec_op", "known_inputs", "select_steps", "stands_alone", "state_ids"]

_NO_KEY = KeyParts(0, "", "", "", ())


@dataclass(slots=True)
class Selected:
    """The steps of one bake call, inputs first.

    ``again`` are among them for their bytes: they have a record, and a step of the phase stands on them. ``whole`` are
    root file systems of which the whole tree is wanted back. ``states`` maps ids of mounts to BuildKit's.
    """

    steps: list[str] = field(default_factory=list)
    again: set[str] = field(default_factory=set)
    whole: set[str] = field(default_factory=set)
    states: dict[str, str] = field(default_factory=dict)

    def without(self, solving: Solving, failed: str, only: frozenset[str] | None) -> Selected:
        """The steps that a failed one leaves: those that do not stand on it, and of them ``only`` these."""
        definition = solving.request.definition
        gone, left = {failed}, []
        for key in self.steps:
            if key == failed or any(edge.vertex in gone for edge in definition[key].inputs):
                gone.add(key)
            elif only is None or key in only:
                left.append(key)
            else:
                gone.add(key)
        kept = set(left)
        return Selected(left, self.again & kept, self.whole & kept, self.states)


def exec_op(vertex: Vertex) -> ExecOp:
    """The op of a step."""
    if not isinstance(vertex.op, ExecOp):
        raise InternalError(f"vertex {vertex.info.name!r} runs no step")
    return vertex.op


def known_inputs(solving: Solving, key: str) -> Work:
    """A step with those of its inputs that are made already, whatever its key will be."""
    definition = solving.request.definition
    vertex = definition[key]
    known = tuple(edge for edge in vertex.inputs if edge.vertex in solving.results)
    seen = Vertex(vertex.op, known, vertex.platform, vertex.execution, vertex.info)
    return Work(key, seen, _NO_KEY, solving.results, solving.request, solving.resolver, solving.sink.emit)


def select_steps(solving: Solving, wanted: Iterable[str], platform: str, nonce: str) -> Selected:
    """As many of the ``wanted`` steps, inputs first, as one bake call can run, with what they stand on.

    Left out are steps of another platform, those whose states would have another id than in a step before, and what
    stands on either. What a step reads and the store has not is brought or made.
    """
    chosen = Selected()
    order = {key: number for number, key in enumerate(solving.request.definition.vertices)}
    taken: set[str] = set()
    for key in wanted:
        vertex = solving.request.definition[key]
        needs = {edge.vertex for edge in vertex.inputs if edge.vertex not in solving.results}
        states = state_ids(solving, key, nonce)
        clash = any(chosen.states.get(name, value) != value for name, value in states.items())
        if vertex.execution != platform or clash or not needs <= taken:
            continue
        solving.refuse(known_inputs(solving, key))
        taken.add(key)
        if key in solving.results:
            chosen.again.add(key)
        chosen.states |= states
        if key in solving.request.exports:
            chosen.whole.add(key)
        _bring(solving, key, chosen)
    for key in tuple(chosen.whole):
        _whole_below(solving, key, {*taken, *chosen.again}, chosen)
    chosen.steps = sorted({*taken, *chosen.again}, key=order.__getitem__)
    return chosen


def _bring(solving: Solving, key: str, chosen: Selected) -> None:
    """Has what a step reads at hand; steps whose bytes nobody has run again in the same call."""
    definition = solving.request.definition
    work = known_inputs(solving, key)
    for absent in solving.absent(work):
        if not isinstance(definition[absent].op, ExecOp):
            solving.make_again(absent, work)
        elif absent not in chosen.again:
            chosen.again.add(absent)
            _bring(solving, absent, chosen)


def _whole_below(solving: Solving, key: str, here: set[str], chosen: Selected) -> None:
    """A layer is the difference to what is below it, so trees below that are made here are wanted whole too."""
    definition = solving.request.definition
    for below in definition.chain(key)[:-1]:
        if below in here and isinstance(definition[below].op, ExecOp):
            chosen.whole.add(below)


def state_ids(solving: Solving, key: str, nonce: str) -> dict[str, str]:
    """Ids of BuildKit's cache mounts for a step's states and caches: those of the very root file system, as in the
    embedded engine, and with ``without_states`` ones that nobody had before.
    """
    vertex = solving.request.definition[key]
    op = exec_op(vertex)
    below = solving.results.get(vertex.inputs[0].vertex) if vertex.inputs else None
    own = with_own_states(op, below.identity if below is not None else "")
    fresh = nonce if solving.request.options.without_states else ""
    found: dict[str, str] = {}
    for mount, mine in zip(op.mounts, own.mounts, strict=True):
        if isinstance(mount, (StateMount, CacheMount)) and isinstance(mine, (StateMount, CacheMount)):
            found[mount.id] = digest_value(FrozenMap({"cache": mine.id, "fresh": fresh})).removeprefix("sha256:")[:40]
    return found


def stands_alone(solving: Solving, key: str) -> bool:
    """Whether a step may join a phase although inputs of it are made in it: its key is not needed to run it.

    Not so where the rules ask for a record first, and not for states, whose id holds the root file system's identity.
    """
    vertex = solving.request.definition[key]
    op, options = exec_op(vertex), solving.request.options
    rootfs_known = all(edge.vertex in solving.results for edge in vertex.inputs if isinstance(edge.selection, RootfsOf))
    has_state = any(isinstance(mount, StateMount) for mount in op.mounts)
    return vertex.info.missing == "build" and not options.offline and (rootfs_known or not has_state)
