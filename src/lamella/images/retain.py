"""Which tags and manifests of a repository may go. Pure; the plan comes first and says why (RELIABILITY C4, row 52).

Everything that a kept tag leads to is kept: children of its index, what refers to them. A manifest goes only when no
kept tag leads to it. Ages are those of publication; what has none is never old.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from lamella.errors import ConfigError
from lamella.images.catalog import Catalog
from lamella.project.delivery import RetainSpec
from lamella.sources.git import version_key
from lamella.values import dataclass, replace

__all__ = ["ALWAYS_KEPT", "Fate", "Removal", "RetainPlan", "check_share", "plan_cache_retention", "plan_retention"]

ALWAYS_KEPT = ("latest",)
"""Tags that no rule takes."""

DAY = 86400
_TITLE = "org.opencontainers.image.title"
_CACHE_TAG = re.compile(r"(?:([a-z0-9][a-z0-9_-]*)\.)?([rs])\d+-[0-9a-f]{64}")
"""Tags of records and states: who wrote them, where several share a repository, and the kind."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a tag. ``rule`` is the table that decided, empty when no rule names the tag; ``age`` seconds."""

    tag: str
    digest: str
    keep: bool
    why: str
    rule: str = ""
    age: int | None = None


@dataclass(frozen=True, slots=True)
class Removal:
    """One deletion, in the order they are done. ``tags`` go with the manifest; ``kind`` is index, manifest, artifact.

    With ``shared`` the manifest stays, since a kept tag names it too, and only the tags go.
    """

    digest: str
    kind: str
    tags: tuple[str, ...] = ()
    size: int = 0
    shared: bool = False


@dataclass(frozen=True, slots=True)
class RetainPlan:
    """What a run would do. ``freed`` are bytes of blobs that nothing kept uses: the registry's own collection
    gives them back. ``kept`` are the manifests that must stay, by digest.
    """

    repository: str
    fates: tuple[Fate, ...]
    removals: tuple[Removal, ...]
    kept: frozenset[str]
    freed: int = 0
    notes: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """The part of all tags that would go, 0 to 1."""
        gone = sum(not fate.keep for fate in self.fates)
        return gone / len(self.fates) if self.fates else 0.0


def plan_retention(
    catalog: Catalog, rules: Mapping[str, RetainSpec], *, now: int, orphans: Iterable[str] = ()
) -> RetainPlan:
    """The plan for one repository.

    ``orphans`` are manifests known from earlier (an interrupted run, a tag that has moved on) that a rule with
    ``untagged`` may take. Raises ConfigError for a rule that bounds nothing.
    """
    for name, rule in rules.items():
        _check_rule(name, rule)
    fates = {tag: _unnamed(catalog, tag, now) for tag in catalog.tags}
    for name, rule in rules.items():
        for tag, fate in _judge(catalog, name, rule, now).items():
            if fates[tag].keep and (not fate.keep or not fates[tag].rule):
                fates[tag] = fate
    fates |= _protected(catalog, rules, fates)
    kept = catalog.reachable(fate.digest for fate in fates.values() if fate.keep)
    return _plan(catalog, fates, _untagged(catalog, rules, orphans, kept, now), _notes(catalog, rules))


def _plan(catalog: Catalog, fates: Mapping[str, Fate], untagged: Sequence[str], notes: tuple[str, ...]) -> RetainPlan:
    kept = catalog.reachable(fate.digest for fate in fates.values() if fate.keep)
    removals = _removals(catalog, fates, kept, untagged)
    gone = {removal.digest for removal in removals if not removal.shared}
    freed = catalog.blobs(gone).keys() - catalog.blobs(kept).keys()
    sizes = catalog.blobs(gone)
    return RetainPlan(
        catalog.name,
        tuple(fates[tag] for tag in sorted(fates)),
        removals,
        kept,
        sum(sizes[digest] for digest in freed),
        notes,
    )


