"""Runs a command line and turns whatever comes out of it into words and an exit code.

A build with nothing to do is answered before click and all that stands on it are loaded, so they are imported here
where they are needed.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

    from lamella.errors import LamellaError

__all__ = ["run_cli"]

BUG_HINT = "this is a defect in Lamella; run again with --debug for the traceback and report it"


class _Terminated(BaseException):
    """SIGTERM, as an exception in the main thread so that everything is cleaned up."""


def run_cli(arguments: list[str]) -> int:
    """The exit code of one command line. Tracebacks are shown with ``--debug`` only."""
    try:
        if arguments[:1] == ["build"]:
            from lamella.cli.again import answer_again

            if answer_again(arguments):
                return 0
        return _run_command(arguments)
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        return 130
    except _Terminated:
        sys.stderr.write("\nterminated\n")
        return 143
    except BrokenPipeError:
        sys.stderr.close()
        return 141


def _run_command(arguments: list[str]) -> int:
    """The exit code of the command that click finds. Raises KeyboardInterrupt, _Terminated, BrokenPipeError."""
    import errno
    import signal

    import click

    from lamella.cli.app import app
    from lamella.cli.messages import render_error
    from lamella.errors import LamellaError

    debug = "--debug" in arguments or "-D" in arguments
    signal.signal(signal.SIGTERM, _on_term)
    try:
        code = app.main(args=arguments, prog_name="lamella", standalone_mode=False, obj=tuple(arguments))
        return code if isinstance(code, int) else 0
    except LamellaError as error:
        return _report(error, debug=debug)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show(file=sys.stderr)
        return 2
    except click.Abort as error:  # click's word for Ctrl-C
        raise KeyboardInterrupt from error
    except BrokenPipeError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _report(_no_space(error), debug=debug)
        if debug:
            raise
        sys.stderr.write(render_error(LamellaError(f"{type(error).__name__}: {error}", hint=BUG_HINT)))
        return LamellaError.exit_code


def _no_space(error: OSError) -> LamellaError:
    """A full disk that no part of Lamella writes to by itself: what the command's output goes to, most of the time."""
    import os

    from lamella.errors import ResourceError

    what = f"writing {error.filename}" if error.filename else "writing the output of this command"
    return ResourceError(f"{what}: {os.strerror(error.errno or 0).lower()}", hint="free some space there")


def _on_term(_signum: int, _frame: FrameType | None) -> None:
    raise _Terminated


def _report(error: LamellaError, *, debug: bool) -> int:
    from lamella.cli.messages import render_error

    if debug:
        import traceback

        traceback.print_exception(error)
    sys.stderr.write(render_error(error))
    return error.exit_code
