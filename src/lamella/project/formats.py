"""Forms a string of the project file may have: how each is checked, described, and turned into a value.

A ``Format`` is looked up by name from the settings table. ``convert`` gets the string and returns the value or raises
``FormatError``; the same function serves constants (checked when the file is read) and filled-in templates.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from lamella.errors import ConfigError
from lamella.oci.platform import parse_platform
from lamella.oci.reference import is_tag, parse_reference
from lamella.values import dataclass

__all__ = ["FORMATS", "MAX_TEXT", "Format", "FormatError", "control_character", "parse_duration", "parse_size"]

MAX_TEXT = 131_071
"""Longest string in bytes: Linux takes no longer single argument or environment entry (MAX_ARG_STRLEN, execve(2))."""

_CONTROL = "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
_CONTROL_LINES = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_BYTES: dict[str, int] = {
    unit: factor
    for power, letter in enumerate("KMGT", start=1)
    for unit, factor in ((f"{letter}B", 1000**power), (f"{letter}iB", 1024**power))
} | {"B": 1}

_SUITE = r"[a-z]+/[a-z0-9][a-z0-9.-]*(?:@\d{8}(?:T\d{6}Z)?)?"


class FormatError(ValueError):
    """A string does not have its form; ``hint`` says what would."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Format:
    """One form. ``text`` describes it for people, ``pattern`` for the JSON schema (None: any string).

    ``lines``: line breaks and tabs are allowed, because the value never enters a line-based file.
    """

    name: str
    text: str
    convert: Callable[[str], object]
    pattern: str | None = None
    lines: bool = False


def control_character(text: str, *, lines: bool = False) -> str | None:
    """The first control or bidirectional-override character of ``text`` as ``U+XXXX``, or None."""
    if text.isprintable():  # none of them is; most texts need no more than this
        return None
    match = re.search(_CONTROL_LINES if lines else _CONTROL, text)
    return f"U+{ord(match[0]):04X}" if match else None


