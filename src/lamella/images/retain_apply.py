"""Carries out a retention plan: pointers first, a look before each deletion, a journal for what an end leaves over.

Deleting an index leaves its children without a name, and a registry does not list those. So what is to go is noted
before the first deletion (RELIABILITY S10), and the next run knows of what an interrupted one left.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from lamella.canonical import canonical_json, digest_value
from lamella.commit import replace_file
from lamella.errors import AuthError, LamellaError, RegistryError
from lamella.images.catalog import Catalog, is_fallback_tag, node_of
from lamella.images.retain import Removal, RetainPlan
from lamella.oci.digest import is_digest, short_digest
from lamella.registry.referrers import fallback_tag
from lamella.registry.remote import RemoteRepository
from lamella.values import dataclass, field

__all__ = ["Journal", "Removed", "apply_retention"]

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Removed:
    """How one deletion ended: ``done``, ``gone`` (somebody else was faster), ``kept`` or ``failed``, and why."""

    removal: Removal
    outcome: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Journal:
    """Digests that are to go from one repository, in a file of the store."""

    path: Path

    @classmethod
    def of(cls, folder: Path, repository: str) -> Journal:
        """The journal of a repository."""
        return cls(folder / f"retain-{digest_value(repository)[7:39]}.json")

    def read(self) -> tuple[str, ...]:
        """What an earlier run noted and may have left; empty when there is none or it cannot be read."""
        try:
            document = json.loads(self.path.read_bytes())
            if document["format"] != _FORMAT:
                return ()
            return tuple(digest for digest in document["digests"] if is_digest(digest))
        except (OSError, ValueError, KeyError, TypeError):
            return ()

    def write(self, digests: Iterable[str]) -> None:
        """Notes what is to go, or with nothing to go removes the file."""
        wanted = sorted(set(digests))
        if wanted:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self.path, canonical_json({"format": _FORMAT, "digests": wanted}))
        else:
            self.path.unlink(missing_ok=True)


def apply_retention(
    repository: RemoteRepository,
    catalog: Catalog,
    plan: RetainPlan,
    journal: Journal,
    *,
    on_removed: Callable[[Removed], None] = lambda removed: None,
) -> tuple[Removed, ...]:
    """Does the plan's deletions. One that fails does not stop the others; a registry that deletes nothing does.

    Raises RegistryError (6) after all when some failed, AuthError at once.
    """
    run = _Apply(repository, catalog, plan, journal, on_removed)
    return run.execute()


@dataclass(slots=True)
class _Apply:
    repository: RemoteRepository
    catalog: Catalog
    plan: RetainPlan
    journal: Journal
    on_removed: Callable[[Removed], None]
    kept: set[str] = field(default_factory=set)
    known: dict[str, str] = field(default_factory=dict)
    done: list[Removed] = field(default_factory=list)

    def execute(self) -> tuple[Removed, ...]:
        self.kept = set(self.plan.kept)
        self.known = dict(self.catalog.tags)
        left = {removal.digest for removal in self.plan.removals if not removal.shared}
        self.journal.write(left)
        self._look_at_kept()
        for removal in self.plan.removals:
            removed = self._one(removal)
            self.done.append(removed)
            self.on_removed(removed)
            if removed.outcome != "failed":
                left.discard(removal.digest)
        self.journal.write(left)
        for removed in self.done:
            if removed.outcome in ("done", "gone") and not removed.removal.shared:
                self._drop_list(removed.removal.digest)
        failed = [removed for removed in self.done if removed.outcome == "failed"]
        if failed:
            shown = tuple(f"{_name(one.removal)}: {one.why}" for one in failed[:20])
            raise RegistryError(
                f"{len(failed)} of {len(self.done)} deletions in {self.plan.repository} failed",
                hint="run it again: what is gone already is passed over",
                details=shown,
            )
        return tuple(self.done)

    def _one(self, removal: Removal) -> Removed:
        try:
            if removal.tags:
                self._look_for_new_tags()
            moved = [tag for tag in removal.tags if self._moved(tag, removal.digest)]
            if moved:
                return Removed(removal, "kept", f"{', '.join(moved)} moved meanwhile")
            if removal.digest in self.kept and not removal.shared:
                return Removed(removal, "kept", "something that stays needs it now")
            return self._delete(removal)
        except AuthError:
            raise
        except LamellaError as error:
            return Removed(removal, "failed", error.message)

    def _delete(self, removal: Removal) -> Removed:
        """Tags first; a registry that cannot delete a tag by itself takes it away with its manifest."""
        left = [tag for tag in removal.tags if not self._untag(tag)]
        if removal.shared:
            why = "the manifest stays, another tag names it"
            return (
                Removed(removal, "kept", f"{why}; this registry cannot delete a tag alone")
                if left
                else (Removed(removal, "done", why))
            )
        there = self.repository.delete_manifest(removal.digest)
        for tag in removal.tags:
            self.known.pop(tag, None)
        return Removed(removal, "done" if there else "gone")

    def _untag(self, tag: str) -> bool:
        try:
            self.repository.delete_tag(tag)
        except RegistryError:
            return False
        return True

    def _drop_list(self, subject: str) -> None:
        """The list of referrers under the fall-back tag goes after its subject and those that it lists."""
        tag = fallback_tag(subject)
        if self.catalog.lists.get(tag) == subject:
            found = self.repository.head(tag)
            if found is not None:
                self.repository.delete_manifest(found.digest)

    def _moved(self, tag: str, digest: str) -> bool:
        found = self.repository.head(tag)
        return found is not None and found.digest != digest

    def _look_at_kept(self) -> None:
        """A kept tag may have been moved to something that is to go since the plan was made."""
        for fate in self.plan.fates:
            if fate.keep and self._moved(fate.tag, fate.digest):
                self._keep(fate.tag)

    def _look_for_new_tags(self) -> None:
        for tag in self.repository.tags():
            if tag not in self.known and not is_fallback_tag(tag):
                self._keep(tag)

    def _keep(self, name: str) -> None:
        """Everything that a tag leads to now is kept."""
        waiting = [name]
        while waiting:
            document = self.repository.manifest(waiting.pop())
            if document is None:
                continue
            node = node_of(document)
            self.known.setdefault(name, node.digest)
            if node.digest not in self.kept:
                self.kept.add(node.digest)
                waiting += [child.digest for child in node.children]
                waiting += [referrer.digest for referrer in self.repository.referrers(node.digest)]


def _name(removal: Removal) -> str:
    return ", ".join(removal.tags) or short_digest(removal.digest)
