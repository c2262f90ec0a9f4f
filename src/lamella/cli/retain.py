"""``lamella retain``."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lamella.cli.messages import format_size, paint, say
from lamella.cli.options import file_option, format_option, parse_age
from lamella.cli.report import table
from lamella.cli.session import project_session
from lamella.errors import ConfigError

if TYPE_CHECKING:
    from lamella.api.repositories import Retention
    from lamella.api.session import Session
    from lamella.images.retain import Fate, RetainPlan
    from lamella.images.retain_apply import Removed
    from lamella.project.delivery import RetainSpec

__all__ = ["command"]

_CACHE_KEPT, _CACHE_AGE = 3, 30 * 86400
"""Of each step's records, when nothing else is said: the newest three, and those of a month."""


@click.command("retain")
@click.argument("names", nargs=-1, metavar="[RULE…]")
@file_option
@click.option(
    "--repository", "repositories", multiple=True, metavar="REPO", help="Look at this one, not the project's."
)
@click.option("--tags", multiple=True, metavar="GLOB", help="A rule of its own instead of the project's: these tags.")
@click.option("--keep", type=click.IntRange(0), metavar="N", help="With --tags or --cache: keep the newest N.")
@click.option("--min-age", metavar="AGE", help="With --tags: nothing younger goes.")
@click.option("--max-age", metavar="AGE", help="With --tags or --cache: only what is older goes.")
@click.option("--protect", multiple=True, metavar="GLOB", help="With --tags: tags that stay whatever their age.")
@click.option("--cache", "of_cache", is_flag=True, help="Records and states of the cache, instead of images.")
@click.option("--apply", is_flag=True, help="Delete. Without it nothing changes and the plan is shown.")
@click.option(
    "--max-share",
    type=click.IntRange(0, 100),
    default=50,
    show_default=True,
    metavar="PERCENT",
    help="Refuse when a larger part of a repository's tags would go.",
)
@format_option
def command(
    names: tuple[str, ...],
    file: Path | None,
    repositories: tuple[str, ...],
    tags: tuple[str, ...],
    keep: int | None,
    min_age: str | None,
    max_age: str | None,
    protect: tuple[str, ...],
    of_cache: bool,
    apply: bool,
    max_share: int,
    output_format: str,
) -> None:
    """Delete old tags by the [retain] rules of the project: plan first, delete only with --apply.

    Whatever a kept tag leads to stays: the platforms of its index, SBOMs, provenance and signatures. Before each
    deletion the registry is asked again; a tag that has moved meanwhile is left alone. The bytes come back when the
    registry collects its garbage.

    \b
    lamella retain                                   what would go, and why
    lamella retain --apply                           delete it
    lamella retain versions                          one rule: [retain.versions]
    lamella retain --tags 'pr-*' --max-age 14d       a rule without the project file
    lamella retain --cache --max-age 30d --keep 3    records: of each step the newest, and none younger
    """
    session = project_session(file)
    if of_cache:
        if names or tags or protect or min_age:
            raise ConfigError("--cache takes --keep and --max-age alone", hint="lamella retain --cache --max-age 30d")
        age = parse_age(max_age, "--max-age") if max_age else _CACHE_AGE
        for repository in repositories or _caches(session):
            bounds = (_CACHE_KEPT if keep is None else keep, age)
            _one(session, repository, bounds, apply=apply, most=max_share / 100, output_format=output_format)
        return
    rules = _own_rule(tags, keep, min_age, max_age, protect) or _project_rules(session, names)
    for repository in repositories or _repositories(session):
        _one(session, repository, rules, apply=apply, most=max_share / 100, output_format=output_format)


def _repositories(session: Session) -> tuple[str, ...]:
    from lamella.api.repositories import project_repositories

    return project_repositories(session)


def _caches(session: Session) -> tuple[str, ...]:
    from lamella.api.repositories import project_caches

    return project_caches(session)


