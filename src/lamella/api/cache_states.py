"""States of steps in the cache repository: brought before a step that has none, pushed after one that ran."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lamella.cache.repository import CacheRepository
from lamella.cache.states import push_state, restore_state
from lamella.engines.local.steps import with_own_states
from lamella.engines.work import Made, Maker, Work
from lamella.graph.events import Message
from lamella.graph.mount import StateMount
from lamella.graph.op import ExecOp
from lamella.values import dataclass

if TYPE_CHECKING:
    from lamella.cache.domains import Place
    from lamella.graph.protocols import Clock
    from lamella.planning.plan import Plan
    from lamella.registry.remote import RemoteRepository
    from lamella.store.store import Store

__all__ = ["StateBringer", "push_states", "state_ids"]


@dataclass(frozen=True, slots=True)
class StateBringer:
    """A maker that brings the states which a step lacks, where that is predicted to be worth it, then has it made."""

    maker: Maker
    store: Store
    readers: Sequence[CacheRepository]
    clock: Clock

    def make(self, work: Work) -> Made:
        """Makes one vertex."""
        op = work.vertex.op
        if isinstance(op, ExecOp) and not work.request.options.without_states:
            for identity in state_ids(op, work.input_result(0).identity):
                self._bring(work, identity)
        return self.maker.make(work)

    def _bring(self, work: Work, identity: str) -> None:
        name = work.vertex.info.name

        def say(level: str, text: str) -> None:
            work.emit(Message(self.clock.monotonic(), level, text))

        start = self.clock.monotonic()
        where = restore_state(self.store, self.readers, identity, name, lambda text: say("warning", text))
        if where:
            say("info", f"state of {name} restored from {where} in {self.clock.monotonic() - start:.1f} s")


def state_ids(op: ExecOp, identity: str) -> tuple[str, ...]:
    """The states of a step on the root file system of that identity."""
    return tuple(mount.id for mount in with_own_states(op, identity).mounts if isinstance(mount, StateMount))


def push_states(
    store: Store, place: Place, remote: RemoteRepository, plan: Plan, made: set[str], now: int
) -> tuple[int, int]:
    """Pushes the states of the steps that ran, ``made`` by resolved key; how many, and the bytes of their archives.

    ``now`` is in seconds since the epoch.

    Raises RegistryError, AuthError, IntegrityError.
    """
    longest: dict[str, tuple[str, float]] = {}  # several steps may share a state: the longest one is what it saves
    for identity, name, seconds in _states_of(plan, made):
        longest[identity] = max(longest.get(identity, (name, 0.0)), (name, seconds), key=lambda found: found[1])
    sizes = [push_state(store, place, remote, one, name, seconds, now) for one, (name, seconds) in longest.items()]
    sent = [size for size in sizes if size is not None]
    return len(sent), sum(sent)


def _states_of(plan: Plan, made: set[str]) -> Iterator[tuple[str, str, float]]:
    """State id, name and seconds of each step that ran here."""
    for item in plan.vertices:
        op = plan.graph.definition[item.vertex].op
        if item.key in made and item.record is not None and isinstance(op, ExecOp):
            base = plan.results[plan.graph.definition[item.vertex].inputs[0].vertex]
            for identity in state_ids(op, base.identity):
                yield identity, item.name, float(item.record.seconds)
