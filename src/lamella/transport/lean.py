"""urllib3 without what nobody here asks of it.

``urllib3.connection`` imports the package ``urllib3.http2``, whose first line imports ``importlib.metadata`` to look up
the version of an HTTP/2 library when somebody injects one: 26 modules and a third of urllib3's start-up, in every
command that asks a registry something. The package is put in place without running that line; its part that is used,
``urllib3.http2.probe``, is urllib3's own.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

__all__ = ["leave_out_http2"]

_PACKAGE = "urllib3.http2"


def leave_out_http2() -> None:
    """To be called before urllib3 is imported; does nothing when it was, or when it is built in another way."""
    if "urllib3" in sys.modules or _PACKAGE in sys.modules:
        return
    found = PathFinder.find_spec("urllib3")
    for folder in (found and found.submodule_search_locations) or ():
        place = Path(folder) / "http2"
        if (place / "probe.py").is_file():
            package = ModuleType(_PACKAGE)
            package.__path__ = [str(place)]
            sys.modules[_PACKAGE] = package
            return
