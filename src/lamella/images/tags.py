"""Which tags an image gets, and which of them may move. Pure.

A tag that holds the whole version, the commit or the date is *exact*: it moves when it is published again. Every other
one (``latest-cpu``, ``1.4``, ``base-rust1.92``) is *floating*: it belongs to the newest of the versions that would
write it, so publishing an older one (a backport, a repeated run) leaves it where it is. What is newer is read from the
exact tags that the repository has; a prerelease neither moves a floating tag that a release has, nor holds one back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from lamella.canonical import FrozenMap
from lamella.errors import ConfigError
from lamella.oci.reference import is_tag
from lamella.project.delivery import ChannelSpec, Raw
from lamella.project.spec import ImageSpec
from lamella.project.template import (
    DEFAULT_DATE_FORMAT,
    Scope,
    Template,
    TemplateError,
    parse_template,
    platform_variables,
    render,
)
from lamella.sources.git import version_key
from lamella.values import dataclass, replace

__all__ = ["HeldTag", "WantedTag", "held_tags", "is_prerelease", "is_versioned", "tag_scope", "wanted_tags"]

_EXACT = frozenset({"version", "commit", "date"})
_VERSION = re.compile(r"v?\d+(?:\.\d+)*(?:[._-]?[0-9A-Za-z]+)*\Z")
_PRERELEASE = re.compile(r"v?\d+(?:\.\d+)*(?:-|\.?(?:a|b|c|rc|alpha|beta|pre|dev)\d*\b)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class WantedTag:
    """A tag and how it is written. ``single``: it names one platform's manifest, not an index over all."""

    tag: str
    template: Template
    single: bool

    @property
    def exact(self) -> bool:
        """Whether only this very version, commit or day writes it."""
        return any(variable.name in _EXACT for variable in self.template.variables)


@dataclass(frozen=True, slots=True)
class HeldTag:
    """A floating tag that stays: ``newer`` is a published version that it belongs to."""

    tag: str
    newer: str


def is_prerelease(version: str | None) -> bool:
    """Whether a version is one before a release: ``1.0.0-rc.1`` (semver.org, 9) or ``1.0rc1`` (PEP 440).

    >>> is_prerelease("2.0.0-rc.1"), is_prerelease("2.0.0")
    (True, False)
    """
    return version is not None and _PRERELEASE.match(version) is not None


def tag_scope(scope: Scope) -> Scope:
    """The scope with the version as tags can hold it: ``+`` of build metadata becomes ``-``."""
    version = scope.facts.version
    return replace(scope, facts=replace(scope.facts, version=version and version.replace("+", "-")))


def wanted_tags(
    image: ImageSpec, scope: Scope, channel: ChannelSpec | None = None, *, prerelease: bool = False
) -> tuple[WantedTag, ...]:
    """The image's own tags and those of a channel, each once; ``stable_tags`` only where ``prerelease`` is false.

    Raises ConfigError for a channel's tag that has a variable without a value or is none.
    """
    found = {tag: WantedTag(tag, image.tag_templates[tag], tag in image.manifest_tags) for tag in image.tags}
    if channel is not None:
        raw = (*channel.tags, *(() if prerelease else channel.stable_tags))
        for item in raw:
            wanted = _channel_tag(item, tag_scope(scope))
            found.setdefault(wanted.tag, wanted)
    return tuple(found.values())


def _channel_tag(raw: Raw, scope: Scope) -> WantedTag:
    template = raw if isinstance(raw, Template) else parse_template(raw)
    written = "".join(part if isinstance(part, str) else part.text for part in template.parts)
    try:
        tag = render(template, scope)
    except TemplateError as error:
        raise ConfigError(f"the channel's tag {written!r}: {error.message}", hint=error.hint) from error
    if not isinstance(tag, str) or not is_tag(tag):
        raise ConfigError(f"the channel's tag {written!r} makes {str(tag)!r}, which is no tag")
    return WantedTag(tag, template, platform_variables(template))


