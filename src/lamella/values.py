"""Dataclasses whose methods are written when they are first used.

The standard decorator compiles six or seven methods for every class while a module is imported: a third of what a
command waits for, most of it for classes that the command never makes one of (ADR 17 has the figures). This one makes
the same classes and has the methods written at the first use: plain constructors here, everything else by the standard
decorator. Types see the standard one.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass, field, replace
else:

    def dataclass(cls: type | None = None, /, *, slots: bool = False, **options: Any) -> Any:
        """The standard ``dataclasses.dataclass``; classes without slots and rarer options go straight to it."""
        if not slots or not _OWN_OPTIONS.issuperset(options):
            import dataclasses

            def standard(written: type) -> type:
                _settle(written)
                return dataclasses.dataclass(written, slots=slots, **options)

            return standard if cls is None else standard(cls)

        def decorate(written: type) -> type:
            return _decorated(written, **options)

        return decorate if cls is None else decorate(cls)

    def field(**options: Any) -> Any:
        """The standard ``dataclasses.field``, made when its class is completed where that makes no difference."""
        if _PLAIN_OPTIONS.issuperset(options):
            return _Field(options)
        import dataclasses

        return dataclasses.field(**options)

    def replace(value: Any, /, **changes: Any) -> Any:
        """The standard ``dataclasses.replace``, for values whose fields are all given to their constructors."""
        names = type(value).__match_args__
        return type(value)(**{name: getattr(value, name) for name in names if name not in changes}, **changes)


__all__ = ["dataclass", "field", "replace"]

_DESCRIPTIONS = ("__dataclass_fields__", "__dataclass_params__", "__match_args__")
_OWN_OPTIONS = frozenset({"eq", "frozen", "repr"})
_PLAIN_OPTIONS = frozenset({"compare", "default", "default_factory", "repr"})
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
    names = pending.arguments()
    if names is not None:
        type.__setattr__(cls, "__match_args__", tuple(names))
    return cls


def _slotted(written: type) -> type:
    """A class with a slot for each field that no base has; defaults are the constructor's alone."""
    names = _fields(written)
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

    def write(self, name: str) -> None:
        """Writes one method; the constructor alone when that can be done here, else all of them."""
        if name != "__init__" or not self._write_constructor():
            self.complete()

    def complete(self) -> None:
        """Has the standard decorator write the methods, and moves them to the class that is used."""
        with _LOCK:
            if self.done:
                return
            import dataclasses

            left = [name for name in self.methods if name != "__init__" or not self._write_constructor()]
            _settle(self.written)
            made: type = dataclasses.dataclass(frozen=self.frozen, eq=self.eq, repr=self.repr)(self.written)
            for name in (*left, *_DESCRIPTIONS):
                setattr(self.cls, name, made.__dict__[name])
            self.done = True

    def arguments(self) -> dict[str, Any] | None:
        """The constructor's arguments with their defaults; None for a class that has more than fields of its own, each
        with a plain default or one that a function makes.
        """
        body = self.written.__dict__
        given = {name: body.get(name, _REQUIRED) for name in _fields(self.written)}
        inherits = any(_DESCRIPTIONS[0] in base.__dict__ for base in self.written.__mro__[1:])
        rare = any(type(value).__module__ == "dataclasses" for value in given.values())
        return None if inherits or rare else given

    def _write_constructor(self) -> bool:
        """The constructor of nearly every class; false for one that the standard decorator must write.

        It sets slots by their descriptors, which is also quicker than what a frozen class of the standard does.
        """
        given = self.arguments()
        if given is None:
            return False
        known: dict[str, Any] = {"_left_out": _REQUIRED}
        parameters, lines = ["self"], []
        for name, value in given.items():
            known[f"_set_{name}"] = self.cls.__dict__[name].__set__
            options = value.options if isinstance(value, _Field) else {"default": value}
            made = known[f"_make_{name}"] = options.get("default_factory")
            default = known[f"_default_{name}"] = options.get("default", _REQUIRED)
            parameters.append(name if default is _REQUIRED and made is None else f"{name}=_default_{name}")
            lines.append(f"_set_{name}(self, {name if made is None else _MAKE.format(name)})")
        lines += ["self.__post_init__()"] if hasattr(self.written, "__post_init__") else []
        text = f"def __init__({', '.join(parameters)}):\n " + "\n ".join(lines or ["pass"])
        exec(text, known)  # noqa: S102 - names of fields, which Python has read as names already
        method = known["__init__"]
        method.__qualname__ = f"{self.cls.__qualname__}.__init__"
        method.__module__ = self.cls.__module__
        type.__setattr__(self.cls, "__init__", method)
        return True


_REQUIRED: Any = object()
"""Stands for a default that is not there."""
_MAKE = "_make_{0}() if {0} is _left_out else {0}"


class _Field:
    """What is said of a field, before the standard decorator hears of it."""

    __slots__ = ("options",)

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options


def _settle(written: type) -> None:
    """Gives the standard decorator the fields in its own form."""
    import dataclasses

    for name in _fields(written):
        value = written.__dict__.get(name)
        if isinstance(value, _Field):
            setattr(written, name, dataclasses.field(**value.options))


def _fields(written: type) -> list[str]:
    kinds = vars(written).get("__annotations__", {})
    return [name for name, kind in kinds.items() if not str(kind).startswith(("ClassVar", "typing.ClassVar"))]


def _stub(pending: _Pending, name: str) -> Any:
    """A method that has the real one written, and is it from then on."""

    def method(self: Any, *arguments: Any, **named: Any) -> Any:
        pending.write(name)
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
