"""Injected time: the only module that reads the clock."""

from __future__ import annotations

import time

__all__ = ["SystemClock"]


class SystemClock:
    """This machine's clocks, as the Protocol ``graph.protocols.Clock`` wants them."""

    def now(self) -> int:
        """Seconds since the epoch."""
        return int(time.time())

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""
        return time.monotonic()
