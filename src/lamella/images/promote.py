"""Promotion: what was tested gets further names, without being built again.

Within a repository that is a tag. Into another one the image is copied: manifests with what refers to them (bills of
materials, provenance, signatures), blobs by mounting where the registry can; tags come last, as always.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from typing import BinaryIO, cast

from lamella.errors import RegistryError
from lamella.oci.digest import short_digest
from lamella.oci.manifest import Descriptor
from lamella.registry.documents import Document
from lamella.registry.remote import RemoteRepository
from lamella.registry.transfer import Job, OnProgress, transfer
from lamella.registry.upload import OnBytes
from lamella.values import dataclass

__all__ = ["Promotion", "TagMove", "copy_image", "plan_promotion", "promote"]


@dataclass(frozen=True, slots=True)
class TagMove:
    """A tag of a repository: ``before`` is the digest that it names now, empty for none."""

    repository: RemoteRepository
    tag: str
    before: str

    @property
    def name(self) -> str:
        """``registry/path:tag``."""
        return f"{self.repository.name}:{self.tag}"


@dataclass(frozen=True, slots=True)
class Promotion:
    """A document of a repository and the tags that shall name it."""

    source: RemoteRepository
    document: Document
    moves: tuple[TagMove, ...]

    @property
    def digest(self) -> str:
        """What is promoted."""
        return self.document.descriptor.digest

    @property
    def wanted(self) -> tuple[TagMove, ...]:
        """The tags that do not name it yet."""
        return tuple(move for move in self.moves if move.before != self.digest)


def plan_promotion(
    source: RemoteRepository, name: str, targets: Sequence[tuple[RemoteRepository, str]], expect: str = ""
) -> Promotion:
    """Looks at the source and every target. ``expect`` is the digest that the targets must name now.

    Raises RegistryError when there is no source, or a target names something else than expected.
    """
    document = source.require_manifest(name)
    moves = []
    for repository, tag in targets:
        found = repository.head(tag)
        move = TagMove(repository, tag, found.digest if found else "")
        if expect and move.before not in (expect, document.descriptor.digest):
            raise RegistryError(
                f"{move.name} is {short_digest(move.before) or 'not there'} and not {short_digest(expect)}, "
                "as was expected; nothing was moved",
                hint="find out who moved it before you move it again",
            )
        moves.append(move)
    return Promotion(source, document, tuple(moves))


def promote(promotion: Promotion, on_progress: OnProgress = lambda done, total: None) -> None:
    """Copies what other repositories lack and moves the tags.

    Raises RegistryError for a tag that somebody else moved since it was looked at.
    """
    copied: set[str] = {promotion.source.name}
    for move in promotion.wanted:
        if move.repository.name not in copied:
            copy_image(promotion.source, promotion.document, move.repository, on_progress)
            copied.add(move.repository.name)
    for move in promotion.wanted:
        found = move.repository.head(move.tag)
        now = found.digest if found else ""
        if now not in (move.before, promotion.digest):
            raise RegistryError(
                f"{move.name} was moved by somebody else in the meantime, to {short_digest(now) or 'nothing'}; "
                "it was left there"
            )
        move.repository.tag(promotion.document.data, promotion.document.descriptor.media_type, (move.tag,))


def copy_image(
    source: RemoteRepository,
    document: Document,
    target: RemoteRepository,
    on_progress: OnProgress = lambda done, total: None,
) -> None:
    """Copies a manifest or index with all that it names and all that refers to it, without any tag.

    Raises RegistryError and AuthError; what was copied before stays and is not sent again by the next try.
    """
    documents = tuple(_all(source, document))
    manifests = [one.manifest for one in documents if one.manifest is not None]
    blobs = tuple(dict.fromkeys(blob for manifest in manifests for blob in (*manifest.layers, manifest.config)))
    jobs = [Job(blob.size, partial(_copy_blob, source, target, blob)) for blob in blobs]
    transfer(jobs, on_progress=on_progress)
    for one in documents:
        target.push_manifest(one.data, one.descriptor.media_type)
    lost = target.missing(blobs)
    for blob in lost:
        _copy_blob(source, target, blob, lambda count: None, again=True)
    if target.missing(lost):
        raise RegistryError(f"{target.name} took blob {short_digest(lost[0].digest)} and cannot give it back")


def _all(source: RemoteRepository, top: Document) -> Iterator[Document]:
    """The document after everything that it names, then what refers to any of them, each once."""
    named: dict[str, Document] = {}

    def collect(document: Document) -> None:
        for entry in document.index.manifests if document.index is not None else ():
            if entry.digest not in named:
                collect(source.require_manifest(entry.digest, entry))
        named.setdefault(document.descriptor.digest, document)

    collect(top)
    pending = list(named)
    while pending:
        for entry in source.referrers(pending.pop(0)):
            if entry.digest not in named:
                collect(source.require_manifest(entry.digest))
                pending.append(entry.digest)
    yield from named.values()


def _copy_blob(
    source: RemoteRepository, target: RemoteRepository, blob: Descriptor, on_bytes: OnBytes, *, again: bool = False
) -> str:
    mount_from = () if again else (source.name,)
    return target.push_blob(
        blob, partial(_fetched, source, blob), mount_from=mount_from, on_bytes=on_bytes, again=again
    )


def _fetched(source: RemoteRepository, blob: Descriptor) -> BinaryIO:
    """A blob of another registry in a file without a name."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it

    def keep(_digest: str, _size: int, chunks: Iterator[bytes]) -> None:
        for data in chunks:
            file.write(data)

    try:
        source.fetch_blob(blob, keep)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return cast(BinaryIO, file)