def parse_duration(text: str) -> int:
    """Seconds of ``90s``, ``15m``, ``1h30m``, ``7d``, ``2w``; raises FormatError."""
    parts = re.findall(r"(\d{1,9})([smhdw])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise FormatError(f"{text!r} is not a duration", "write a number with s, m, h, d or w, like 90s or 7d")
    return sum(int(number) * _SECONDS[unit] for number, unit in parts)


def parse_size(text: str) -> int:
    """Bytes of ``512MiB`` or ``2GB``; raises FormatError."""
    match = re.fullmatch(r"(\d{1,12})(?:\.(\d{1,3}))?([KMGT]i?B|B)", text)
    if match is None:
        raise FormatError(f"{text!r} is not a size", "write a number with a unit, like 512MiB or 2GB")
    digits = match[2] or ""
    scale: int = 10 ** len(digits)
    return int(match[1] + digits) * _BYTES[match[3]] // scale


def _mode(text: str) -> int:
    if not re.fullmatch(r"[0-7]{3,5}", text) or int(text, 8) > 0o7777:
        raise FormatError(f"{text!r} is not an octal mode", 'write it like "0755"')
    return int(text, 8)


def _owner(text: str) -> str:
    for part in text.split(":", 1):
        is_number = part.isascii() and part.isdigit()
        if is_number and int(part) > 0xFFFF_FFFE:
            raise FormatError(f"id {part} is out of range", "ids go up to 4294967294")
        if not is_number and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?", part):
            raise FormatError(f"{text!r} is not an owner", 'write USER or USER:GROUP, by name or number, like "0:0"')
    return text


def _relative(text: str) -> str:
    """A path below the folder of the project file."""
    if text.startswith("/") or (len(text) > 1 and text[1] == ":"):
        raise FormatError(f"{text!r} is absolute", "paths are relative to the project file")
    if ".." in text.split("/"):
        raise FormatError(f"{text!r} leaves the project", "a path may not contain '..'")
    if not text or "\\" in text:
        raise FormatError(f"{text!r} is not a path", "write parts with '/' between them; '.' is the project's folder")
    return text


def _absolute(text: str) -> str:
    """An absolute path in an image or step."""
    if not text.startswith("/"):
        raise FormatError(f"{text!r} is not an absolute path", "paths in an image start with '/'")
    if any(part in ("..", ".") for part in text.split("/")) or "//" in text:
        raise FormatError(f"{text!r} is not a plain path", "no '.', '..' or empty parts")
    return text


def _step_path(text: str) -> str:
    return _absolute(text) if text.startswith("/") else _relative(text)


def _glob(text: str) -> str:
    _relative(text.removeprefix("!"))
    if "***" in text:
        raise FormatError(f"{text!r} is not a glob", "'**' spans folders, '*' stays inside one name")
    opened = re.sub(r"\[[!^]?\]?[^\]]*\]", "", text)
    if "[" in opened:
        raise FormatError(f"{text!r} has a '[' that is not closed")
    return text


def _url(text: str) -> str:
    match = re.fullmatch(r"https?://([^/?#\s]+)(?:[/?#]\S*)?", text)
    if match is None:
        raise FormatError(f"{text!r} is not a URL", "it starts with https:// or http://")
    if "@" in match[1]:
        raise FormatError("the URL holds credentials", "declare a secret and name it in 'secret'")
    return text


def _sha256(text: str) -> str:
    digits = text.removeprefix("sha256:").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise FormatError(f"{text[:80]!r} is not a sha256", "64 hex digits")
    return digits


def _reference(text: str) -> str:
    scheme, _, path = text.partition(":")
    if text == "scratch" or (scheme in ("oci", "oci-archive", "docker-archive") and path):
        return text
    return _checked_reference(text)


def _checked_reference(text: str) -> str:
    try:
        parse_reference(text)
    except ConfigError as error:
        raise FormatError(error.message, error.hint) from None
    return text


def _repository(text: str) -> str:
    _checked_reference(text)
    parsed = parse_reference(text)
    if parsed.tag or parsed.digest:
        raise FormatError(f"{text!r} names a tag or digest", "a repository is [registry/]path without a tag")
    return text


def _tag(text: str) -> str:
    if not is_tag(text):
        raise FormatError(
            f"{text!r} is not a tag", "letters, digits, '_', '.', '-', at most 128, no leading '.' or '-'"
        )
    return text


def _platform(text: str) -> str:
    try:
        parsed = parse_platform(text)
    except ConfigError as error:
        raise FormatError(error.message, error.hint) from None
    if str(parsed) != text:
        raise FormatError(f"{text!r} is not how this platform is written", f"write {parsed}")
    return text


def _port(text: str) -> str:
    """``PORT[/PROTOCOL]`` in the form of the image config's ExposedPorts."""
    match = re.fullmatch(r"(\d{1,5})(?:/(tcp|udp|sctp))?", text)
    if match is None or not 0 < int(match[1]) < 65_536:
        raise FormatError(f"{text!r} is not a port", "1 to 65535, optionally with /tcp, /udp or /sctp")
    return f"{int(match[1])}/{match[2] or 'tcp'}"


def _published(text: str) -> str:
    """``[[IP:]HOST:]CONTAINER[/PROTOCOL]`` as ``docker run --publish`` takes it."""
    match = re.fullmatch(r"(?:(?:(\[[0-9a-f:]+\]|\d+\.\d+\.\d+\.\d+):)?(\d{0,5}):)?(\d{1,5}(?:/\w+)?)", text)
    if match is None or (match[2] and int(match[2]) > 65_535):
        raise FormatError(f"{text!r} is not a published port", 'write "[[IP:]HOST:]CONTAINER[/PROTOCOL]"')
    _port(match[3])
    return text


def _mount(text: str) -> str:
    """``SOURCE:TARGET[:OPTIONS]`` as ``docker run --volume`` takes it."""
    parts = text.split(":")
    if len(parts) not in (2, 3) or not parts[0] or not parts[1].startswith("/"):
        raise FormatError(f"{text!r} is not a volume", 'write "SOURCE:/TARGET" or "SOURCE:/TARGET:ro"')
    if len(parts) == 3 and not set(parts[2].split(",")) <= {"ro", "rw", "z", "Z", "cached", "delegated", "nocopy"}:
        raise FormatError(f"{text!r} has options that are not known", "ro or rw")
    return text


def _bootstrap(text: str) -> str:
    """``DISTRIBUTION/SUITE[@SNAPSHOT]``, the snapshot in full: ``@20260101`` is its first second."""
    if not re.fullmatch(_SUITE, text):
        raise FormatError(f"{text!r} is not a distribution and suite", 'write "debian/bookworm"')
    return f"{text}T000000Z" if re.search(r"@\d{8}\Z", text) else text


def _http_probe(text: str) -> str:
    if not re.fullmatch(r"(?::\d{1,5})?/[^\s\"'`$\\]*", text):
        raise FormatError(f"{text!r} is not a path to ask", 'write "/healthz" or ":8081/healthz"')
    return text


def _pattern(name: str, pattern: str, text: str) -> Format:
    """A form that one regular expression describes; ``re`` compiles it when the first text is checked and keeps it."""

    def convert(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise FormatError(f"{value[:80]!r} is not {text}")
        return value

    return Format(name, text, convert, f"^(?:{pattern})$")


def _function(name: str, text: str, convert: Callable[[str], object], pattern: str | None = None) -> Format:
    return Format(name, text, convert, pattern)


_ALL: tuple[Format, ...] = (
    Format("text", "one line of text", str),
    Format("argument", "text; line breaks are allowed", str, lines=True),
    _pattern("name", r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", "a name (letters, digits, '.', '_', '-')"),
    _pattern("image_name", r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*", "a lower-case name (letters, digits, separators)"),
    _pattern("image_or_all", r"\*|[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*", "an image, or * for all"),
    _pattern("axis_name", r"[a-z][a-z0-9_-]*", "an axis name (lower-case letters, digits, '_', '-')"),
    _pattern("axis_value", r"[A-Za-z0-9][A-Za-z0-9._/+-]*", "an axis value (letters, digits, '.', '_', '/', '+', '-')"),
    _pattern("arg_name", r"[A-Za-z_][A-Za-z0-9_-]*", "an argument name (letters, digits, '_', '-')"),
    _pattern("env_name", r"[A-Za-z_][A-Za-z0-9_]*", "the name of an environment variable (letters, digits, '_')"),
    _pattern("label_name", r"[^\s=\"'$`\\]+", "a label name (no spaces, quotes or '=')"),
    _pattern("variable", r"[A-Za-z_][A-Za-z0-9_-]*", "the name of a variable (letters, digits, '_', '-')"),
    _pattern("user_name", r"[A-Za-z_][A-Za-z0-9_.-]{0,31}", "a user name (letters, digits, '.', '_', '-')"),
    _pattern("package", r"[@A-Za-z0-9][A-Za-z0-9.+_:~=@*^-]*", "a package name, optionally with =VERSION"),
    _pattern(
        "tool",
        r"(?:(?:cargo|npm|uv):)?@?[A-Za-z0-9][A-Za-z0-9._/-]*(?:@[A-Za-z0-9][A-Za-z0-9.+_-]*)?",
        "a tool like NAME, NAME@VERSION or cargo:NAME@VERSION",
    ),
    _function(
        "bootstrap",
        "a distribution and suite like debian/bookworm, optionally with @YYYYMMDD or @YYYYMMDDTHHMMSSZ",
        _bootstrap,
        rf"^{_SUITE}$",
    ),
    _pattern("crate", r"[A-Za-z0-9_][A-Za-z0-9_-]*", "a crate, binary or profile name"),
    _pattern("feature", r"[A-Za-z0-9_][A-Za-z0-9_+.?/-]*", "a feature name"),
    _pattern("triple", r"[a-z0-9_]+(?:-[a-z0-9_.]+){1,4}", "a target triple like x86_64-unknown-linux-gnu"),
    _pattern("command", r"[A-Za-z0-9_./+][A-Za-z0-9_./+-]*", "a program, by name or path"),
    _pattern("distribution", r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", "a Python distribution name"),
    _pattern("python_version", r"3(?:\.\d{1,2}){0,2}", "a Python version like 3.12"),
    _pattern("script", r"[A-Za-z0-9_@][A-Za-z0-9_.:/@-]*", "a script name"),
    _pattern("hub", r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*", "a hub repository OWNER/NAME"),
    _pattern("revision", r"[A-Za-z0-9][A-Za-z0-9._/-]*", "a branch, tag or commit"),
    _pattern("ssh", r"[A-Za-z0-9_-]+(?:=[^\s,]+)?", "an SSH agent id like default"),
    _pattern("signal", r"SIG[A-Z0-9]+(?:[+-]\d+)?|\d{1,2}", "a signal like SIGTERM"),
    _pattern("shell", r"/[A-Za-z0-9_./-]+", "the path of a shell"),
    _pattern("tag_glob", r"[A-Za-z0-9_.*?\[\]!-]+", "a tag or a glob of tags"),
    _pattern(
        "severity",
        r"(?:unknown|low|medium|high|critical)(?:,(?:unknown|low|medium|high|critical))*",
        "severities with commas (unknown, low, medium, high, critical)",
    ),
    _pattern("suite", r"[A-Za-z0-9][A-Za-z0-9._/-]*", "a suite or component name"),
    _function("duration", "a duration like 90s, 15m, 7d", parse_duration, r"^(?:\d{1,9}[smhdw])+$"),
    _function("size", "a size like 512MiB or 2GB", parse_size, r"^\d{1,12}(?:\.\d{1,3})?(?:[KMGT]i?B|B)$"),
    _function("mode", "an octal mode like 0755", _mode, r"^[0-7]{3,5}$"),
    _function("owner", "USER or USER:GROUP, by name or number", _owner),
    _function("path", "a path relative to the project file", _relative),
    _function("absolute", "an absolute path", _absolute, r"^/"),
    _function("step_path", "a path below the project's root in the step, or an absolute one", _step_path),
    _function("glob", "a glob relative to the project file", _glob),
    _function("url", "a URL", _url, r"^https?://"),
    _function("sha256", "64 hex digits", _sha256, r"^(?:sha256:)?[0-9A-Fa-f]{64}$"),
    _function("base", "an image reference, scratch, oci:PATH, oci-archive:PATH or docker-archive:PATH", _reference),
    _function("reference", "an image reference", _checked_reference),
    _function("repository", "an image repository without a tag", _repository),
    _function("tag", "a tag", _tag),
    _function("platform", "a platform like linux/amd64", _platform, r"^[a-z0-9]+/[a-z0-9_]+(?:/[a-z0-9]+)?$"),
    _function("port", "a port, optionally with /udp", _port, r"^\d{1,5}(?:/(?:tcp|udp|sctp))?$"),
    _function("published", "a published port like 8080:80", _published),
    _function("mount", "a volume like SOURCE:/TARGET", _mount),
    _function("http_probe", "a path to ask, like /healthz or :8081/healthz", _http_probe),
)

FORMATS: dict[str, Format] = {form.name: form for form in _ALL}
"""Every form by its name in the settings table."""