def plan_cache_retention(catalog: Catalog, *, keep: int, max_age: int, now: int) -> RetainPlan:
    """The plan for a cache repository: of each vertex (and each person or pull request) the newest ``keep`` records
    and states stay, and whatever is not older than ``max_age`` seconds.

    No image needs a record, and layers that images need are blobs of the images' own repository, so nothing breaks:
    what is gone is built again. Tags of other kinds stay.
    """
    rule = RetainSpec(("*",), keep=keep, max_age=max_age)
    groups: dict[tuple[str, str, str], list[str]] = {}
    fates = {tag: replace(_unnamed(catalog, tag, now), why="no record or state") for tag in catalog.tags}
    for tag, digest in catalog.tags.items():
        match = _CACHE_TAG.fullmatch(tag)
        if match is not None:
            title = catalog.nodes[digest].annotations.get(_TITLE, "")
            groups.setdefault((match[1] or "", match[2], title), []).append(tag)
    for (_, kind, title), tags in groups.items():
        name = f"{'records' if kind == 'r' else 'states'} of {title or 'unnamed'}"
        for place, group in enumerate(_newest_first(catalog, tags)):
            for tag in group:
                fates[tag] = _fate(catalog, name, rule, tag, place, now)
    return _plan(catalog, fates, (), ())


def check_share(plan: RetainPlan, most: float) -> None:
    """Raises ConfigError when more of the tags would go than ``most`` (0 to 1): a rule may be wrong."""
    gone = sum(not fate.keep for fate in plan.fates)
    if plan.share > most:
        raise ConfigError(
            f"{gone} of {len(plan.fates)} tags of {plan.repository} would go, which is more than {most:.0%}",
            hint=f"look at the list; if it is right: --max-share {min(100, round(plan.share * 100 + 0.5))}",
        )


def _check_rule(name: str, rule: RetainSpec) -> None:
    if rule.untagged and rule.tags:
        raise ConfigError(f"[retain.{name}] has both 'tags' and 'untagged'", hint="write two tables")
    if not rule.untagged and not rule.tags:
        raise ConfigError(f"[retain.{name}] names no tags", hint='tags = ["1.*"], or untagged = true')
    if rule.tags and rule.keep is None and rule.max_age is None:
        raise ConfigError(
            f"[retain.{name}] bounds neither number nor age, so it would take everything",
            hint='keep = 5, or max_age = "90d"',
        )


def _age(catalog: Catalog, digest: str, now: int) -> int | None:
    created = catalog.created(digest)
    return max(0, now - created) if created else None


def _unnamed(catalog: Catalog, tag: str, now: int) -> Fate:
    digest = catalog.tags[tag]
    return Fate(tag, digest, True, "no rule names it", "", _age(catalog, digest, now))


def _matches(tag: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(tag, pattern) for pattern in patterns)


def _judge(catalog: Catalog, name: str, rule: RetainSpec, now: int) -> dict[str, Fate]:
    """The fates of the tags that one rule names; one that several of its patterns name stays when one keeps it."""
    fates: dict[str, Fate] = {}
    for pattern in rule.tags:
        tags = [tag for tag in catalog.tags if fnmatchcase(tag, pattern) and not _matches(tag, rule.protect)]
        for place, group in enumerate(_newest_first(catalog, tags)):
            for tag in group:
                fate = _fate(catalog, name, rule, tag, place, now)
                if tag not in fates or fate.keep:
                    fates[tag] = fate
    return fates


def _newest_first(catalog: Catalog, tags: Iterable[str]) -> list[list[str]]:
    """Tags by manifest, the newest first: by publication, and where that is unknown by version. Tags of one manifest
    are one release.
    """
    groups: dict[str, list[str]] = {}
    for tag in sorted(tags):
        groups.setdefault(catalog.tags[tag], []).append(tag)

    def order(item: tuple[str, list[str]]) -> tuple[bool, int, object]:
        created = catalog.created(item[0])
        return (not created, created, max(version_key(tag) for tag in item[1]))

    return [group for _, group in sorted(groups.items(), key=order, reverse=True)]


