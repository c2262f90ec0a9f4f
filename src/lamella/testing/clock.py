"""A clock that stands still until it is told."""

from __future__ import annotations

__all__ = ["FixedClock"]


class FixedClock:
    """``Clock`` at ``seconds`` since the epoch; :meth:`advance` moves both of its hands."""

    def __init__(self, seconds: int = 0) -> None:
        self._now = seconds
        self._monotonic = 0.0

    def now(self) -> int:
        """Seconds since the epoch."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that passed by :meth:`advance`."""
        return self._monotonic

    def advance(self, seconds: int) -> None:
        """Lets time pass."""
        self._now += seconds
        self._monotonic += seconds
