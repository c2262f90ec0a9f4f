"""The uv program is looked for by one thread at a time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import uv

from lamella.sources.wheels import find_uv


def test_threads_look_for_it_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sysconfig of CPython 3.11 fills a table while others read it: uv's own search failed in one of ten builds."""
    inside = threading.Lock()

    def looks() -> str:
        assert inside.acquire(blocking=False), "two threads at once"
        time.sleep(0.01)
        inside.release()
        return "/bin/uv"

    monkeypatch.setattr(uv, "find_uv_bin", looks)
    with ThreadPoolExecutor(8) as pool:
        assert {*pool.map(lambda _: find_uv(), range(16))} == {"/bin/uv"}
