"""What ``-o`` says, with buildx's grammar (docker buildx build reference, "Set the export action").

``type=TYPE,dest=PATH[,KEY=VALUE]`` as one line of CSV, so that a value may be quoted. A bare path means
``type=dir``, a bare ``-`` means ``type=tar`` to standard output.
"""

from __future__ import annotations

from lamella.errors import ConfigError
from lamella.layers.compress import COMPRESSORS
from lamella.values import dataclass

__all__ = ["KINDS", "STDOUT", "Output", "parse_output"]

STDOUT = "-"
"""The destination that stands for standard output."""

KINDS = ("oci", "docker-archive", "dir", "tar")

_ALIASES = {"local": "dir", "docker": "docker-archive"}
_LATER = {
    "image": "an image is always in the local store after a build; pushing comes with `lamella publish`",
    "registry": "pushing comes with `lamella publish`",
}
_KEYS = ("type", "dest", "tar", "compression")
_COMPRESSION = {name: name for name in COMPRESSORS} | {"uncompressed": "none"}
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class Output:
    """One thing to write.

    ``kind`` is one of ``KINDS``, or ``load`` for ``type=docker`` without a destination. ``packed`` says that it is
    one file and not a directory. ``compressor`` is empty to keep each layer as it is.
    """

    kind: str
    dest: str
    packed: bool = False
    compressor: str = ""

    @property
    def to_stdout(self) -> bool:
        """Whether it goes to standard output."""
        return self.dest == STDOUT


def parse_output(text: str) -> Output:
    """One ``-o`` option; raises ConfigError that says which part is wrong.

    >>> parse_output("type=oci,dest=out.tar")
    Output(kind='oci', dest='out.tar', packed=True, compressor='')
    >>> parse_output("rootfs").kind
    'dir'
    """
    fields = _split(text)
    if len(fields) == 1 and "=" not in fields[0]:
        return Output("tar", STDOUT, packed=True) if fields[0] == STDOUT else Output("dir", fields[0])
    values = _pairs(text, fields)
    kind = _kind(text, values)
    dest = values.get("dest", "")
    if kind == "docker-archive" and not dest and values["type"] == "docker":
        return Output("load", "")
    packed = _packed(text, kind, values)
    if not dest and not packed:
        raise _error(text, "it has no dest", f"write type={kind},dest=PATH")
    output = Output(kind, dest or STDOUT, packed, _compressor(text, kind, values))
    if output.to_stdout and not packed:
        raise _error(text, "a directory cannot be written to standard output", "name a folder: dest=PATH")
    return output


def _error(text: str, why: str, hint: str = "") -> ConfigError:
    return ConfigError(f"--output {text!r}: {why}", hint=hint)


def _nearest(name: str, known: tuple[str, ...]) -> str:
    import difflib

    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"one of {', '.join(known)}"


def _split(text: str) -> list[str]:
    import csv

    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise _error(text, f"it is not one line of comma separated fields ({error})") from error
    fields = rows[0] if rows else []
    if not fields or not all(fields) or len(rows) != 1:
        raise _error(text, "it has an empty part", "write type=oci,dest=image.tar, or a path alone")
    return fields


def _pairs(text: str, fields: list[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for field in fields:
        key, sign, value = field.partition("=")
        key = key.strip().lower()
        if not sign:
            raise _error(text, f"{field!r} is not of the form KEY=VALUE", "quote a value that holds a comma")
        if key not in _KEYS:
            raise _error(text, f"unknown key {key!r}", _nearest(key, _KEYS))
        if key in values:
            raise _error(text, f"{key!r} is given twice")
        values[key] = value
    return values


def _kind(text: str, values: dict[str, str]) -> str:
    name = values.get("type", "")
    if not name:
        raise _error(text, "it has no type", f"one of {', '.join(KINDS)}")
    kind = _ALIASES.get(name, name)
    if kind in _LATER:
        raise _error(text, f"type={name} is not yet supported", _LATER[kind])
    if kind not in KINDS:
        raise _error(text, f"unknown type {name!r}", _nearest(name, (*KINDS, *_ALIASES)))
    return kind


def _packed(text: str, kind: str, values: dict[str, str]) -> bool:
    """Whether one file is written: always but for ``dir`` and for ``type=oci,tar=false``."""
    if "tar" not in values:
        return kind != "dir"
    if kind != "oci":
        raise _error(text, "tar= belongs to type=oci only")
    wanted = _BOOLEANS.get(values["tar"].lower())
    if wanted is None:
        raise _error(text, f"tar={values['tar']!r} is neither true nor false")
    return wanted


def _compressor(text: str, kind: str, values: dict[str, str]) -> str:
    name = values.get("compression", "")
    if not name:
        return ""
    if kind != "oci":
        raise _error(text, "compression= belongs to type=oci only: the other forms hold layers uncompressed")
    if name not in _COMPRESSION:
        raise _error(text, f"unknown compression {name!r}", f"one of {', '.join(_COMPRESSION)}")
    return _COMPRESSION[name]
