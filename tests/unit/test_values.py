"""Dataclasses whose methods are written late are dataclasses like any other."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import threading
from dataclasses import field
from importlib import import_module
from typing import ClassVar

import pytest

from lamella.values import dataclass
from lamella.values import field as late_field
from lamella.values import replace as late_replace
from tests.unit.house.source_tree import product


@dataclass(frozen=True, slots=True)
class Point:
    """A frozen value with all that fields can be."""

    kind: ClassVar[str] = "point"
    x: int
    y: int = 2
    names: tuple[str, ...] = ()
    extra: dict[str, int] = field(default_factory=dict, compare=False, repr=False)

    @property
    def total(self) -> int:
        """A method."""
        return self.x + self.y


@dataclasses.dataclass(frozen=True, slots=True)
class Standard:
    """The same, as the standard decorator makes it."""

    kind: ClassVar[str] = "point"
    x: int
    y: int = 2
    names: tuple[str, ...] = ()
    extra: dict[str, int] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Above(Point):
    """A value with one more field than its base."""

    z: int = 3


@dataclass(slots=True)
class Counter:
    """A value that changes, with a check of its own."""

    count: int = 0

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(self.count)


@dataclass(frozen=True, slots=True, repr=False)
class Hidden:
    """A value with a text of its own."""

    secret: str

    def __repr__(self) -> str:
        return "Hidden(...)"


@dataclass(frozen=True, slots=True, eq=False)
class Same:
    """A value that equals nothing but itself."""

    x: int = 0


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A value with an order."""

    major: int
    minor: int = 0
    word: str = late_field(default="", compare=False)


def test_values_are_made_compared_hashed_and_shown_as_the_standard_ones() -> None:
    made, same, other = Point(1, names=("a",)), Point(1, 2, ("a",), {"not": 1}), Point(1)
    standard: object = Standard(1, names=("a",))
    assert (made == same, made == other, made == standard) == (True, False, False)
    assert hash(made) == hash(same) == hash(standard)
    assert repr(made) == repr(standard).replace("Standard", "Point")
    assert (made.total, made.extra, Point.kind) == (3, {}, "point")


def test_wrong_arguments_are_refused_with_the_standard_words() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        Point()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'w'"):
        Point(1, w=2)  # type: ignore[call-arg]


def test_a_frozen_value_stays_what_it_is() -> None:
    made = Point(1)
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'x'"):
        made.x = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'x'"):
        del made.x
    with pytest.raises(AttributeError):
        made.new = 1  # type: ignore[attr-defined]
    assert made == Point(1)


def test_it_has_slots_and_no_dictionary() -> None:
    assert vars(Point)["__slots__"] == vars(Standard)["__slots__"]
    assert vars(Above)["__slots__"] == ("z",)
    assert not hasattr(Point(1), "__dict__")


def test_a_value_that_changes_has_no_hash() -> None:
    counter = Counter()
    counter.count += 1
    assert counter == Counter(1)
    assert vars(Counter)["__hash__"] is None
    with pytest.raises(ValueError, match="-1"):
        Counter(-1)


def test_methods_that_are_written_stay() -> None:
    assert repr(Hidden("x")) == "Hidden(...)"
    assert Hidden("x") == Hidden("x")
    first = Same()
    assert (first == Same(), len({first, Same()})) == (False, 2)


def test_an_order_is_that_of_the_fields_which_are_compared() -> None:
    assert Version(1) < Version(2)
    assert Version(1, 2) > Version(1, 1)
    assert (Version(1) <= Version(1, 0, "x"), Version(1) >= Version(1, 0, "x")) == (True, True)
    assert sorted([Version(2), Version(1, 5), Version(1)]) == [Version(1), Version(1, 5), Version(2)]
    with pytest.raises(TypeError, match="not supported between"):
        _ = Version(1) < 2  # type: ignore[operator]


def test_bases_give_their_fields() -> None:
    made = Above(1, 2, (), z=4)
    assert [item.name for item in dataclasses.fields(Above)] == ["x", "y", "names", "extra", "z"]
    assert made != Point(1, 2)
    assert made.total == 3


