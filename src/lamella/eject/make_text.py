"""The serialisers of Makefiles and shell scripts: words of a shell, and in a Makefile its dollars twice.

POSIX make: ``$$`` is a dollar in a recipe; a recipe line is handed to the shell as it is but for that.
"""

from __future__ import annotations

import re

from lamella.eject.dockerfile_text import shell_word
from lamella.errors import HostileInputError

__all__ = ["make_target", "make_word", "script_word"]


def script_word(text: str) -> str:
    """One word of a shell script."""
    return shell_word(text, "script")


def make_word(text: str) -> str:
    """One word of a shell in a recipe of make.

    >>> make_word("a$b")
    "'a$$b'"
    """
    return shell_word(text, "Makefile").replace("$", "$$")


def make_target(text: str) -> str:
    """The name of a rule."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", text):
        raise HostileInputError(f"{text!r} cannot be a target of a Makefile")
    return text