def _own_rule(
    tags: tuple[str, ...], keep: int | None, min_age: str | None, max_age: str | None, protect: tuple[str, ...]
) -> dict[str, RetainSpec]:
    from lamella.project.delivery import RetainSpec

    if not tags:
        if keep is not None or min_age or max_age or protect:
            raise ConfigError("--keep, --min-age, --max-age and --protect need --tags", hint="--tags '1.*' --keep 5")
        return {}
    ages = [parse_age(text, option) if text else None for text, option in _ages(min_age, max_age)]
    return {"command line": RetainSpec(tags, keep=keep, min_age=ages[0], max_age=ages[1], protect=protect)}


def _ages(min_age: str | None, max_age: str | None) -> tuple[tuple[str | None, str], tuple[str | None, str]]:
    return (min_age, "--min-age"), (max_age, "--max-age")


def _project_rules(session: Session, names: tuple[str, ...]) -> dict[str, RetainSpec]:
    rules = session.project.delivery.retain
    if not rules:
        raise ConfigError(
            f"{session.path.name} has no [retain] table",
            hint='add [retain.versions] with tags = ["[0-9]*"] and keep = 5, or give --tags',
        )
    unknown = [name for name in names if name not in rules]
    if unknown:
        raise ConfigError(f"there is no [retain.{unknown[0]}]", hint=f"rules are {', '.join(sorted(rules))}")
    return {name: rules[name] for name in names or rules}


def _one(
    session: Session,
    repository: str,
    rules: dict[str, RetainSpec] | tuple[int, int],
    *,
    apply: bool,
    most: float,
    output_format: str,
) -> None:
    """One repository by rules, or a cache repository by number and age."""
    from lamella.api.repositories import retain, retain_cache

    text = output_format == "text"
    work = (
        partial(retain, session.options, session.store, repository, rules)
        if isinstance(rules, dict)
        else partial(retain_cache, session.options, session.store, repository, keep=rules[0], max_age=rules[1])
    )
    done = work(
        now=session.clock.now(),
        most=most,
        apply=apply,
        on_plan=lambda plan: _show_plan(plan, applies=apply) if text else None,
        on_removed=lambda removed: _show_removed(removed) if text else None,
    )
    if not text:
        click.echo(json.dumps(_json(done), indent=2, ensure_ascii=False))


def _show_plan(plan: RetainPlan, *, applies: bool) -> None:
    click.echo(paint(plan.repository, "bold"))
    rows = [_row(fate) for fate in sorted(plan.fates, key=lambda fate: (fate.keep, fate.tag))]
    for line in table([("", "TAG", "AGE", "RULE", "WHY"), *rows], right=frozenset({2})):
        click.echo(line)
    for note in plan.notes:
        say(f"note: {note}")
    gone = sum(not fate.keep for fate in plan.fates)
    below = sum(not removal.tags for removal in plan.removals)
    summary = (
        f"{gone} of {len(plan.fates)} tags and {below} manifests that only they lead to go, {format_size(plan.freed)}"
    )
    say(summary if applies else f"{summary}; nothing was deleted (--apply does)")


def _row(fate: Fate) -> tuple[str, ...]:
    age = "?" if fate.age is None else f"{fate.age // 86400}d"
    return ("keep" if fate.keep else paint("delete", "red"), fate.tag, age, fate.rule, fate.why)


def _show_removed(removed: Removed) -> None:
    what = ", ".join(removed.removal.tags) or f"{removed.removal.kind} {removed.removal.digest[:19]}"
    words = {"done": "deleted", "gone": "was gone", "kept": "kept", "failed": "failed"}
    say(f"{words[removed.outcome]} {what}" + (f": {removed.why}" if removed.why else ""))


def _json(done: Retention) -> dict[str, Any]:
    plan = done.plan
    return {
        "format": 1,
        "repository": plan.repository,
        "tags": [
            {"tag": f.tag, "digest": f.digest, "keep": f.keep, "why": f.why, "rule": f.rule, "age": f.age}
            for f in plan.fates
        ],
        "removals": [
            {"digest": r.digest, "kind": r.kind, "tags": list(r.tags), "size": r.size, "shared": r.shared}
            for r in plan.removals
        ],
        "freed": plan.freed,
        "share": round(plan.share, 3),
        "notes": list(plan.notes),
        "removed": [{"digest": r.removal.digest, "outcome": r.outcome, "why": r.why} for r in done.removed],
    }
