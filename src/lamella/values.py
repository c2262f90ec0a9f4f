"""Dataclasses whose methods are written when they are first used.

The standard decorator compiles six or seven methods for every class while a module is imported: a third of what a
command waits for, most of it for classes that the command never makes one of (ADR 17 has the figures). This one makes
the same classes and has each method written at its first use: here for classes with plain fields, by the standard
decorator for all others. Types see the standard one.
"""

from __future__ import annotations

import threading
from types import CodeType, FunctionType
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
_OWN_OPTIONS = frozenset({"eq", "frozen", "order", "repr"})
_ORDER = {"__lt__": "<", "__le__": "<=", "__gt__": ">", "__ge__": ">="}
_PLAIN_OPTIONS = frozenset({"compare", "default", "default_factory", "repr"})
_LOCK = threading.RLock()


def _decorated(
    written: type,
    *,
    frozen: bool = False,
    eq: bool = True,
    order: bool = False,
    repr: bool = True,  # noqa: A002
) -> type:
    """The class that is used. ``written``, as its source has it, is what the standard decorator gets later."""
    cls = _slotted(written)
    pending = _Pending(written, cls, {"frozen": frozen, "eq": eq, "order": order, "repr": repr})
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
    if pending.fields is not None:
        type.__setattr__(cls, "__match_args__", tuple(pending.fields))
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

    __slots__ = ("cls", "done", "fields", "methods", "options", "written")

    def __init__(self, written: type, cls: type, options: dict[str, bool]) -> None:
        self.written, self.cls, self.options = written, cls, options
        wanted = {"__init__": True, "__repr__": options["repr"], "__eq__": options["eq"]}
        wanted |= {"__hash__": options["eq"] and options["frozen"], **dict.fromkeys(_ORDER, options["order"])}
        self.methods = [name for name, want in wanted.items() if want and name not in written.__dict__]
        self.done = False
        self.fields = _plain_fields(written)

    def write(self, name: str) -> None:
        """Writes one method; those of a rarer class come from the standard decorator, all at once."""
        if self.fields is None:
            self.complete()
            return
        method = _WRITERS[name](self.cls, self.fields, hasattr(self.written, "__post_init__"))
        method.__qualname__ = f"{self.cls.__qualname__}.{name}"
        method.__module__ = self.cls.__module__
        type.__setattr__(self.cls, name, method)

    def complete(self) -> None:
        """Has the standard decorator describe the class, and write the methods that are not written here."""
        with _LOCK:
            if self.done:
                return
            import dataclasses

            left = () if self.fields is not None else self.methods
            _settle(self.written)
            made: type = dataclasses.dataclass(**self.options)(self.written)
            for name in (*left, *_DESCRIPTIONS):
                setattr(self.cls, name, made.__dict__[name])
            self.done = True


def _plain_fields(written: type) -> dict[str, _Field] | None:
    """The fields of a class that has no others than its own, each with a plain default or one that a function makes;
    None for the others. To be asked before the standard decorator has seen the class.
    """
    body = written.__dict__
    given = {name: body.get(name, _REQUIRED) for name in _fields(written)}
    inherits = any(_DESCRIPTIONS[0] in base.__dict__ for base in written.__mro__[1:])
    if inherits or any(type(value).__module__ == "dataclasses" for value in given.values()):
        return None
    return {name: value if isinstance(value, _Field) else _Field({"default": value}) for name, value in given.items()}


def _constructor(cls: type, fields: dict[str, _Field], checks: bool) -> Any:
    """Sets slots by their descriptors, which is quicker than what a frozen class of the standard does.

    To compile is what takes long, so constructors that differ in nothing but names are one code with other names.
    """
    known: dict[str, Any] = {"_left_out": _REQUIRED}
    defaults: list[Any] = []
    for number, (name, field) in enumerate(fields.items()):
        known[f"_set_{number}"] = cls.__dict__[name].__set__
        made = known[f"_make_{number}"] = field.options.get("default_factory")
        default = field.options.get("default", _REQUIRED)
        if default is not _REQUIRED or made is not None:
            defaults.append(default)
        elif defaults:
            raise TypeError(f"non-default argument {name!r} follows default argument")
    shape = (tuple("default_factory" in field.options for field in fields.values()), checks)
    code = _SHAPES.get(shape) or _SHAPES.setdefault(shape, _constructor_code(*shape))
    return FunctionType(code.replace(co_varnames=("self", *fields)), known, "__init__", tuple(defaults))


def _constructor_code(made: tuple[bool, ...], checks: bool) -> CodeType:
    """A constructor for as many fields as ``made`` says of whether a function makes their defaults."""
    parameters = ["self", *(f"v{number}" for number in range(len(made)))]
    values = [_MAKE if by_function else "v{0}" for by_function in made]
    lines = [f"_set_{number}(self, {value.format(number)})" for number, value in enumerate(values)]
    lines += ["self.__post_init__()"] if checks else []
    known: dict[str, Any] = {}
    exec(f"def __init__({', '.join(parameters)}):\n " + "\n ".join(lines or ["pass"]), known)  # noqa: S102 - no names
    code: CodeType = known["__init__"].__code__
    return code


def _compared(fields: dict[str, _Field], value: str) -> str:
    return "".join(f"{value}.{name}," for name, field in fields.items() if field.options.get("compare", True))


def _comparison(name: str, sign: str) -> Any:
    def write(_cls: type, fields: dict[str, _Field], _checks: bool) -> Any:
        known: dict[str, Any] = {}
        mine, others = _compared(fields, "self"), _compared(fields, "other")
        same = "other.__class__ is self.__class__"
        text = f"def {name}(self, other):\n return ({mine}) {sign} ({others}) if {same} else NotImplemented"
        exec(text, known)  # noqa: S102 - names of fields, which Python has read as names already
        return known[name]

    return write


def _hashing(_cls: type, fields: dict[str, _Field], _checks: bool) -> Any:
    known: dict[str, Any] = {}
    exec(f"def __hash__(self):\n return hash(({_compared(fields, 'self')}))", known)  # noqa: S102 - as above
    return known["__hash__"]


def _showing(_cls: type, fields: dict[str, _Field], _checks: bool) -> Any:
    shown = [name for name, field in fields.items() if field.options.get("repr", True)]

    def method(self: Any) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    return method


_WRITERS = {"__init__": _constructor, "__hash__": _hashing, "__repr__": _showing}
_WRITERS |= {name: _comparison(name, sign) for name, sign in {"__eq__": "==", **_ORDER}.items()}


_REQUIRED: Any = object()
"""Stands for a default that is not there."""
_MAKE = "_make_{0}() if v{0} is _left_out else v{0}"
_SHAPES: dict[tuple[tuple[bool, ...], bool], CodeType] = {}
"""Constructors that were compiled, by which fields a function makes and whether there is a check at the end."""


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
