"""What may be written into a file at all: the rule that every serialiser of this room starts from (RELIABILITY C2)."""

from __future__ import annotations

import re

from lamella.errors import HostileInputError

__all__ = ["check_text", "wrapped"]

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_BREAKS = re.compile("[\t\n]")


def check_text(text: str, where: str, *, breaks: bool = False) -> str:
    """The text itself. Raises HostileInputError for control characters and line separators.

    ``breaks`` lets tabs and newlines through, for places whose escapes stand for them or that hold whole lines.
    """
    found = _CONTROL.search(text) or (None if breaks else _BREAKS.search(text))
    if found is not None:
        raise HostileInputError(
            f"{where}: a value holds the control character U+{ord(found[0]):04X}, which has no place in this file",
            hint=f"take it out of the value that begins {text[:24]!r}",
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise HostileInputError(f"{where}: the value {text[:24]!r} is no valid Unicode") from None
    return text


def wrapped(text: str, prefix: str = "# ", width: int = 110) -> list[str]:
    """A remark as lines with a comment mark; a line of ``text`` that begins with a space is left as it is."""
    lines: list[str] = []
    for paragraph in check_text(text, "comment", breaks=True).split("\n"):
        line = ""
        if paragraph.startswith(" "):
            lines.append(paragraph)
            continue
        for word in paragraph.split():
            if line and len(prefix) + len(line) + 1 + len(word) > width:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}" if line else word
        lines.append(line)
    return [f"{prefix}{line}".rstrip() for line in lines]
