"""Files with environment variables, as ``docker run --env-file`` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lamella.errors import ConfigError

__all__ = ["read_env_file"]


def read_env_file(path: Path, environ: Mapping[str, str], *, shown: str) -> dict[str, str]:
    """``NAME=VALUE`` per line; ``NAME`` alone takes the value of ``environ``; ``#`` starts a comment line.

    Nothing is quoted or expanded. Raises ConfigError for a file that cannot be read, naming the example that lies
    beside it, and for a line that is neither.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(f"env file {shown} is not there", hint=_example(path, shown)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"env file {shown} cannot be read: {error}") from error
    out: dict[str, str] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.lstrip()
        if not line or line.startswith("#"):
            continue
        name, sign, value = line.partition("=")
        name = name if sign else name.strip()
        if not name or any(character.isspace() for character in name):
            raise ConfigError(f"{shown}:{number}: {name!r} is no name of a variable", hint="write NAME=VALUE")
        if sign:
            out[name] = value
        elif name in environ:
            out[name] = environ[name]
    return out


def _example(path: Path, shown: str) -> str:
    """What to copy: the file's own ``.example``, else one of its kind (``.env.example`` for ``.env.local``)."""
    beside = sorted(item.name for item in path.parent.glob("*.example")) if path.parent.is_dir() else []
    kind = path.name.split(".")
    own = [f"{path.name}.example", *(name for name in beside if name.split(".")[:2] == kind[:2])]
    found = next((name for name in own if name in beside), beside[0] if len(beside) == 1 else "")
    if not found:
        return "make it, or take its name out of the project file"
    return f"cp {Path(shown).parent / found} {shown}, then fill it in"
