"""What images need of their bases, and what of it the bases do not have, as far as those are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from lamella.errors import ConfigError, Problem
from lamella.graph.facts import BaseFacts
from lamella.graph.record import Result
from lamella.images.requirements import check_requirements
from lamella.planning.lowering import ImagePlan
from lamella.planning.walk import Resolver

__all__ = ["known_facts", "refuse_unmet"]


def known_facts(resolver: Resolver, results: Mapping[str, Result]) -> Callable[[str], BaseFacts | None]:
    """The facts of a root file system's vertex, None while it has no result."""

    def facts(key: str) -> BaseFacts | None:
        result = results.get(key)
        return resolver.facts_of(key, result) if result is not None else None

    return facts


def refuse_unmet(images: Iterable[ImagePlan], facts: Callable[[str], BaseFacts | None]) -> None:
    """Raises ConfigError with the findings of all images whose base is known, before an hour is spent (DESIGN 7b.3)."""
    problems: list[Problem] = []
    for image in images:
        base = facts(image.base)
        if base is not None:
            problems += check_requirements(image, base, facts)
    if problems:
        raise ConfigError.from_problems(tuple(dict.fromkeys(problems)))
