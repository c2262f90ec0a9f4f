"""The development part of compose files: what is watched, and servers of the tools' own."""

from __future__ import annotations

import posixpath
from typing import Any

from lamella.project.delivery import DevSpec
from lamella.stacks.base import SRC

__all__ = ["dev_server", "develop"]


def develop(paths: tuple[str, ...], context: str) -> dict[str, Any]:
    """``develop.watch``: an edit below a path builds the image again, with everything that is cached."""
    rules = [{"action": "rebuild", "path": _seen(context, path)} for path in paths]
    return {"watch": rules} if rules else {}


def dev_server(dev: DevSpec, build: dict[str, Any], command: list[str], context: str) -> dict[str, Any]:
    """A service that runs ``dev.command`` on the sources of this machine, in the stage that ``dev.on`` names."""
    folder = posixpath.normpath(dev.dir)
    inside = SRC if folder == "." else f"{SRC}/{folder}"
    out: dict[str, Any] = {"build": build, "working_dir": inside, "command": command}
    out["volumes"] = [f"{_seen(context, folder)}:{inside}"]
    if dev.port is not None:
        out["ports"] = [f"{dev.port}:{dev.port}"]
    return out


def _seen(context: str, path: str) -> str:
    found = posixpath.normpath(posixpath.join(context, path))
    return found if found.startswith(".") else f"./{found}"
