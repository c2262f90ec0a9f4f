"""Who reads and writes where."""

from __future__ import annotations

import pytest

from lamella.cache.domains import Domain, Place, domain_of, parse_domain, parse_place, places_of
from lamella.errors import ConfigError
from lamella.oci.reference import parse_reference

BASE = parse_reference("registry.example/acme/shop-cache")


def names(domain: str) -> tuple[list[str], str]:
    places = places_of(BASE, parse_domain(domain))
    assert places.writer is not None

    def short(place: Place) -> str:
        return str(place).removeprefix("registry.example/acme/") + (f" {place.prefix}" if place.prefix else "")

    return [short(place) for place in places.readers], short(places.writer)


@pytest.mark.parametrize(
    ("domain", "readers", "writer"),
    [
        ("release", ["shop-cache"], "shop-cache"),
        ("branch", ["shop-cache", "shop-cache-branch"], "shop-cache-branch"),
        (
            "pull-request/17",
            ["shop-cache", "shop-cache-branch", "shop-cache-pull-request 17."],
            "shop-cache-pull-request 17.",
        ),
        ("person/ann", ["shop-cache", "shop-cache-branch", "shop-cache-person ann."], "shop-cache-person ann."),
    ],
)
def test_a_domain_reads_itself_and_what_is_above_it(domain: str, readers: list[str], writer: str) -> None:
    assert names(domain) == (readers, writer)


def test_nobody_else_reads_what_a_pull_request_or_a_person_wrote() -> None:
    for untrusted in ("pull-request/17", "person/ann"):
        _, writer = names(untrusted)
        for other in ("release", "branch", "pull-request/18", "person/bob"):
            assert writer not in names(other)[0]


@pytest.mark.parametrize(
    ("environ", "domain"),
    [
        ({"LAMELLA_TRUST": "release", "GITHUB_ACTIONS": "true"}, Domain("release")),
        ({"GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "push", "GITHUB_REF_TYPE": "tag"}, Domain("release")),
        ({"GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "push", "GITHUB_REF_TYPE": "branch"}, Domain("branch")),
        ({"GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "schedule"}, Domain("branch")),
        (
            {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "pull_request", "GITHUB_REF": "refs/pull/17/merge"},
            Domain("pull-request", "17"),
        ),
        (
            {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "pull_request_target", "GITHUB_REF": "refs/heads/main"},
            Domain("pull-request"),
        ),
        ({"GITLAB_CI": "true", "CI_MERGE_REQUEST_IID": "5"}, Domain("pull-request", "5")),
        ({"GITLAB_CI": "true", "CI_COMMIT_TAG": "v1"}, Domain("release")),
        ({"GITLAB_CI": "true"}, Domain("branch")),
        ({"CI": "true"}, Domain("pull-request")),
        ({"USER": "Ann.Lee"}, Domain("person", "ann-lee")),
        ({"USER": "äöü"}, Domain("person")),
        ({}, Domain("person")),
    ],
)
def test_the_domain_of_a_run(environ: dict[str, str], domain: Domain) -> None:
    assert domain_of(environ) == domain


@pytest.mark.parametrize("text", ["root", "release/me", "branch/x", "person/", "person/../x", "person/A", ""])
def test_a_domain_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_domain(text)


@pytest.mark.parametrize("text", ["registry.example/acme/x", "type=registry,ref=registry.example/acme/x,mode=max"])
def test_a_place_as_buildx_spells_it(text: str) -> None:
    assert parse_place(text, "--cache-from") == Place(parse_reference("registry.example/acme/x"))


@pytest.mark.parametrize("text", ["type=gha", "type=local,src=x", "registry.example/acme/x:tag", "type=registry"])
def test_other_places_are_refused_with_their_option(text: str) -> None:
    with pytest.raises(ConfigError, match="--cache-from"):
        parse_place(text, "--cache-from")
