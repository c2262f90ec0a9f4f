"""Entry point. ``--version`` is answered before anything heavy is imported."""

from __future__ import annotations

import gc
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["main"]


def main(argv: list[str] | None = None) -> None:
    """Runs the command line and exits with its code (DESIGN section 6)."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments in (["--version"], ["-V"]):
        from lamella import __version__

        sys.stdout.write(f"lamella {__version__}\n")
        sys.exit(0)
    gc.set_threshold(100_000)  # what start-up makes stays: looking through it again and again finds nothing
    sys.setswitchinterval(0.001)  # threads that wait for answers of a registry are not to wait 5 ms for their turn
    from lamella.cli.run import run_cli

    _leave(run_cli(arguments))


def _leave(code: int) -> NoReturn:
    """Ends the process. Its memory goes as a whole: to look through it for rings once more takes a tenth of a run."""
    gc.freeze()
    sys.exit(code)
