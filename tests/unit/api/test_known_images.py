"""A build tells its images before it stores them, so that somebody else can begin with them."""

from __future__ import annotations

from pathlib import Path

from lamella.api.options import SessionOptions
from lamella.api.session import open_session
from lamella.build.images import build_images
from lamella.build.options import BuildOptions
from lamella.build.selection import Selection
from lamella.graph.events import NullSink
from lamella.images.stored import StoredImage, read_image
from tests.unit.api.projects import SHOP

WORKER = """
[image.worker]
layers = ["base", "app"]
cmd = ["/app/work"]
"""


def test_what_is_told_is_what_the_store_has_afterwards(tmp_path: Path) -> None:
    (tmp_path / "lamella.toml").write_text(SHOP + WORKER)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "work").write_text("one")
    told: list[StoredImage] = []
    with open_session(None, tmp_path, SessionOptions(store=tmp_path / "store")) as session:
        store = session.store

        def known(images: tuple[StoredImage, ...]) -> None:
            told.extend(images)
            assert [store.images.resolve(image.names[0]) for image in images] == [None, None]
            assert all(store.blobs.has(layer.descriptor.digest) for image in images for layer in image.layers)

        report = build_images(
            session.parts,
            Selection(),
            BuildOptions(tags=("mine",)),
            store=store,
            engine=session.engine,
            sink=NullSink(),
            known=known,
        )
        assert [image.names for image in told] == [("shop/api:dev", "mine:latest"), ("shop/worker:dev", "mine:latest")]
        stored = [
            read_image(store, built.manifest, image.names) for built, image in zip(report.images, told, strict=True)
        ]
    assert told == stored
