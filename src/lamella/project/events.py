"""What starts a channel: a push, a pull request, a tag, a schedule, a moved base, or a person."""

from __future__ import annotations

import re

from lamella.project.formats import Format, FormatError
from lamella.values import dataclass

__all__ = ["CRON", "EVENT", "Event", "parse_cron", "parse_event"]

_BARE = ("pull_request", "upstream", "manual")
_CRON_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_CRON_PART = re.compile(r"(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,2}))?\Z")


@dataclass(frozen=True, slots=True)
class Event:
    """``kind`` is push, tag, schedule, pull_request, upstream or manual; ``value`` a branch, tag template or cron."""

    kind: str
    value: str = ""


def parse_cron(text: str) -> str:
    """``text`` itself when it is a five-field cron line (crontab(5), numbers only); raises FormatError."""
    fields = text.split()
    if len(fields) != 5 or not all(
        _cron_field(part, *limits) for part, limits in zip(fields, _CRON_RANGES, strict=True)
    ):
        raise FormatError(f"{text!r} is not a cron line", "minute hour day month weekday, like 0 6 * * 1")
    return text


def _cron_field(text: str, low: int, high: int) -> bool:
    """Whether every comma-separated part is ``*``, a number or a range within bounds, optionally with a step."""
    for part in text.split(","):
        match = _CRON_PART.match(part)
        if match is None or match[3] == "0":
            return False
        numbers = [int(number) for number in (match[1], match[2]) if number]
        if any(not low <= number <= high for number in numbers) or numbers != sorted(numbers):
            return False
    return True


def parse_event(text: str) -> Event:
    """The event that ``text`` names; raises FormatError."""
    if text in _BARE:
        return Event(text)
    kind, _, value = text.partition(":")
    if kind == "schedule":
        return Event(kind, parse_cron(value))
    if kind in ("push", "tag") and value and not re.search(r"[\s~^\\]", value):
        return Event(kind, value)
    raise FormatError(
        f"{text!r} is not an event",
        "push:BRANCH, tag:TEMPLATE, schedule:CRON, pull_request, upstream or manual",
    )


EVENT = Format(
    "event", "an event: push:BRANCH, tag:TEMPLATE, schedule:CRON, pull_request, upstream, manual", parse_event
)
"""The form of ``channel.N.on``."""
CRON = Format("cron", "a cron line of five fields", parse_cron)
"""The form of ``ci.retain``."""
