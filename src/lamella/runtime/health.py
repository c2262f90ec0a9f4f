"""Asks a program from outside whether it is well, the way its users will reach it."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable
from contextlib import closing

from lamella.graph.protocols import Clock
from lamella.runtime.values import Health

__all__ = ["is_answering", "probe", "wait_until_healthy"]

_PAUSE = 0.2
"""Seconds between questions while a program starts; the image's own interval is for later."""


def probe(health: Health) -> str:
    """One question; empty when the answer is good, else what is wrong in words."""
    try:
        if not health.path:
            socket.create_connection(("127.0.0.1", health.port), health.timeout).close()
            return ""
        with closing(http.client.HTTPConnection("127.0.0.1", health.port, timeout=health.timeout)) as connection:
            connection.request("GET", health.path, headers={"User-Agent": "lamella"})
            status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    return "" if 200 <= status < 400 else f"status {status}"


def is_answering(port: int) -> bool:
    """Whether somebody takes connections at a TCP port of this machine."""
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def wait_until_healthy(
    health: Health, clock: Clock, *, seconds: float, ended: threading.Event, ask: Callable[[Health], str] = probe
) -> tuple[bool, str]:
    """Asks until the answer is good, ``seconds`` are over or the program has ended: (healthy, the last word)."""
    deadline = clock.monotonic() + seconds
    while not ended.is_set():
        word = ask(health)
        if not word:
            return True, ""
        if clock.monotonic() > deadline:
            return False, word
        ended.wait(_PAUSE)
    return False, "the program has ended"
