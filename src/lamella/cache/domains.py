"""Trust by place: who reads and writes which repository (DESIGN 3b "Trust", RELIABILITY finding 7).

Each domain has a repository of its own, so that the registry's rights say who may write there. ``release`` is
trusted by all, ``branch`` by branches, pull requests and people, a pull request and a person only by themselves. What
a run says of itself therefore gives it nothing: reading higher domains is harmless, writing needs their credentials.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from lamella.errors import ConfigError
from lamella.oci.reference import Reference, parse_reference
from lamella.values import dataclass, replace

__all__ = ["DOMAINS", "Domain", "Place", "Places", "domain_of", "parse_domain", "parse_place", "places_of"]

DOMAINS = ("release", "branch", "pull-request", "person")
"""The highest first."""

_TRUSTED = {
    "release": ("release",),
    "branch": ("release", "branch"),
    "pull-request": ("release", "branch", "pull-request"),
    "person": ("release", "branch", "person"),
}
_WHO = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


@dataclass(frozen=True, slots=True)
class Domain:
    """A level of trust; ``who`` tells pull requests and people apart, and is empty otherwise."""

    name: str
    who: str = ""

    def __str__(self) -> str:
        return f"{self.name}/{self.who}" if self.who else self.name


@dataclass(frozen=True, slots=True)
class Place:
    """A repository, with what comes before the names of its tags."""

    repository: Reference
    prefix: str = ""

    def __str__(self) -> str:
        return str(self.repository)


@dataclass(frozen=True, slots=True)
class Places:
    """Where a run looks, the most trusted place first, and where it writes."""

    readers: tuple[Place, ...] = ()
    writer: Place | None = None


def parse_domain(text: str) -> Domain:
    """A domain from ``NAME`` or ``NAME/WHO``; raises ConfigError.

    >>> parse_domain("person/ann")
    Domain(name='person', who='ann')
    """
    name, slash, who = text.partition("/")
    if name not in DOMAINS:
        raise ConfigError(f"there is no trust domain {name!r}", hint=f"write one of {', '.join(DOMAINS)}")
    if slash and (name not in ("pull-request", "person") or not _WHO.fullmatch(who)):
        raise ConfigError(
            f"trust domain {text!r} is not understood", hint="a name may follow person/ and pull-request/: a-z 0-9 _ -"
        )
    return Domain(name, who)


def domain_of(environ: Mapping[str, str]) -> Domain:
    """The domain of a run: ``LAMELLA_TRUST``, else what the CI system says of the event, else this person's.

    On GitHub and GitLab a tag is a release, a pull request is one, everything else a branch. A CI system that is not
    known is trusted with nothing.
    """
    said = environ.get("LAMELLA_TRUST", "")
    if said:
        return parse_domain(said)
    if environ.get("GITHUB_ACTIONS") == "true":
        return _by_event(
            environ.get("GITHUB_EVENT_NAME", "").startswith("pull_request"),
            environ.get("GITHUB_REF_TYPE") == "tag",
            environ.get("GITHUB_REF", "").removeprefix("refs/pull/").partition("/")[0],
        )
    if environ.get("GITLAB_CI") == "true":
        request = environ.get("CI_MERGE_REQUEST_IID", "")
        return _by_event(bool(request), bool(environ.get("CI_COMMIT_TAG")), request)
    if environ.get("CI", "").lower() in ("1", "true", "yes"):
        return Domain("pull-request")
    return Domain("person", _name(environ.get("USER") or environ.get("LOGNAME") or ""))


def _by_event(request: bool, tag: bool, number: str) -> Domain:
    if request:
        return Domain("pull-request", number if number.isdecimal() else "")
    return Domain("release" if tag else "branch")


def _name(text: str) -> str:
    found = re.sub(r"[^a-z0-9_-]", "-", text.lower()).lstrip("-_")[:32]
    return found if _WHO.fullmatch(found) else ""


def places_of(base: Reference, domain: Domain) -> Places:
    """The places of a cache repository for a domain: ``base`` itself for releases, ``base-NAME`` for the others."""
    who = {domain.name: domain.who}
    readers = tuple(_place(base, Domain(name, who.get(name, ""))) for name in _TRUSTED[domain.name])
    return Places(readers, readers[-1])


def _place(base: Reference, domain: Domain) -> Place:
    bare = replace(base, tag="", digest="")
    if domain.name == "release":
        return Place(bare)
    prefix = f"{domain.who}." if domain.who else ""
    return Place(replace(bare, repository=f"{bare.repository}-{domain.name}"), prefix)


def parse_place(text: str, option: str) -> Place:
    """A place from ``REPOSITORY``, or buildx's ``type=registry,ref=REPOSITORY``; raises ConfigError."""
    ref = text
    if "=" in text:
        values = dict(item.partition("=")[::2] for item in text.split(","))
        if values.get("type") != "registry" or not values.get("ref"):
            raise ConfigError(
                f"{option} {text!r} is not a cache repository", hint=f"{option} registry.example/acme/shop-cache"
            )
        ref = values["ref"]
    reference = parse_reference(ref)
    if reference.tag or reference.digest:
        raise ConfigError(
            f"{option} {text!r} names a tag, and records have tags of their own", hint="name the repository alone"
        )
    return Place(reference)
