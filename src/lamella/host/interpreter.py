"""A fresh interpreter that finds modules where this one does."""

from __future__ import annotations

import os
import sys

__all__ = ["fresh_interpreter"]


def fresh_interpreter(code: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Arguments and the least environment of an interpreter that runs ``code``; its folder is not the working one."""
    return (sys.executable, "-P", "-c", code), {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
