"""How a program in a sandbox takes on a user, whatever its root file system has or lacks.

bubblewrap runs it as root of the sandbox. The host's setpriv(1), shown with its loader and libraries at a place of its
own, changes that; so images without any tool work too, and no program of the image is trusted with it.
"""

from __future__ import annotations

import os
from functools import cache

from lamella.engines.local.accounts import Account
from lamella.errors import SandboxError
from lamella.process import run, which
from lamella.values import dataclass

__all__ = ["Identity", "parse_libraries", "take_on"]

_TOOLS = "/dev/.lamella"
"""Below what bubblewrap mounts itself, so that nothing has to be made in the root file system."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Files to show, as (host path, path inside), and what goes before a program's arguments; both empty for root."""

    shown: tuple[tuple[str, str], ...] = ()
    prefix: tuple[str, ...] = ()


def take_on(account: Account, groups: tuple[int, ...] = (), *, bind_ports: bool = False) -> Identity:
    """What makes a program run as ``account`` with further ``groups`` and no capability.

    With ``bind_ports`` it may bind ports below 1024, as in a container with a network of its own. Raises SandboxError
    when the host has no setpriv.
    """
    if account.is_root:
        return Identity()
    program, loader, libraries = _setpriv()
    files = {os.path.basename(path): path for path in (program, *libraries)}
    shown = tuple((path, f"{_TOOLS}/{name}") for name, path in sorted(files.items()))
    start = (f"{_TOOLS}/{os.path.basename(loader)}", "--library-path", _TOOLS) if loader else ()
    kept = ",+net_bind_service" if bind_ports else ""
    rights = (f"--inh-caps=-all{kept}", f"--ambient-caps=-all{kept}")
    chosen = f"--groups={','.join(str(gid) for gid in groups)}" if groups else "--clear-groups"
    numbers = (f"--reuid={account.uid}", f"--regid={account.gid}", chosen, *rights)
    return Identity(shown, (*start, f"{_TOOLS}/{os.path.basename(program)}", *numbers, "--"))


@cache
def _setpriv() -> tuple[str, str, tuple[str, ...]]:
    """The program, its loader and its libraries by ldd(1)."""
    program = which("setpriv")
    if program is None:
        raise SandboxError("setpriv is not installed", hint="as root: apt-get install util-linux")
    done = run(("ldd", program), env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"}, check=False, error=SandboxError)
    return program, *parse_libraries(done.text)


def parse_libraries(text: str) -> tuple[str, tuple[str, ...]]:
    """Loader and files of what ldd(1) printed; both empty for a static program."""
    found: list[str] = []
    loader = ""
    for line in text.splitlines():
        name, _, rest = line.strip().partition(" => ")
        path = (rest or name).split(" (")[0].strip()
        if path.startswith("/"):
            found.append(path)
            if not rest or "/ld-" in path:
                loader = path
    return loader, tuple(found)
