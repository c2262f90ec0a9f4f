"""Promotion: the documented calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lamella.build.channels import Agenda, source_tags
from lamella.build.parts import Parts
from lamella.errors import ConfigError
from lamella.images.index import TagPlan
from lamella.images.promote import Promotion, plan_promotion
from lamella.images.publish import Publication, PublishOutcome
from lamella.oci.digest import is_digest
from lamella.oci.platform import parse_platform
from lamella.oci.reference import Reference, is_tag, parse_reference
from lamella.registry.documents import Document, choose

if TYPE_CHECKING:
    from lamella.registry.client import RegistryClient

__all__ = ["promote_channel", "promotion_of"]


def promotion_of(
    client: RegistryClient, source: str, targets: Sequence[str], *, repository: str = "", expect: str = ""
) -> Promotion:
    """The promotion of ``TAG``, ``DIGEST`` or a full reference to ``TAG``s or full references.

    ``repository`` is the one of short forms, empty where there is none. Raises ConfigError and RegistryError.
    """
    from_ = _reference(source, repository)
    name = from_.digest or from_.tag
    if not name:
        raise ConfigError(f"{source} names no tag and no digest", hint="write REPOSITORY:TAG or REPOSITORY@DIGEST")
    home = str(from_.with_tag(""))
    places = []
    for text in targets:
        target = _reference(text, home if is_tag(text) else "")
        if not target.tag or target.digest:
            raise ConfigError(f"{text} is no tag to promote to", hint="write TAG or REPOSITORY:TAG")
        places.append((client.repository(target), target.tag))
    if expect and not is_digest(expect):
        raise ConfigError(f"--expect {expect} is not a digest", hint="sha256: and 64 hex digits")
    return plan_promotion(client.repository(from_), name, places, expect)


def _reference(text: str, repository: str) -> Reference:
    """A full reference, or a tag or digest of ``repository``."""
    if is_digest(text) or (is_tag(text) and repository):
        if not repository:
            raise ConfigError(f"{text} names no repository", hint="write REPOSITORY@DIGEST, or set project.repository")
        base = parse_reference(repository)
        return base.with_digest(text) if is_digest(text) else base.with_tag(text)
    return parse_reference(text)


def promote_channel(client: RegistryClient, parts: Parts, agenda: Agenda, *, dry_run: bool = False) -> PublishOutcome:
    """Tags again what another channel has published and tested. Raises ConfigError when it has published nothing."""
    publication = Publication(agenda.tags, lambda name: client.repository(parse_reference(name)))
    publication.look()
    tested = source_tags(parts, agenda)
    found = {str(plan): _tested(client, plan, tested[plan.cells[0]], agenda.promote) for plan in agenda.tags}
    return publication.promote(found, dry_run=dry_run)


def _tested(client: RegistryClient, plan: TagPlan, tags: Sequence[str], channel: str) -> Document:
    """What the other channel published for a tag's cells: by the first of its tags that is there."""
    repository = client.repository(parse_reference(plan.repository))
    for tag in tags:
        document = repository.manifest(tag)
        if document is None:
            continue
        if document.index is not None and not plan.is_index:
            entry = choose(document.index, parse_platform(plan.cells[0].platform), f"{plan.repository}:{tag}")
            return repository.require_manifest(entry.digest, entry)
        return document
    looked = ", ".join(tags) or "no tag of its own"
    raise ConfigError(
        f"channel {channel} has published nothing to promote for {plan}: looked for {looked}",
        hint=f"run first: lamella publish --channel {channel}",
    )
