"""urllib3 is loaded without the part that looks up versions of packages."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOADED = """
import sys
{first}
import urllib3, urllib3.connection
from urllib3.http2 import probe
assert urllib3.connection.http2_probe is probe
assert probe.acquire_and_get("example.test", 443) is None
probe.set_and_release("example.test", 443, False)
assert probe.acquire_and_get("example.test", 443) is False
print("importlib.metadata" in sys.modules)
"""

CALL = "from lamella.transport.lean import leave_out_http2; leave_out_http2()"


@pytest.mark.parametrize(
    ("first", "loaded"),
    [("", "True"), (CALL, "False"), (f"import urllib3; {CALL}", "True"), (f"{CALL}; {CALL}", "False")],
)
def test_the_probe_is_urllib3s_own_and_nothing_looks_up_versions(first: str, loaded: str) -> None:
    argv = [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}\n{LOADED.format(first=first)}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == loaded