def test_the_standard_functions_take_it() -> None:
    assert dataclasses.is_dataclass(Point)
    assert [item.name for item in dataclasses.fields(Point)] == [item.name for item in dataclasses.fields(Standard)]
    assert dataclasses.replace(Point(1), y=5) == Point(1, 5)
    assert dataclasses.asdict(Point(1)) == dataclasses.asdict(Standard(1))
    assert Point.__match_args__ == Standard.__match_args__
    match Point(1, 7):
        case Point(x, y):
            assert (x, y) == (1, 7)


def test_copies_and_pickles_are_equal() -> None:
    made = Point(1, names=("a",), extra={"n": 1})
    for other in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert other == made
        assert other.extra == {"n": 1}


def test_threads_that_use_a_class_first_at_once_get_the_same() -> None:
    for _ in range(30):

        @dataclass(frozen=True, slots=True)
        class Fresh:
            """Used by several threads before it is complete."""

            x: int
            y: int = 1

        start = threading.Barrier(4)
        made: list[Fresh] = []

        def make(kind: type[Fresh] = Fresh, start: threading.Barrier = start, made: list[Fresh] = made) -> None:
            start.wait()
            made.append(kind(1))

        threads = [threading.Thread(target=make) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert made == [Fresh(1)] * 4


def test_nothing_is_written_before_the_first_use() -> None:
    @dataclass(frozen=True, slots=True)
    class Late:
        """Not used yet."""

        x: int

    stub = Late.__init__
    assert Late(1).x == 1
    assert Late.__init__ is not stub


def test_every_class_of_the_product_can_be_completed() -> None:
    found = 0
    for module in product():
        if module.name.endswith("__main__"):
            continue
        for value in vars(import_module(module.name)).values():
            if isinstance(value, type) and value.__module__ == module.name and dataclasses.is_dataclass(value):
                assert dataclasses.fields(value) is not None
                found += 1
    assert found > 400


@dataclass(frozen=True, slots=True)
class Late:
    """All that the product's own ``field`` and ``replace`` know."""

    name: str
    hidden: str = late_field(default="", compare=False, repr=False)
    items: list[int] = late_field(default_factory=list)
    rare: int = late_field(default=0, hash=False)


def test_fields_and_replacing_are_those_of_the_standard() -> None:
    first, second = Late("a"), Late("a", hidden="x")
    assert first == second
    assert repr(second) == "Late(name='a', items=[], rare=0)"
    assert first.items is not second.items
    assert late_replace(second, name="b") == Late("b")
    assert late_replace(second, name="b").hidden == "x"
    with pytest.raises(TypeError, match="unexpected keyword argument 'other'"):
        late_replace(second, other=1)  # type: ignore[call-arg]
    assert [item.compare for item in dataclasses.fields(Late)] == [True, False, True, True]


@dataclass(slots=True)
class Simple:
    """Fields with functions, and nothing that the standard decorator must write."""

    name: str
    items: list[int] = late_field(default_factory=list)


def test_a_default_that_a_function_makes_is_made_each_time() -> None:
    one, two = Simple("a"), Simple("a", [1])
    one.items.append(1)
    assert one == two
    assert Simple("b").items == []
    assert late_replace(one, name="c").items is one.items


@dataclass(frozen=True, slots=True)
class Place:
    """As many fields, of the same kinds, as the next one."""

    row: int
    column: int = 1


@dataclass(frozen=True, slots=True)
class Size:
    """Shares its compiled constructor with the one before."""

    width: int
    height: int = 2


def test_constructors_that_share_their_code_have_names_and_defaults_of_their_own() -> None:
    places, sizes = (Place(5), Place(row=6, column=7)), (Size(5), Size(width=6, height=7))
    assert [(one.row, one.column) for one in places] == [(5, 1), (6, 7)]
    assert [(one.width, one.height) for one in sizes] == [(5, 2), (6, 7)]
    assert vars(Place)["__init__"].__code__.co_code == vars(Size)["__init__"].__code__.co_code
    with pytest.raises(TypeError, match=r"Size.__init__\(\) missing 1 required positional argument: 'width'"):
        Size()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'row'"):
        Size(row=1)  # type: ignore[call-arg]


def test_a_field_without_a_default_after_one_that_has_is_refused_at_the_first_use() -> None:
    @dataclass(frozen=True, slots=True)
    class Wrong:
        first: int = 1
        second: int  # type: ignore[misc]

    with pytest.raises(TypeError, match="non-default argument 'second' follows default argument"):
        Wrong(1, 2)