def _fate(catalog: Catalog, name: str, rule: RetainSpec, tag: str, place: int, now: int) -> Fate:
    digest = catalog.tags[tag]
    age = _age(catalog, digest, now)
    fate = Fate(tag, digest, True, "", name, age)
    if rule.keep is not None and place < rule.keep:
        return replace(fate, why=f"one of the newest {rule.keep}")
    if age is None and (rule.min_age or rule.max_age):
        return replace(fate, why="its age is unknown")
    if rule.min_age and age is not None and age < rule.min_age:
        return replace(fate, why=f"younger than {_days(rule.min_age)}")
    if rule.max_age and age is not None and age <= rule.max_age:
        return replace(fate, why=f"not older than {_days(rule.max_age)}")
    beyond = f"not among the newest {rule.keep}" if rule.keep is not None else ""
    old = f"older than {_days(rule.max_age or rule.min_age or 0)}" if rule.max_age or rule.min_age else ""
    return replace(fate, keep=False, why=" and ".join(filter(None, (beyond, old))))


def _protected(catalog: Catalog, rules: Mapping[str, RetainSpec], fates: Mapping[str, Fate]) -> dict[str, Fate]:
    """Tags that some rule protects, whichever rule would take them."""
    patterns = (*ALWAYS_KEPT, *(pattern for rule in rules.values() for pattern in rule.protect))
    return {
        tag: replace(fates[tag], keep=True, why="protected")
        for tag in catalog.tags
        if _matches(tag, patterns) and (fates[tag].rule or not fates[tag].keep or tag in ALWAYS_KEPT)
    }


def _untagged(
    catalog: Catalog, rules: Mapping[str, RetainSpec], orphans: Iterable[str], kept: frozenset[str], now: int
) -> tuple[str, ...]:
    """Manifests that no tag leads to and that a rule with ``untagged`` takes."""
    own = [rule for rule in rules.values() if rule.untagged]
    tagged = catalog.reachable(catalog.tags.values())
    found = []
    for digest in dict.fromkeys(orphans):
        if digest in kept or digest in tagged or digest not in catalog.nodes:
            continue
        age = _age(catalog, digest, now)
        for rule in own:
            limit = max(rule.min_age or 0, rule.max_age or 0)
            if not limit or (age is not None and age > limit):
                found.append(digest)
                break
    return tuple(found)


def _removals(
    catalog: Catalog, fates: Mapping[str, Fate], kept: frozenset[str], untagged: Sequence[str]
) -> tuple[Removal, ...]:
    """Deletions, pointers first: tags and their indexes, then what only those led to, referrers last."""
    roots: dict[str, list[str]] = {digest: [] for digest in untagged}
    for tag, fate in sorted(fates.items()):
        if not fate.keep:
            roots.setdefault(fate.digest, []).append(tag)
    found = [_removal(catalog, digest, tuple(tags), shared=digest in kept) for digest, tags in roots.items()]
    below = catalog.reachable(digest for digest in roots if digest not in kept) - kept - roots.keys()
    rest = [_removal(catalog, digest, (), shared=False) for digest in sorted(below) if digest in catalog.nodes]
    order = {"index": 0, "manifest": 1, "artifact": 2}
    return tuple(sorted(found, key=lambda one: (not one.shared, order[one.kind]))) + tuple(
        sorted(rest, key=lambda one: order[one.kind])
    )


def _removal(catalog: Catalog, digest: str, tags: tuple[str, ...], *, shared: bool) -> Removal:
    node = catalog.nodes[digest]
    kind = "artifact" if node.subject else "index" if node.children else "manifest"
    return Removal(digest, kind, tags, node.descriptor.size + sum(size for _, size in node.blobs), shared)


def _notes(catalog: Catalog, rules: Mapping[str, RetainSpec]) -> tuple[str, ...]:
    notes = [f"tag {tag} names a manifest that is not there" for tag in catalog.broken]
    notes += [f"manifest {digest} is named by an index and is not there" for digest in catalog.gaps]
    if any(rule.untagged for rule in rules.values()):
        notes.append(
            "untagged: a registry does not list manifests without a tag; those that earlier runs noted are looked at"
        )
    return tuple(notes)


def _days(seconds: int) -> str:
    if seconds % DAY == 0:
        days = seconds // DAY
        return f"{days} day" if days == 1 else f"{days} days"
    return f"{seconds / 3600:g} h"