def held_tags(tags: Iterable[WantedTag], scope: Scope, published: Iterable[str]) -> tuple[HeldTag, ...]:
    """The floating ones among ``tags`` that a newer published version has; ``published`` are the repository's tags."""
    tags, clean = tuple(tags), tag_scope(scope)
    variable = _version_variable(tags, clean)
    own = _value(variable, clean) if variable else None
    if variable is None or own is None:
        return ()
    newer = [found for found in _versions(tags, variable, clean, published) if _rank(found) > _rank(own)]
    held = []
    for wanted in tags:
        if not wanted.exact and not _names(wanted.template, variable):
            claims = [v for v in newer if _rendered(wanted.template, variable, v, clean) == wanted.tag]
            best = max(claims, key=_rank, default=None)
            if best is not None:
                held.append(HeldTag(wanted.tag, best))
    return tuple(held)


def is_versioned(tags: Iterable[WantedTag], scope: Scope) -> bool:
    """Whether any of the tags names a version, so that the published ones matter to the others."""
    return _version_variable(tuple(tags), tag_scope(scope)) is not None


def _rank(version: str) -> tuple[object, ...]:
    """Versions in order, every release after every prerelease."""
    return (not is_prerelease(version), *version_key(version)[:-1])


def _names(template: Template, variable: str) -> bool:
    return any(part.name == variable for part in template.variables)


def _version_variable(tags: tuple[WantedTag, ...], scope: Scope) -> str | None:
    """The variable that versions an image: ``version`` where a tag has it, else the first argument that is one."""
    names = [variable.name for wanted in tags for variable in wanted.template.variables]
    if {"version", "major", "minor"}.intersection(names):
        return "version"
    arguments = (name for name in names if name.startswith("args."))
    return next((name for name in arguments if _VERSION.match(_value(name, scope) or "")), None)


def _value(variable: str, scope: Scope) -> str | None:
    if variable == "version":
        return scope.facts.version
    return scope.args.get(variable.removeprefix("args."))


def _versions(tags: tuple[WantedTag, ...], variable: str, scope: Scope, published: Iterable[str]) -> tuple[str, ...]:
    """The versions that the exact tags of a repository name."""
    forms = [_expression(wanted.template, variable, scope) for wanted in tags if _names(wanted.template, variable)]
    days = [_expression(wanted.template, variable, scope) for wanted in tags if _names(wanted.template, "date")]
    found: dict[str, None] = {}
    for tag in published:
        if any(day.fullmatch(tag) for day in days):  # 2026.01.30 looks like a version and is none
            continue
        for form in forms:
            match = form.fullmatch(tag)
            if match and _VERSION.match(match["version"]):
                found.setdefault(match["version"])
    return tuple(found)


def _expression(template: Template, variable: str, scope: Scope) -> re.Pattern[str]:
    """What a tag of another version looks like."""
    text, seen = "", False
    for part in template.parts:
        if isinstance(part, str):
            text += re.escape(part)
        elif part.name == variable:
            text += "(?P=version)" if seen else "(?P<version>.+)"
            seen = True
        elif part.name == "date":
            text += _date_form(part.format or DEFAULT_DATE_FORMAT)
        elif part.name in ("commit", "major", "minor"):
            text += ".+"
        else:
            text += re.escape(str(render(Template((part,)), scope)))
    return re.compile(text)


def _date_form(form: str) -> str:
    """What dates of a strftime(3) format look like: numbers of a fixed length, most of them two digits."""
    digits = {"Y": 4, "G": 4, "j": 3, "u": 1}
    pieces = re.split(r"%(.)", form)
    numbers = [r"%" if name == "%" else rf"\d{{{digits.get(name, 2)}}}" for name in pieces[1::2]]
    return "".join(re.escape(text) + number for text, number in zip(pieces[::2], [*numbers, ""], strict=True))


def _rendered(template: Template, variable: str, version: str, scope: Scope) -> str | None:
    """The tag that another version would write."""
    if variable == "version":
        other = replace(scope, facts=replace(scope.facts, version=version))
    else:
        other = replace(scope, args=FrozenMap({**scope.args, variable.removeprefix("args."): version}))
    try:
        return str(render(template, other))
    except TemplateError:
        return None
