"""What a collection takes, decided over values."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from lamella.canonical import digest_bytes
from lamella.store.collection import DAY, GcPolicy, Stock, decide
from lamella.store.survey import Item, MutableItem, Object, RecordItem

NOW = 1000 * DAY
OLD, YOUNG = NOW - 100 * DAY, NOW - 60
A, B, C = (("blob", digest_bytes(bytes([number]))) for number in range(3))


def record(key: str, used: int, *objects: Object, name: str = "app") -> RecordItem:
    return RecordItem(key, "shop", name, used, used, 1, frozenset(objects))


def stock(
    *records: RecordItem,
    objects: dict[Object, Item] | None = None,
    mutable: tuple[MutableItem, ...] = (),
    rooted: set[Object] = frozenset(),  # type: ignore[assignment]
    held: set[Object] = frozenset(),  # type: ignore[assignment]
) -> Stock:
    there = {A: Item(10, OLD), B: Item(20, OLD), C: Item(30, OLD)} if objects is None else objects
    return Stock(records, there, mutable, frozenset(rooted), frozenset(held))


def gone(found: Stock, policy: GcPolicy = GcPolicy(), now: int = NOW) -> set[tuple[str, str]]:  # noqa: B008
    return {(removal.kind, removal.id) for removal in decide(found, policy, now)}


def test_what_nothing_refers_to_goes_after_its_grace() -> None:
    assert gone(stock(objects={A: Item(1, OLD), B: Item(1, YOUNG)})) == {A}
    assert gone(stock(objects={B: Item(1, YOUNG)}), GcPolicy(grace=0)) == {B}


@pytest.mark.parametrize("how", ["rooted", "held", "young record", "newest record"])
def test_what_something_refers_to_stays(how: str) -> None:
    match how:
        case "rooted":
            assert gone(stock(rooted={A, B, C})) == set()
        case "held":
            assert gone(stock(held={A, B, C})) == set()
        case "young record":
            assert gone(stock(record("r", YOUNG, A, B, C))) == set()
        case "newest record":
            assert gone(stock(record("r", OLD, A, B, C))) == set()


def test_old_records_go_but_the_newest_of_each_name() -> None:
    found = stock(record("old", OLD - 9, A), record("newest", OLD, B), record("other", OLD - 5, C, name="base"))
    assert gone(found) == {("record", "old"), A}
    everything = {("record", "old"), ("record", "newest"), ("record", "other"), A, B, C}
    assert gone(found, GcPolicy(latest=False)) == everything


def test_a_record_that_is_leased_or_pinned_keeps_its_objects() -> None:
    found = stock(record("old", OLD - 9, A), record("newest", OLD, B, C), held={("record", "old")})
    assert gone(found) == set()


def test_states_and_caches_go_when_they_were_not_used_lately() -> None:
    mutable = (MutableItem("state", "s", 5, OLD), MutableItem("cache", "c", 5, YOUNG))
    assert gone(stock(objects={}, mutable=mutable)) == {("state", "s")}


def test_a_size_limit_takes_the_longest_unused_first() -> None:
    records = (record("1", NOW - 300, A), record("2", NOW - 200, B, name="b"), record("3", NOW - 100, C, name="c"))
    assert gone(stock(*records), GcPolicy(max_size=60)) == set()
    assert gone(stock(*records), GcPolicy(max_size=59)) == {("record", "1"), A}
    assert gone(stock(*records), GcPolicy(max_size=30)) == {("record", "1"), A, ("record", "2"), B}
    assert gone(stock(*records), GcPolicy(max_size=0)) >= {A, B, C}


def test_a_size_limit_spares_what_is_shared_named_or_leased() -> None:
    records = (record("1", NOW - 300, A, B), record("2", NOW - 200, B, name="b"))
    assert gone(stock(*records, rooted={C}), GcPolicy(max_size=55)) == {("record", "1"), A}
    assert A not in gone(stock(*records, rooted={C}, held={A}), GcPolicy(max_size=0))
    assert C not in gone(stock(*records, rooted={C}, held={A}), GcPolicy(max_size=0))


def test_states_count_for_a_size_limit() -> None:
    mutable = (MutableItem("state", "s", 1000, NOW - 500),)
    found = stock(record("1", NOW - 300, A, B, C), mutable=mutable)
    assert gone(found, GcPolicy(max_size=100)) == {("state", "s")}


def test_a_clock_that_went_back_makes_nothing_old() -> None:
    found = stock(record("r", OLD, A), objects={A: Item(1, NOW), B: Item(1, NOW)})
    assert gone(found, now=NOW - 500 * DAY) == set()


def test_pointers_go_before_what_they_point_to() -> None:
    removals = decide(stock(record("r", OLD, A), objects={A: Item(1, OLD)}), GcPolicy(latest=False), NOW)
    assert [removal.kind for removal in removals] == ["record", "blob"]


names = st.sampled_from([A, B, C, ("snapshot", digest_bytes(b"s")), ("snapshot", digest_bytes(b"t"))])
times = st.integers(NOW - 90 * DAY, NOW + DAY)
stocks = st.builds(
    Stock,
    st.lists(
        st.builds(
            RecordItem,
            st.text("abcdef", min_size=4, max_size=4),
            st.sampled_from(["p", "q"]),
            st.sampled_from(["x", "y"]),
            times,
            times,
            st.just(1),
            st.frozensets(names),
        ),
        max_size=6,
        unique_by=lambda one: one.key,
    ).map(tuple),
    st.dictionaries(names, st.builds(Item, st.integers(0, 100), times)),
    st.just(()),
    st.frozensets(names),
    st.frozensets(names),
)


@given(stocks, st.sampled_from([None, 0, 50, 200]), st.booleans())
def test_whatever_goes_nothing_that_stays_points_to_it(found: Stock, limit: int | None, latest: bool) -> None:
    removed = gone(found, GcPolicy(keep=30 * DAY, latest=latest, grace=DAY, max_size=limit))
    kept = [one for one in found.records if ("record", one.key) not in removed]
    assert not removed & {name for one in kept for name in one.objects}
    assert not removed & (found.rooted | found.held)
    assert len(removed) == len(decide(found, GcPolicy(30 * DAY, latest, DAY, limit), NOW))
    left = sum(item.size for name, item in found.objects.items() if name not in removed)
    if limit is not None and left > limit:
        young = {name for name, item in found.objects.items() if max(0, NOW - item.changed) < DAY}
        assert set(found.objects) - removed <= found.rooted | found.held | young
