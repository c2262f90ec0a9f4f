"""Repositories of registries: which a project publishes to, what they hold, what may go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from lamella.api.cache import cache_places
from lamella.api.network import registry_client
from lamella.build.parts import expand_cells
from lamella.build.selection import Selection
from lamella.errors import ConfigError
from lamella.images.catalog import Catalog, read_catalog
from lamella.images.retain import RetainPlan, check_share, plan_cache_retention, plan_retention
from lamella.images.retain_apply import Journal, Removed, apply_retention
from lamella.oci.reference import parse_reference
from lamella.values import dataclass

if TYPE_CHECKING:
    from lamella.api.options import SessionOptions
    from lamella.api.session import Session
    from lamella.project.delivery import RetainSpec
    from lamella.registry.remote import RemoteRepository
    from lamella.store.store import Store

__all__ = ["Retention", "catalog", "project_caches", "project_repositories", "retain", "retain_cache"]

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Retention:
    """One repository's plan, and with ``--apply`` what became of it."""

    plan: RetainPlan
    removed: tuple[Removed, ...] = ()


def project_repositories(session: Session) -> tuple[str, ...]:
    """The repositories that the images of a project are published to, sorted.

    Raises ConfigError when the project names none.
    """
    found = {
        image.repository
        for cell in expand_cells(session.parts, Selection(all=True))
        for image in cell.images
        if image.repository
    }
    if not found:
        raise ConfigError(
            f"project {session.project.name!r} has no repository",
            hint='set repository = "registry.example/team/name" in [project], or name one on the command line',
        )
    return tuple(sorted(found))


def catalog(options: SessionOptions, repository: str, *, on_progress: OnProgress = lambda done, total: None) -> Catalog:
    """What a repository holds. Raises RegistryError, AuthError, ConfigError for a name with a tag."""
    return read_catalog(_open(options, repository), on_progress=on_progress)


def retain(
    options: SessionOptions,
    store: Store,
    repository: str,
    rules: Mapping[str, RetainSpec],
    *,
    now: int,
    most: float,
    apply: bool,
    on_plan: Callable[[RetainPlan], None] = lambda plan: None,
    on_removed: Callable[[Removed], None] = lambda removed: None,
    on_progress: OnProgress = lambda done, total: None,
) -> Retention:
    """The plan of a repository, carried out with ``apply``. ``most`` is the largest part of its tags that may go."""
    remote = _open(options, repository)
    journal = Journal.of(store.layout.journals, remote.name)
    noted = journal.read()
    found = read_catalog(remote, also=noted, on_progress=on_progress)
    plan = plan_retention(found, rules, now=now, orphans=noted)
    on_plan(plan)
    work = partial(apply_retention, remote, found, plan, journal, on_removed=on_removed)
    return _carried_out(plan, work, most=most, apply=apply)


def project_caches(session: Session) -> tuple[str, ...]:
    """The cache repositories that this run reads and writes, by its trust domain. Raises ConfigError without any."""
    places = cache_places(session.project, session.options)
    found = tuple(dict.fromkeys(str(place.repository) for place in places.readers))
    if not found:
        raise ConfigError(
            f"project {session.project.name!r} has no cache repository",
            hint="set repository in [project], or [cache] repository; or name one with --repository",
        )
    return found


def retain_cache(
    options: SessionOptions,
    store: Store,
    repository: str,
    *,
    keep: int,
    max_age: int,
    now: int,
    most: float,
    apply: bool,
    on_plan: Callable[[RetainPlan], None] = lambda plan: None,
    on_removed: Callable[[Removed], None] = lambda removed: None,
) -> Retention:
    """The same for a cache repository, whose records and states go by vertex, number and age."""
    remote = _open(options, repository)
    found = read_catalog(remote)
    plan = plan_cache_retention(found, keep=keep, max_age=max_age, now=now)
    on_plan(plan)
    work = partial(
        apply_retention, remote, found, plan, Journal.of(store.layout.journals, remote.name), on_removed=on_removed
    )
    return _carried_out(plan, work, most=most, apply=apply)


def _carried_out(plan: RetainPlan, work: Callable[[], tuple[Removed, ...]], *, most: float, apply: bool) -> Retention:
    """The plan alone, or with what ``work`` did; raises ConfigError when more would go than ``most`` allows."""
    if not apply:
        return Retention(plan)
    check_share(plan, most)
    return Retention(plan, work())


def _open(options: SessionOptions, repository: str) -> RemoteRepository:
    reference = parse_reference(repository)
    if reference.tag or reference.digest:
        raise ConfigError(f"{repository!r} names one image, not a repository", hint=f"write {_bare(repository)}")
    if options.offline:
        raise ConfigError("a registry cannot be asked with --offline")
    return registry_client(options).repository(reference)


def _bare(repository: str) -> str:
    reference = parse_reference(repository)
    return f"{reference.registry}/{reference.repository}" if reference.registry else reference.repository
