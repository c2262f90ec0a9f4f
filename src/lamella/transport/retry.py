"""When and how long to wait before the next try (RELIABILITY R2). Pure but for the clocks it is handed."""

from __future__ import annotations

import email.utils
import random
import time
from collections.abc import Callable, Mapping

from lamella.values import dataclass

__all__ = ["RETRIED_STATUS", "RetryPolicy", "Timing", "backoff", "retry_after"]

RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that may be different next time."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Clock, waiting and chance, handed in so that tests need none of them. ``monotonic`` and ``sleep`` in seconds."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    uniform: Callable[[float, float], float] = random.SystemRandom().uniform


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """``tries`` in all without progress; waits in seconds.

    ``deadline`` is for one request with all its tries; a body may take ``1 / slowest`` seconds a byte longer, so that
    a large download is not cut off and a trickle is.
    """

    tries: int = 5
    first_wait: float = 0.5
    longest_wait: float = 20.0
    longest_retry_after: float = 60.0
    deadline: float = 300.0
    slowest: int = 16 * 1024


def backoff(policy: RetryPolicy, failures: int, timing: Timing) -> float:
    """Seconds to wait after so many failures: exponential with full jitter (from zero to the whole)."""
    whole = min(policy.longest_wait, policy.first_wait * 2.0 ** (failures - 1))
    return timing.uniform(0.0, whole)


def retry_after(headers: Mapping[str, str], longest: float) -> float | None:
    """Seconds that a server asks for in Retry-After (RFC 9110, 10.2.3), at most ``longest``; None without or absurd.

    A date is counted from the server's own Date, so that our clock does not matter.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:12]), longest)
    until, now = _date(value), _date(headers.get("date", ""))
    if until is None or now is None:
        return None
    return min(max(0.0, until - now), longest)


def _date(text: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, OverflowError):
        return None
