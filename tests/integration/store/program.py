"""One thing done to a store, as a process of its own that can be killed: ``python -m ... ROOT ACTION``.

Ends with the exit code of the LamellaError that came, as the command line would.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lamella.canonical import digest_bytes
from lamella.errors import LamellaError
from lamella.oci import media
from lamella.oci.manifest import Descriptor
from lamella.store import Store
from lamella.store.collection import GcPolicy
from tests.unit.store.samples import layer_result, put_image, put_product, put_record

ALL_UNHELD = GcPolicy(keep=0, latest=True, grace=0)


def prepare(store: Store) -> None:
    """What must survive everything: the newest record of a name, an image, a state. And what a collection takes."""
    put_record(store, "older", name="kept", created=100)
    put_record(store, "newest", name="kept", created=200)
    put_image(store, "kept:1")
    with store.states.hold("state") as path:
        (path / "file").write_text("state")
    for number in range(3):
        layer = layer_result(store, b"loose layer %d" % number)
        small = store.blobs.put_bytes(b"small %d" % number)
        store.variants.put(layer.diff_id, "gzip", 6, Descriptor(media.LAYER_GZIP, small, 7))
        put_product(store, {"loose": b"%d" % number})


def build(store: Store) -> None:
    """What a build writes: blobs, a product, a variant, a record, a tag."""
    with store.lease("build"):
        layer = layer_result(store, b"x" * 300_000)
        small = store.blobs.put_bytes(b"compressed")
        store.variants.put(layer.diff_id, "zstd", 3, Descriptor(media.LAYER_ZSTD, small, 10))
        put_record(store, "new", name="new")
        put_image(store, "new:1", b"layer of the new image")


def retag(store: Store) -> None:
    """A name moves to another image, another one is removed."""
    put_image(store, "moved:1", b"first")
    put_image(store, "moved:1", b"second")
    put_image(store, "removed:1", b"third")
    store.images.untag("removed:1")


def collect(store: Store) -> None:
    """A collection of all that nothing holds, under a clock that runs ahead."""
    store.gc(ALL_UNHELD)


def repair(store: Store) -> None:
    """The index is made anew; a corrupt blob was found before."""
    spoiled = store.blobs.path(digest_bytes(b"small 0"))
    if spoiled.exists():
        spoiled.chmod(0o644)
        spoiled.write_bytes(b"bad")
    store.verify()
    store.repair()


ACTIONS = {"prepare": prepare, "build": build, "retag": retag, "collect": collect, "repair": repair}


def main(root: str, action: str) -> int:
    try:
        with Store.open(Path(root)) as store:
            ACTIONS[action](store)
    except LamellaError as error:
        sys.stderr.write(f"{type(error).__name__}: {error.message}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
