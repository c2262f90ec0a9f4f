"""Any order of operations on a store, held against a dict: what was put is there, what was collected is not missed."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from lamella.graph.record import Record
from lamella.store import Store
from lamella.store.collection import GcPolicy
from tests.unit.store.samples import DAY, memory_folder, now_clock, open_store, put_image, put_product, put_record

TEXTS = st.sampled_from(["a", "b", "c", "d", "e"])
NAMES = st.sampled_from(["app", "base"])


class StoreMachine(RuleBasedStateMachine):
    """``records``, ``images`` and ``states`` say what must be there; ``loose`` blobs may be."""

    records = Bundle("records")

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=memory_folder()))
        self.clock = now_clock()
        self.warnings: list[str] = []
        self.stack = ExitStack()
        self.store = self.opened()
        self.known: dict[str, Record] = {}
        self.images: dict[str, str] = {}
        self.states: dict[str, str] = {}
        self.held: set[str] = set()

    def opened(self) -> Store:
        return open_store(self.folder / "store", self.clock, self.warnings)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.stack.close()
            self.store.close()
            shutil.rmtree(self.folder)

    @rule(target=records, text=TEXTS, name=NAMES)
    def put_a_record(self, text: str, name: str) -> str:
        record = put_record(self.store, text, name=name, created=self.clock.now())
        self.known[record.key] = record
        self.held.add(record.key)
        return record.key

    @rule(key=records)
    def find_a_record(self, key: str) -> None:
        assert self.store.records.find(key) == self.known.get(key)
        if key in self.known:
            self.held.add(key)

    @rule(key=records)
    def lose_the_bytes_of_a_record(self, key: str) -> None:
        if key in self.known:
            tree = self.known[key].result.tree
            self.store.snapshots.remove(tree)
            self.known = {other: one for other, one in self.known.items() if one.result.tree != tree}
            assert self.store.records.find(key) is None

    @rule(key=records)
    def damage_a_blob(self, key: str) -> None:
        if key in self.known:
            path = self.store.blobs.path(self.known[key].result.tree)
            path.chmod(0o644)
            path.write_bytes(b"damaged")
            self.known.pop(key)
            with self.opened() as other:  # which looks at everything, and so holds it until it is closed
                assert not other.verify().clean
                other.repair()
                assert other.verify().clean

    @rule(name=TEXTS, layer=TEXTS)
    def tag(self, name: str, layer: str) -> None:
        self.images[name] = put_image(self.store, name, layer.encode()).descriptor().digest

    @rule(name=TEXTS)
    def untag(self, name: str) -> None:
        assert self.store.images.untag(name) == (self.images.pop(name, None) is not None)

    @rule(name=TEXTS, text=TEXTS)
    def write_a_state(self, name: str, text: str) -> None:
        with self.store.states.hold(name, timeout=0) as path:
            found = (path / "file").read_text() if (path / "file").exists() else None
            assert found == self.states.get(name)
            (path / "file").write_text(text)
        self.states[name] = text

    @rule(data=st.binary(max_size=50))
    def put_a_loose_blob(self, data: bytes) -> None:
        assert self.store.blobs.read(self.store.blobs.put_bytes(data)) == data

    @rule(text=TEXTS)
    def stage_and_leave(self, text: str) -> None:
        with self.store.snapshots.stage() as staged:
            (staged.path / text).write_text(text)

    @rule(text=TEXTS)
    def put_a_loose_product(self, text: str) -> None:
        assert (put_product(self.store, {"x": text.encode()}).path / "x").read_text() == text

    @rule(days=st.integers(0, 40))
    def let_time_pass(self, days: int) -> None:
        self.clock.advance(days * DAY)

    @rule()
    def collect_everything_that_is_not_held(self) -> None:
        self.store.gc(GcPolicy(keep=0, latest=False, grace=0))
        self.known = {key: one for key, one in self.known.items() if key in self.held}
        self.states = {}

    @rule()
    def collect_as_usual(self) -> None:
        before = dict(self.known)
        self.store.gc()
        self.known = {one.key: one for one in self.store.records.all()}
        assert self.held & before.keys() <= self.known.keys()
        assert {one.name for one in before.values()} == {one.name for one in self.known.values()}
        self.states = {n: text for n, text in self.states.items() if self.state_is_there(n)}

    def state_is_there(self, name: str) -> bool:
        with self.store.states.hold(name, timeout=0) as path:
            return (path / "file").exists()

    @rule()
    def open_again(self) -> None:
        self.store.close()
        self.store = self.opened()
        self.held = set()

    @rule()
    def lose_the_index(self) -> None:
        self.store.close()
        self.store.layout.index.unlink(missing_ok=True)
        self.store = self.opened()
        self.held = set()

    @invariant()
    def what_is_known_is_there(self) -> None:
        if not hasattr(self, "store"):
            return
        there = {record.key: record for record in self.store.records.all()}
        assert there == self.known
        assert {one.name: one.descriptor.digest for one in self.store.images.list()} == self.images
        self.known_objects_are_whole()

    def known_objects_are_whole(self) -> None:
        """By another open store, so that looking does not put anything under the lease of the one under test."""
        with self.opened() as other:
            assert all(other.records.find(key) == record for key, record in self.known.items())
            assert all(other.images.resolve(name) is not None for name in self.images)

    @invariant()
    def nothing_is_left_over(self) -> None:
        if hasattr(self, "store"):
            assert list(self.store.layout.staging.iterdir()) == []
            assert list(self.store.layout.trash.iterdir()) == []


StoreMachine.TestCase.settings = settings(
    max_examples=50, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestStore = StoreMachine.TestCase
