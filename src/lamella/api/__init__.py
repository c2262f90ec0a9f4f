"""The documented Python calls. They print nothing and never exit.

>>> from lamella.api import open_session  # doctest: +SKIP
"""

from lamella.api.session import Session, SessionOptions, open_session

__all__ = ["Session", "SessionOptions", "open_session"]
