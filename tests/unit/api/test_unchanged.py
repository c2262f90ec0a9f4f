"""Which builds are kept and found as answers, with what they depend on, and what comes back."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from lamella.api.unchanged import find_build, keep_build
from lamella.build.options import BuildOptions, BuildReport, BuiltImage, VertexRow
from lamella.build.selection import Selection
from lamella.canonical import FrozenMap, canonical_json, digest_bytes
from lamella.oci.manifest import Manifest
from lamella.project.cells import Cell, ImageCell
from lamella.store import Store
from tests.unit.store.samples import memory_folder, open_store, put_image

KEYS = [digest_bytes(name) for name in (b"base", b"conf")]
ASKED, OPTIONS = Selection(), BuildOptions()


@dataclass
class Shelf:
    """``Answers`` in memory: an answer by question, in the form that it has on disk."""

    store: Store
    kept: dict[str, str] = field(default_factory=dict)
    needs: list[tuple[int, set[str], set[tuple[str, int]], dict[str, str]]] = field(default_factory=list)

    def recall(self, kind: str, arguments: Mapping[str, Any]) -> Any | None:
        found = self.kept.get(canonical_json([kind, arguments]).decode())
        return None if found is None else json.loads(found)

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
        self.kept[canonical_json([kind, arguments]).decode()] = json.dumps(answer)
        self.needs.append((until, set(records), set(blobs), dict(names)))


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with tempfile.TemporaryDirectory(dir=memory_folder()) as name, open_store(Path(name) / "store") as store:
        yield Shelf(store)


@pytest.fixture
def manifests(shelf: Shelf) -> tuple[Manifest, ...]:
    return tuple(put_image(shelf.store, name, name.encode()) for name in ("shop:dev", "tool:dev"))


@pytest.fixture
def report(manifests: tuple[Manifest, ...]) -> BuildReport:
    """Two images, the first under two names, in which nothing was built."""
    images = tuple(
        BuiltImage(
            name,
            "profile=dev",
            "linux/amd64",
            manifest.descriptor(),
            manifest.config.digest,
            (("conf", KEYS[0], 5),),
            names,
            changed=False,
        )
        for manifest, name, names in zip(
            manifests, ("shop", "tool"), (("shop:dev", "shop:1"), ("tool:dev",)), strict=True
        )
    )
    rows = (VertexRow("base", "base", "reused", 0.25, KEYS[0]), VertexRow("conf:a", "conf", "reused", 0.0, KEYS[1]))
    return BuildReport(images, rows, 0.5, holds_until=4_000_000_000)


def test_the_report_comes_back(shelf: Shelf, report: BuildReport) -> None:
    assert find_build(shelf, ASKED, OPTIONS) is None
    keep_build(shelf, ASKED, OPTIONS, report)
    found = find_build(shelf, ASKED, OPTIONS)
    assert found is not None
    assert found.images == report.images
    assert [(row.name, row.layer, row.outcome, row.key) for row in found.vertices] == [
        ("base", "base", "reused", KEYS[0]),
        ("conf:a", "conf", "reused", KEYS[1]),
    ]


def test_it_depends_on_all_records_blobs_and_names(
    shelf: Shelf, report: BuildReport, manifests: tuple[Manifest, ...]
) -> None:
    keep_build(shelf, ASKED, OPTIONS, report)
    ((until, records, blobs, names),) = shelf.needs
    assert until == report.holds_until
    assert records == set(KEYS)
    assert blobs == {
        (blob.digest, blob.size)
        for manifest in manifests
        for blob in (manifest.descriptor(), manifest.config, *manifest.layers)
    }
    first, second = (manifest.descriptor().digest for manifest in manifests)
    assert names == {"shop:dev": first, "shop:1": first, "tool:dev": second}


@pytest.mark.parametrize("kind", ["something was built", "an image is new", "host's tools or old results"])
def test_a_build_that_did_something_is_not_kept(shelf: Shelf, report: BuildReport, kind: str) -> None:
    """``holds_until`` is 0 when something was built and when nobody can say what will be."""
    changed = replace(report.images[1], changed=True)
    report = (
        replace(report, images=(report.images[0], changed))
        if kind == "an image is new"
        else replace(report, holds_until=0)
    )
    keep_build(shelf, ASKED, OPTIONS, report)
    assert not shelf.kept


OTHER_OPTIONS: dict[str, tuple[object, str]] = {
    "rebuild": (True, "never"),
    "no_cache": (True, "never"),
    "no_cache_filter": (("conf",), "never"),
    "refresh": (True, "never"),
    "compressor": ("gzip", "other"),
    "created": ("2020-01-01T00:00:00Z", "other"),
    "labels": (FrozenMap({"a": "b"}), "other"),
    "strict": (True, "other"),
    "tags": (("x:1",), "other"),
    "export_all": (True, "never"),
    "offline": (True, "same"),
    "jobs": (7, "same"),
    "memory": (1 << 30, "same"),
    "secrets": (FrozenMap({"token": b"x"}), "same"),
}
"""Option → another value of it, and whether that build is never kept, has an answer of its own or the same one."""

OTHER_SELECTIONS: dict[str, tuple[object, str]] = {
    "images": (("shop",), "other"),
    "layer": ("conf", "never"),
    "profile": ("prod", "other"),
    "only": (FrozenMap({"profile": ("prod",)}), "other"),
    "platforms": (("linux/arm64",), "other"),
    "all": (True, "other"),
    "cells": ((ImageCell("shop", Cell(FrozenMap({"profile": "prod"}))),), "other"),
}


def test_every_option_is_in_a_table() -> None:
    """A new one has to be thought about: an option that is forgotten gives the answer to another question."""
    assert {item.name for item in dataclasses.fields(BuildOptions)} == set(OTHER_OPTIONS)
    assert {item.name for item in dataclasses.fields(Selection)} == set(OTHER_SELECTIONS)


@pytest.mark.parametrize("name", [*OTHER_OPTIONS, *OTHER_SELECTIONS])
def test_an_answer_is_that_of_its_question(shelf: Shelf, report: BuildReport, name: str) -> None:
    value, expected = (OTHER_OPTIONS | OTHER_SELECTIONS)[name]
    selection, options = ASKED, OPTIONS
    if name in OTHER_OPTIONS:
        options = replace(options, **{name: value})  # type: ignore[arg-type]
    else:
        selection = replace(selection, **{name: value})  # type: ignore[arg-type]
    keep_build(shelf, ASKED, OPTIONS, report)
    assert (find_build(shelf, selection, options) is not None) == (expected == "same")
    shelf.kept.clear()
    keep_build(shelf, selection, options, report)
    assert (find_build(shelf, selection, options) is None) == (expected == "never")
    assert (find_build(shelf, ASKED, OPTIONS) is not None) == (expected == "same")
