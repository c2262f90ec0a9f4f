"""Machines that share a registry, and records to push."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from lamella.cache.domains import Place
from lamella.cache.lookup import CacheLookup
from lamella.cache.push import Candidate, PushReport, RecordPusher
from lamella.cache.repository import CacheRepository, Outage
from lamella.canonical import digest_bytes
from lamella.graph.facts import BaseFacts
from lamella.graph.facts_format import facts_to_bytes
from lamella.graph.keys import rootfs_identity
from lamella.graph.record import LayerResult, Record, Result
from lamella.layers.compress import compress_layer
from lamella.layers.snapshot import scan_tree
from lamella.oci.manifest import Descriptor
from lamella.oci.reference import parse_reference
from lamella.registry.client import RegistryClient
from lamella.registry.credentials import Credential
from lamella.registry.remote import RemoteRepository
from lamella.store.store import Store
from lamella.testing.clock import FixedClock
from lamella.testing.engine import FACTS
from lamella.testing.registry import MemoryRegistry
from lamella.transport.client import Client
from lamella.transport.retry import RetryPolicy, Timing
from tests.unit.store.samples import parts_of

NOW = 1_700_000_000


def put_layer(store: Store, data: bytes) -> LayerResult:
    """A layer with a gzip blob."""
    with store.blobs.writer() as out:
        import io

        made = compress_layer(io.BytesIO(data), out, "gzip")
        out.commit(made.descriptor.digest, made.descriptor.size)
    store.variants.put(made.diff_id, "gzip", 1, made.descriptor)
    return LayerResult(made.diff_id, made.size, 1)


def put_files(store: Store, files: dict[str, bytes]) -> str:
    """A product; the digest of its file set."""
    with store.snapshots.stage() as staged:
        for name, data in files.items():
            path = staged.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        fileset = scan_tree(staged.path)
        staged.commit(fileset.digest, fileset)
    return store.blobs.put_bytes(fileset.to_bytes())


def step_record(store: Store, text: str = "step", files: dict[str, bytes] | None = None, **more: object) -> Record:
    """The record of a step with a product."""
    parts = parts_of(text)
    tree = put_files(store, files or {"bin/tool": b"tool " + text.encode(), "empty": b""})
    record = Record(parts.key, text, "shop", parts, Result(parts.key, tree=tree), "12.500", NOW, **more)  # type: ignore[arg-type]
    store.records.put(record)
    return record


def placed_record(store: Store, text: str = "place", data: bytes = b"layer") -> Record:
    """The record of a placement: a layer, and the file set of what is in it."""
    parts = parts_of(text)
    tree = put_files(store, {"placed": data})
    result = Result(parts.key, tree=tree, layers=(put_layer(store, data),))
    record = Record(parts.key, text, "shop", parts, result, "0.250", NOW)
    store.records.put(record)
    return record


def base_record(
    store: Store, text: str = "base", data: bytes = b"base layer", facts: BaseFacts = FACTS, **more: object
) -> Record:
    """The record of a base with packages, facts, a snapshot and its layer."""
    parts = parts_of(text)
    packages = store.blobs.put_bytes(b'{"packages":["a"]}')
    with store.snapshots.stage() as staged:
        (staged.path / "etc").mkdir()
        snapshot = staged.commit(parts.key, scan_tree(staged.path)).id
    result = Result(
        parts.key,
        identity=rootfs_identity(parts.key, packages),
        snapshot=snapshot,
        packages=packages,
        facts=store.blobs.put_bytes(facts_to_bytes(facts)),
        layers=(put_layer(store, data),),
    )
    record = Record(parts.key, text, "shop", parts, result, "60.000", NOW, log=digest_bytes(b"log"), **more)  # type: ignore[arg-type]
    store.records.put(record)
    return record


@dataclass
class Machine:
    """A store, and a registry that it reads from and writes to; what was said is in ``said``."""

    store: Store
    registry: MemoryRegistry
    clock: FixedClock
    said: list[str] = field(default_factory=list)
    credentials: dict[str, Credential] = field(default_factory=dict)

    def __post_init__(self) -> None:
        http = Client(policy=RetryPolicy(tries=2), timing=Timing(sleep=lambda _: None))
        self.client = RegistryClient(http, credentials=self.credentials.get)

    def place(self, path: str, prefix: str = "") -> Place:
        return Place(parse_reference(f"{self.registry.address}/{path}"), prefix)

    def remote(self, place: Place) -> RemoteRepository:
        return self.client.repository(place.repository)

    def readers(self, *places: Place) -> list[CacheRepository]:
        outage = Outage(self.said.append)
        return [CacheRepository(place, partial(self.remote, place), self.said.append, outage) for place in places]

    def lookup(self, *places: Place) -> CacheLookup:
        """A chain of a new run."""

        def noted(name: str) -> CacheRepository:
            return self.readers(Place(parse_reference(name)))[0]

        chosen = places or (self.place("acme/shop-cache"),)
        return CacheLookup(self.store, self.readers(*chosen), self.clock, self.said.append, noted=noted)

    def push(self, *candidates: Candidate, to: Place | None = None, readers: tuple[Place, ...] = ()) -> PushReport:
        place = to or self.place("acme/shop-cache")
        pusher = RecordPusher(self.store, place, self.remote(place), self.readers(*readers), layer_blob=self.layer_blob)
        return pusher.push(candidates)

    def layer_blob(self, diff_id: str) -> Descriptor | None:
        return next((variant.descriptor for variant in self.store.variants.of(diff_id)), None)
