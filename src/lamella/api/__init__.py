"""The documented Python calls. They print nothing and never exit.

>>> from lamella.api import open_session  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamella.api.options import SessionOptions
    from lamella.api.session import Session, open_session

__all__ = ["Session", "SessionOptions", "open_session"]


def __getattr__(name: str) -> object:
    """Imported on use: most commands need only a part."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lamella.api import session

    return getattr(session, name)
