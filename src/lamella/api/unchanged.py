"""A build that finds nothing to do, as an answer that is kept and given again (see ``lamella.api.standing``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from lamella.build.options import BuildOptions, BuildReport, BuiltImage, VertexRow
from lamella.build.selection import Selection
from lamella.oci.manifest import Descriptor

if TYPE_CHECKING:
    from lamella.store.store import Store

__all__ = ["Answers", "find_build", "keep_build"]

_KIND = "build"


class Answers(Protocol):
    """A session, as far as it matters here."""

    @property
    def store(self) -> Store:
        """The open store."""

    def recall(self, kind: str, arguments: Mapping[str, Any]) -> Any | None:
        """The answer that was kept for a question, while nothing that it depends on has changed."""

    def keep(
        self,
        kind: str,
        arguments: Mapping[str, Any],
        answer: Any,
        *,
        until: int,
        records: Iterable[str],
        blobs: Iterable[tuple[str, int]],
        names: Mapping[str, str],
    ) -> None:
        """Keeps an answer with what it depends on."""


def find_build(answers: Answers, selection: Selection, options: BuildOptions) -> BuildReport | None:
    """The report of a build that has nothing to do; None when that is not known without planning."""
    if not _may_stand(selection, options):
        return None
    with answers.store.lease(_KIND):
        answer = answers.recall(_KIND, _arguments(selection, options))
    if answer is None:
        return None
    rows = tuple(VertexRow(name, layer, "reused", 0.0, key) for name, layer, key in answer["vertices"])
    return BuildReport(tuple(_image(data) for data in answer["images"]), rows, 0.0)


def keep_build(answers: Answers, selection: Selection, options: BuildOptions, report: BuildReport) -> None:
    """Keeps a report that says that there was nothing to do."""
    if not (_may_stand(selection, options) and report.holds_until) or any(image.changed for image in report.images):
        return
    from lamella.oci.manifest import parse_manifest

    manifests = [parse_manifest(answers.store.blobs.read(image.manifest.digest)) for image in report.images]
    named = (blob for manifest in manifests for blob in (manifest.config, *manifest.layers))
    inner = [blob for blob in named if answers.store.blobs.has(blob.digest, blob.size)]  # others are known elsewhere
    answers.keep(
        _KIND,
        _arguments(selection, options),
        {
            "images": [_plain(image) for image in report.images],
            "vertices": [[row.name, row.layer, row.key] for row in report.vertices],
        },
        until=report.holds_until,
        records=[row.key for row in report.vertices],
        blobs=[(blob.digest, blob.size) for blob in (*(image.manifest for image in report.images), *inner)],
        names={name: image.manifest.digest for image in report.images for name in image.names},
    )


def _may_stand(selection: Selection, options: BuildOptions) -> bool:
    """Not for a layer alone, whose results are asked for, nor where steps are to run again or more is to be written."""
    again = options.rebuild or options.no_cache or options.no_cache_filter or options.refresh or options.export_all
    return not selection.layer and not again


def _arguments(selection: Selection, options: BuildOptions) -> dict[str, Any]:
    """What of a command's arguments an answer depends on: not how many steps run at a time, nor secrets' values."""
    return {
        "selection": selection,
        "compressor": options.compressor,
        "created": options.created,
        "labels": options.labels,
        "strict": options.strict,
        "tags": options.tags,
    }


def _plain(image: BuiltImage) -> list[Any]:
    manifest, layers = image.manifest.to_json(), [list(layer) for layer in image.layers]
    return [image.name, image.cell, image.platform, manifest, image.config_digest, layers, list(image.names)]


def _image(data: list[Any]) -> BuiltImage:
    name, cell, platform, manifest, config, layers, names = data
    stored = tuple((layer, diff_id, size) for layer, diff_id, size in layers)
    return BuiltImage(name, cell, platform, Descriptor.from_json(manifest), config, stored, tuple(names), changed=False)
