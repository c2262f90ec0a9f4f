"""Dataclasses whose methods are written when they are first used.

The standard decorator compiles six or seven methods for every class while a module is imported: a third of what a
command waits for, most of it for classes that the command never makes one of (ADR 17 has the figures). This one makes
the same classes and leaves the writing to the standard one, at the first use. Types see the standard decorator.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(cls: type | None = None, /, *, slots: bool = False, **options: Any) -> Any:
        """The standard ``dataclasses.dataclass``; classes without slots and rarer options go straight to it."""
        if not slots or not _OWN_OPTIONS.issuperset(options):
            import dataclasses

            return dataclasses.dataclass(cls, slots=slots, **options)

        def decorate(written: type) -> type:
            return _decorated(written, **options)

        return decorate if cls is None else decorate(cls)


__all__ = ["dataclass"]

_DESCRIPTIONS = ("__dataclass_fields__", "__dataclass_params__", "__match_args__")
_OWN_OPTIONS = frozenset({"eq", "frozen", "repr"})
_LOCK = threading.RLock()


def _decorated(written: type, *, frozen: bool = False, eq: bool = True, repr: bool = True) -> type:  # noqa: A002
    """The class that is used. ``written``, as its source has it, is what the standard decorator gets later."""
    cls = _slotted(written)
    pending = _Pending(written, cls, frozen, eq, repr)
    for name in pending.methods:
        setattr(cls, name, _stub(pending, name))
    if eq and not frozen and "__hash__" not in written.__dict__:
        cls.__hash__ = None  # type: ignore[assignment]
    if frozen:
        cls.__setattr__ = _refuse_setting  # type: ignore[assignment,method-assign]
        cls.__delattr__ = _refuse_deleting  # type: ignore[assignment,method-assign]
        cls.__getstate__ = _get_state  # type: ignore[method-assign,assignment]
        cls.__setstate__ = _set_state  # type: ignore[attr-defined]
    for name in _DESCRIPTIONS:
        setattr(cls, name, _Description(pending, name))
    return cls


def _slotted(written: type) -> type:
    """A class with a slot for each field that no base has; defaults are the constructor's alone."""
    kinds = vars(written).get("__annotations__", {})
    names = [name for name, kind in kinds.items() if not str(kind).startswith(("ClassVar", "typing.ClassVar"))]
    left_out = {*names, "__dict__", "__weakref__"}
    body = {name: value for name, value in written.__dict__.items() if name not in left_out}
    inherited = {slot for base in written.__mro__[1:] for slot in base.__dict__.get("__slots__", ())}
    body["__slots__"] = tuple(name for name in names if name not in inherited)
    cls = type(written)(written.__name__, written.__bases__, body)
    cls.__qualname__ = written.__qualname__
    return cls


class _Pending:
    """The methods of one class, not written yet."""

    __slots__ = ("cls", "done", "eq", "frozen", "methods", "repr", "written")

    def __init__(self, written: type, cls: type, frozen: bool, eq: bool, repr: bool) -> None:  # noqa: A002
        self.written, self.cls, self.frozen, self.eq, self.repr = written, cls, frozen, eq, repr
        wanted = {"__init__": True, "__repr__": repr, "__eq__": eq, "__hash__": eq and frozen}
        self.methods = [name for name, want in wanted.items() if want and name not in written.__dict__]
        self.done = False

    def complete(self) -> None:
        """Has the standard decorator write the methods, and moves them to the class that is used."""
        with _LOCK:
            if self.done:
                return
            import dataclasses

            made: type = dataclasses.dataclass(frozen=self.frozen, eq=self.eq, repr=self.repr)(self.written)
            for name in (*self.methods, *_DESCRIPTIONS):
                setattr(self.cls, name, made.__dict__[name])
            self.done = True


def _stub(pending: _Pending, name: str) -> Any:
    """A method that has the real ones written, and is one of them from then on."""

    def method(self: Any, *arguments: Any, **named: Any) -> Any:
        pending.complete()
        return getattr(pending.cls, name)(self, *arguments, **named)

    method.__name__ = name
    method.__qualname__ = f"{pending.cls.__qualname__}.{name}"
    return method


class _Description:
    """What the standard functions ask a dataclass for."""

    __slots__ = ("name", "pending")

    def __init__(self, pending: _Pending, name: str) -> None:
        self.pending, self.name = pending, name

    def __get__(self, instance: object, owner: type) -> Any:
        self.pending.complete()
        return self.pending.cls.__dict__[self.name]


def _refuse_setting(_self: object, name: str, _value: object) -> None:
    import dataclasses

    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_deleting(_self: object, name: str) -> None:
    import dataclasses

    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _get_state(self: Any) -> list[Any]:
    import dataclasses

    return [getattr(self, item.name) for item in dataclasses.fields(self)]


def _set_state(self: Any, state: list[Any]) -> None:
    import dataclasses

    for item, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, item.name, value)
