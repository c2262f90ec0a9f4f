"""How errors, warnings and sizes read. Everything here is readable without colour."""

from __future__ import annotations

import sys

from lamella.errors import ConfigError, LamellaError

__all__ = ["foreign", "format_seconds", "format_size", "paint", "render_error", "say", "set_color", "warn"]

_CODES = {"red": "31", "yellow": "33", "green": "32", "blue": "34", "dim": "2", "bold": "1", "cyan": "36"}
_color = False


def set_color(enabled: bool) -> None:
    """Whether :func:`paint` colours; decided once by the settings (NO_COLOR, terminal)."""
    global _color  # noqa: PLW0603 - one switch of one process
    _color = enabled


def paint(text: str, style: str) -> str:
    """``text`` in a style when colour is on."""
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if _color and text else text


def foreign(text: str, *, colors: bool | None = None) -> str:
    """A line of another program's output without what commands a terminal (ECMA-48 control functions, titles, links).

    Its colours stay where colour is on; ``colors`` says otherwise.
    """
    if text.isprintable():
        return text
    import re

    keep = _color if colors is None else colors
    functions = r"(\x1b\[[0-9;:]*m)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?"
    shown = re.sub(functions + r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]", lambda m: (m[1] or "") if keep else "", text)
    return f"{shown}\x1b[0m" if "\x1b" in shown else shown


def render_error(error: LamellaError) -> str:
    """An error as lines: what, every finding with its place, details, hint."""
    label = paint("error:", "red")
    lines: list[str] = []
    if isinstance(error, ConfigError) and len(error.problems) > 1:
        lines += [f"{label} {problem.render()}" for problem in error.problems]
        lines.append(error.message)
    else:
        lines.append(f"{label} {error.message}")
    lines += [f"  {foreign(line)}" for line in error.details]
    if error.hint:
        lines.append(f"  {paint('hint:', 'cyan')} {error.hint}")
    return "\n".join(lines) + "\n"


def warn(text: str, hint: str = "") -> None:
    """A warning on stderr."""
    sys.stderr.write(f"{paint('warning:', 'yellow')} {text}\n")
    if hint:
        sys.stderr.write(f"  {paint('hint:', 'cyan')} {hint}\n")


def say(text: str) -> None:
    """A line of talk on stderr; data goes to stdout."""
    sys.stderr.write(f"{text}\n")


def format_size(size: int) -> str:
    """Bytes for people, in binary units."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{size} B"


def format_seconds(seconds: float) -> str:
    """A duration for people: ``0.12 s``, ``8.4 s``, ``2 min 05 s``."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
