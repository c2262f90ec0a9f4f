"""Options about the cache repository, shared by the commands that build or plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lamella.cli.messages import say

if TYPE_CHECKING:
    from lamella.api.session import Session
    from lamella.build.options import BuildReport
    from lamella.build.selection import Selection

__all__ = ["cache_from_option", "cache_push_options", "push_after_build", "wants_push"]

F = TypeVar("F", bound=Callable[..., Any])


def cache_from_option(function: F) -> F:
    """``--cache-from``."""
    return click.option(
        "--cache-from", "cache_from", multiple=True, metavar="REPOSITORY", help="Read records from there as well."
    )(function)


def cache_push_options(function: F) -> F:
    """``--push-records``, ``--cache-to``."""
    push = click.option(
        "--push-records", is_flag=True, help="Push new records with their layers to the cache repository."
    )
    to = click.option("--cache-to", default="", metavar="REPOSITORY", help="Push them there instead.")
    return push(to(function))


def wants_push(session: Session, flags: Mapping[str, Any]) -> bool:
    """Whether records are to be pushed; raises ConfigError before anything is built when there is no place for them."""
    if not (flags["push_records"] or flags["cache_to"]):
        return False
    from lamella.api.cache_push import check_writer

    check_writer(session)
    return True


def push_after_build(session: Session, selection: Selection, report: BuildReport) -> dict[str, Any] | None:
    """Pushes the records of a build and says so; what a report says of it, None when nothing could be written."""
    from lamella.api.cache_push import push_records
    from lamella.cli.messages import format_size

    pushed = push_records(session, selection, report)
    if pushed is None:
        return None
    kept = f", {pushed.local} stay on this machine" if pushed.local else ""
    states = f" and {pushed.states} states" if pushed.states else ""
    say(
        f"{pushed.pushed} records{states} pushed to {pushed.repository} ({format_size(pushed.bytes)}), "
        f"{pushed.present} were there{kept}"
    )
    if pushed.incomplete:
        say(f"not pushed, for their files are not here: {', '.join(pushed.incomplete)}")
    return {
        "repository": pushed.repository,
        "pushed": pushed.pushed,
        "present": pushed.present,
        "local": pushed.local,
        "states": pushed.states,
        "bytes": pushed.bytes,
        "incomplete": list(pushed.incomplete),
    }
