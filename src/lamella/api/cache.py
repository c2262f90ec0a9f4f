"""The cache repositories of a session: which they are, and layers brought here when they are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from lamella.cache.domains import Domain, Place, Places, domain_of, parse_domain, parse_place, places_of
from lamella.cache.lookup import CacheLookup
from lamella.cache.repository import CacheRepository, Outage
from lamella.clock import SystemClock
from lamella.errors import RegistryError
from lamella.oci.reference import parse_reference

if TYPE_CHECKING:
    from lamella.api.options import SessionOptions, Warn
    from lamella.graph.protocols import Clock
    from lamella.images.stored import StoredImage
    from lamella.project.projectfile import ProjectFile
    from lamella.registry.remote import RemoteRepository
    from lamella.store.store import Store

__all__ = ["CacheContext", "bring_image", "cache_places", "make_lookup"]

_TRIES, _FIRST_WAIT, _DEADLINE = 3, 0.3, 60.0
_CONNECT = 4.0
"""Seconds to reach a cache: it saves work, so nobody waits long for one that does not answer."""


class CacheContext(Protocol):
    """What the cache needs of a session."""

    @property
    def store(self) -> Store:
        """The open store."""

    @property
    def options(self) -> SessionOptions:
        """What the caller's surroundings give."""

    @property
    def clock(self) -> Clock:
        """Time."""

    @property
    def project(self) -> ProjectFile:
        """The project file."""

    @property
    def warn(self) -> Warn:
        """Takes a line for people."""


def cache_places(project: ProjectFile, options: SessionOptions) -> Places:
    """Where a run reads and writes records: by its trust domain below the project's cache repository, besides what
    ``--cache-from`` adds, and where ``--cache-to`` says. Raises ConfigError.
    """
    base = project.cache.repository or _default_repository(project)
    places = places_of(parse_reference(base), _domain(project, options)) if base else Places()
    writer = parse_place(options.cache_to, "--cache-to") if options.cache_to else places.writer
    more = [parse_place(text, "--cache-from") for text in options.cache_from]
    readers = dict.fromkeys((*places.readers, *more, *((writer,) if writer else ())))
    return Places(tuple(readers), writer)


def _domain(project: ProjectFile, options: SessionOptions) -> Domain:
    """The domain of a run: ``LAMELLA_TRUST``, else the channel's ``trust``, else by the event of the CI system."""
    if options.channel and not options.environ.get("LAMELLA_TRUST"):
        from lamella.project.channels import find_channel

        said = find_channel(project, options.channel).trust
        if said:
            return parse_domain(said)
    return domain_of(options.environ)


def _default_repository(project: ProjectFile) -> str:
    """``<repository>-cache``; none where the project has no repository, or one that differs from cell to cell."""
    value = project.repository.value if project.repository is not None else ""
    return f"{value}-cache" if isinstance(value, str) and value and "{" not in value else ""


def make_lookup(session: CacheContext) -> CacheLookup | None:
    """The chain from the store to the cache repositories; None without one, and with ``--offline``."""
    if session.options.offline or session.store.read_only:
        return None
    places = cache_places(session.project, session.options)
    if not places.readers:
        return None
    return _chain(session.store, session.options, session.clock, session.warn, places.readers)


def _chain(store: Store, options: SessionOptions, clock: Clock, say: Warn, places: Sequence[Place] = ()) -> CacheLookup:
    """The chain over one client, which is made when a repository is asked for the first time."""
    client, outage = _LazyClient(options), Outage(say)

    def repository(place: Place) -> CacheRepository:
        return CacheRepository(place, lambda: client.open(place), say, outage)

    def noted(name: str) -> CacheRepository:
        return repository(Place(parse_reference(name)))

    return CacheLookup(store, [repository(place) for place in places], clock, say, noted=noted)


class _LazyClient:
    """Loads the registry client when something is first asked for: a run that finds all it needs never does."""

    def __init__(self, options: SessionOptions) -> None:
        self._options = options
        self._client: object | None = None

    def open(self, place: Place) -> RemoteRepository:
        """The repository of a place."""
        from lamella.api.network import registry_client
        from lamella.registry.client import RegistryClient
        from lamella.transport.retry import RetryPolicy

        if not isinstance(self._client, RegistryClient):
            policy = RetryPolicy(tries=_TRIES, first_wait=_FIRST_WAIT, deadline=_DEADLINE)
            self._client = registry_client(self._options, policy=policy, connect_timeout=_CONNECT)
        return self._client.repository(place.repository)


def bring_image(
    store: Store, options: SessionOptions, image: StoredImage, warn: Warn, *, without: frozenset[str] = frozenset()
) -> None:
    """Brings the layers of an image of the store that are in a cache repository only, but for some diff_ids.

    Raises RegistryError when one cannot be had.
    """
    wanted = [layer for layer in image.layers if layer.diff_id not in without]
    absent = [layer for layer in wanted if not store.blobs.has(layer.descriptor.digest)]
    if not absent:
        return
    what = f"{len(absent)} of {len(image.layers)} layers of {', '.join(image.names) or 'the image'}"
    if options.offline:
        raise RegistryError(f"{what} are in a cache repository only, and --offline forbids to fetch them")
    chain = _chain(store, options, SystemClock(), warn)
    lost = chain.blobs([(layer.diff_id, layer.descriptor.digest) for layer in absent])
    if lost:
        raise RegistryError(f"{what} are not here, and {len(lost)} cannot be had", hint="build again: lamella build")
