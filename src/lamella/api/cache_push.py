"""Pushes the records of a build to the cache repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamella.api.cache import cache_places
from lamella.api.cache_states import push_states
from lamella.api.network import registry_client, stored_credentials
from lamella.cache.domains import Place
from lamella.cache.push import Candidate, PushReport, RecordPusher
from lamella.errors import AuthError, ConfigError
from lamella.images.variants import layer_variant
from lamella.values import replace

if TYPE_CHECKING:
    from lamella.api.session import Session
    from lamella.build.options import BuildReport
    from lamella.build.selection import Selection
    from lamella.oci.manifest import Descriptor

__all__ = ["check_writer", "push_records"]


def push_records(session: Session, selection: Selection, report: BuildReport) -> PushReport | None:
    """Pushes the records of a selection with their bytes after a build, and the states of its steps.

    None, and a line that says so, when there are no credentials to write with. Raises ConfigError without a
    repository, AuthError for credentials that are refused, RegistryError, IntegrityError.
    """
    place = _writer(session)
    made = {row.key for row in report.vertices if row.outcome == "built"}
    plan = session.plan(selection)
    candidates = {
        vertex.key: Candidate(vertex.record, vertex.executes, vertex.key in made)
        for vertex in plan.vertices
        if vertex.record is not None
    }
    remote = registry_client(session.options).repository(place.repository)
    named = session.options.cache_to  # who names a repository wants the records there, whoever else has them
    readers = session.cache.readers if session.cache is not None and not named else ()
    own = session.project.repository
    pusher = RecordPusher(
        session.store,
        place,
        remote,
        readers,
        layer_blob=lambda diff_id: _blob(session, diff_id),
        mount_from=(own.value,) if own is not None and isinstance(own.value, str) else (),
    )
    try:
        with session.store.lease("push"):
            pushed = pusher.push(tuple(candidates.values()))
            if session.project.cache.state:
                states, sent = push_states(session.store, place, remote, plan, made, session.clock.now())
                pushed = replace(pushed, states=states, bytes=pushed.bytes + sent)
            return pushed
    except AuthError:
        if stored_credentials(session.options)(place.repository.registry) is not None:
            raise
    where = place.repository.registry or str(place)
    session.warn(f"no credentials for {where}: records are read anonymously, and none are written")
    return None


def check_writer(session: Session) -> None:
    """Raises ConfigError when records shall be pushed and there is no place for them."""
    _writer(session)


def _writer(session: Session) -> Place:
    writer = cache_places(session.project, session.options).writer
    if session.options.offline:
        raise ConfigError("--offline and pushing records exclude each other")
    if writer is None:
        raise ConfigError(
            "there is no repository to push records to",
            hint="set repository in [project] or [cache], or name one: --cache-to registry.example/acme/shop-cache",
        )
    return writer


def _blob(session: Session, diff_id: str) -> Descriptor | None:
    """The form of a layer that images use, brought here first; None when it cannot be had."""
    if not session.store.variants.of(diff_id) and not (session.cache and session.cache.layer(diff_id)):
        return None
    return layer_variant(session.store, diff_id)
