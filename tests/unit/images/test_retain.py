"""Retention: indexes, referrers, shared layers, moved tags, journals (RELIABILITY row 52)."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from lamella.cache.artifact import described
from lamella.canonical import digest_bytes
from lamella.errors import ConfigError, RegistryError
from lamella.images.catalog import parse_time, read_catalog
from lamella.images.retain import RetainPlan, check_share, plan_cache_retention, plan_retention
from lamella.images.retain_apply import Journal, Removed, apply_retention
from lamella.images.survey import survey
from lamella.oci.manifest import Descriptor, Manifest
from lamella.oci.reference import parse_reference
from lamella.project.delivery import RetainSpec
from lamella.registry.client import RegistryClient
from lamella.registry.remote import RemoteRepository
from lamella.testing.registry import Fault, MemoryRegistry, Options
from lamella.transport.client import Client
from lamella.transport.retry import Timing
from tests.unit.images.releases import AMD64, DAY, push_release

NOW = 20_000 * DAY


@pytest.fixture(params=["referrers API", "tag fall-back"])
def registry(request: pytest.FixtureRequest) -> Iterator[MemoryRegistry]:
    with MemoryRegistry(options=Options(referrers=request.param == "referrers API", page=3)) as running:
        yield running


@pytest.fixture
def repository(registry: MemoryRegistry) -> Iterator[RemoteRepository]:
    http = Client(timing=Timing(sleep=lambda _: None))
    yield RegistryClient(http).repository(parse_reference(f"{registry.address}/acme/shop"))
    http.close()


def plan(repository: RemoteRepository, rules: Mapping[str, RetainSpec], **more: tuple[str, ...]) -> RetainPlan:
    orphans = more.get("orphans", ())
    return plan_retention(read_catalog(repository, also=orphans), rules, now=NOW, orphans=orphans)


def apply(repository: RemoteRepository, rules: Mapping[str, RetainSpec], tmp_path: Path) -> tuple[Removed, ...]:
    journal = Journal.of(tmp_path, repository.name)
    noted = journal.read()
    catalog = read_catalog(repository, also=noted)
    return apply_retention(
        repository, catalog, plan_retention(catalog, rules, now=NOW, orphans=noted), journal, on_removed=lambda _: None
    )


def fates(found: RetainPlan) -> dict[str, bool]:
    return {fate.tag: fate.keep for fate in found.fates}


def whole(repository: RemoteRepository, name: str) -> bool:
    """Whether everything that a tag or digest leads to is there."""
    catalog = read_catalog(repository, only=lambda tag: tag == name)
    blobs = catalog.blobs(catalog.reachable(catalog.tags.values()))
    return name in catalog.tags and not catalog.gaps and all(repository.has_blob(blob) for blob in blobs)


def five_releases(repository: RemoteRepository) -> None:
    """1.0 (day 19901) to 1.4 (day 19905); 1.4 is ``latest`` too, 1.0 has a second name."""
    for number in range(5):
        names = {0: ("1.0", "stable-1.0"), 4: ("1.4", "latest")}.get(number, (f"1.{number}",))
        push_release(repository, *names, text=f"release {number}", day=19_901 + number)


def test_the_newest_stay_with_all_they_lead_to(repository: RemoteRepository, tmp_path: Path) -> None:
    five_releases(repository)
    rules = {"versions": RetainSpec(("[0-9]*",), keep=2)}
    found = plan(repository, rules)
    assert fates(found) == {
        "1.0": False, "1.1": False, "1.2": False, "1.3": True, "1.4": True, "latest": True, "stable-1.0": True,
    }  # fmt: skip
    done = apply(repository, rules, tmp_path)
    assert {tag for one in done for tag in one.removal.tags} == {"1.0", "1.1", "1.2"}
    assert set(repository.tags()) >= {"1.3", "1.4", "latest", "stable-1.0"}
    for tag in ("1.3", "1.4", "latest", "stable-1.0"):
        assert whole(repository, tag)
    assert "1.1" not in repository.tags()


def test_what_only_a_gone_index_led_to_goes_too(repository: RemoteRepository, tmp_path: Path) -> None:
    old = push_release(repository, "1.0", text="old", day=100)
    push_release(repository, "1.1", text="new", day=200)
    apply(repository, {"versions": RetainSpec(("1.*",), keep=1)}, tmp_path)
    for digest in (old.index, *old.children, *old.referrers):
        assert repository.head(digest) is None
    assert whole(repository, "1.1")
    assert not [tag for tag in repository.tags() if tag.startswith("sha256-") and old.index[7:] in tag]


def test_a_child_that_a_kept_index_has_too_stays(repository: RemoteRepository, tmp_path: Path) -> None:
    old = push_release(repository, "1.0", text="same", day=100)
    new = push_release(repository, "1.1", text="same", day=200, platforms=(AMD64,))
    assert new.children[0] in old.children
    apply(repository, {"versions": RetainSpec(("1.*",), keep=1)}, tmp_path)
    assert repository.head(old.index) is None
    assert repository.head(old.children[1]) is None
    assert whole(repository, "1.1")


def test_one_digest_under_a_kept_and_a_doomed_tag_only_loses_the_tag(
    registry: MemoryRegistry, repository: RemoteRepository, tmp_path: Path
) -> None:
    release = push_release(repository, "pr-1", "1.0", text="same", day=100)
    done = apply(repository, {"pull requests": RetainSpec(("pr-*",), keep=0)}, tmp_path)
    assert [(one.outcome, one.removal.shared) for one in done] == [("done", True)]
    assert repository.head("pr-1") is None
    assert repository.head("1.0").digest == release.index  # type: ignore[union-attr]
    assert whole(repository, "1.0")


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        (RetainSpec(("v*",), keep=1), {"v4"}),
        (RetainSpec(("v*",), keep=1, min_age=11 * DAY), {"v4", "v3", "v2"}),
        (RetainSpec(("v*",), max_age=20 * DAY), {"v4", "v3", "v2"}),
        (RetainSpec(("v*",), keep=4, max_age=1 * DAY), {"v4", "v3", "v2", "v1"}),
        (RetainSpec(("v*",), keep=0, protect=("v1",)), {"v1"}),
        (RetainSpec(("v1", "v*"), keep=1), {"v4", "v1"}),
    ],
)
def test_number_and_age_bound_together(repository: RemoteRepository, rule: RetainSpec, kept: set[str]) -> None:
    """v1 is 40 days old, v2 10, v3 5, v4 1."""
    for number, age in enumerate((40, 10, 5, 1), 1):
        push_release(repository, f"v{number}", text=f"release {number}", day=20_000 - age)
    assert {tag for tag, keep in fates(plan(repository, {"r": rule})).items() if keep} == kept


def test_without_a_known_age_nothing_is_old_and_versions_order(repository: RemoteRepository) -> None:
    for version in ("1.9", "1.10", "1.2"):
        push_release(repository, version, text=version)
    by_age = plan(repository, {"r": RetainSpec(("1.*",), max_age=DAY)})
    assert set(fates(by_age).values()) == {True}
    assert {fate.why for fate in by_age.fates} == {"its age is unknown"}
    by_number = plan(repository, {"r": RetainSpec(("1.*",), keep=1)})
    assert [tag for tag, keep in fates(by_number).items() if keep] == ["1.10"]


def test_latest_and_what_any_rule_protects_stay(repository: RemoteRepository) -> None:
    push_release(repository, "latest", text="a", day=100)
    push_release(repository, "base-latest", text="b", day=100)
    push_release(repository, "base-1", text="c", day=100)
    rules = {"all": RetainSpec(("*",), keep=0), "base": RetainSpec(("base-*",), keep=9, protect=("*-latest",))}
    assert fates(plan(repository, rules)) == {"latest": True, "base-latest": True, "base-1": False}


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (RetainSpec(("*",)), "take everything"),
        (RetainSpec(("*",), min_age=DAY), "take everything"),
        (RetainSpec((), keep=1), "names no tags"),
        (RetainSpec(("*",), untagged=True, keep=1), "both"),
    ],
)
def test_a_rule_without_bounds_is_refused(repository: RemoteRepository, rule: RetainSpec, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(repository, {"r": rule})


def test_too_large_a_share_is_refused(repository: RemoteRepository) -> None:
    five_releases(repository)
    found = plan(repository, {"r": RetainSpec(("[0-9]*",), keep=1)})
    with pytest.raises(ConfigError, match="4 of 7 tags"):
        check_share(found, 0.5)
    check_share(found, 0.6)


def test_a_tag_that_moved_since_the_plan_stays(repository: RemoteRepository, tmp_path: Path) -> None:
    push_release(repository, "1.0", text="old", day=100)
    push_release(repository, "1.1", text="new", day=200)
    catalog = read_catalog(repository)
    found = plan_retention(catalog, {"r": RetainSpec(("1.*",), keep=1)}, now=NOW)
    push_release(repository, "1.0", text="moved", day=300)
    done = apply_retention(repository, catalog, found, Journal.of(tmp_path, repository.name))
    assert [one.outcome for one in done if one.removal.tags] == ["kept"]
    assert whole(repository, "1.0")


def test_what_a_new_tag_names_stays(repository: RemoteRepository, tmp_path: Path) -> None:
    old = push_release(repository, "1.0", text="old", day=100)
    push_release(repository, "1.1", text="new", day=200)
    catalog = read_catalog(repository)
    found = plan_retention(catalog, {"r": RetainSpec(("1.*",), keep=1)}, now=NOW)
    document = repository.manifest(old.index)
    assert document is not None
    repository.push_manifest(document.data, document.descriptor.media_type, tags=("promoted",))
    apply_retention(repository, catalog, found, Journal.of(tmp_path, repository.name))
    assert whole(repository, "promoted")


def test_a_kept_tag_that_was_moved_onto_a_doomed_one_keeps_it(repository: RemoteRepository, tmp_path: Path) -> None:
    old = push_release(repository, "1.0", text="old", day=100)
    push_release(repository, "1.1", "stable", text="new", day=200)
    catalog = read_catalog(repository)
    found = plan_retention(catalog, {"r": RetainSpec(("1.*",), keep=1)}, now=NOW)
    document = repository.manifest(old.index)
    assert document is not None
    repository.push_manifest(document.data, document.descriptor.media_type, tags=("stable",))
    apply_retention(repository, catalog, found, Journal.of(tmp_path, repository.name))
    assert whole(repository, "stable")


def test_an_interrupted_run_is_completed_by_the_next(
    registry: MemoryRegistry, repository: RemoteRepository, tmp_path: Path
) -> None:
    """The index is gone, its children are not, and no tag leads to them any more."""
    old = push_release(repository, "1.0", text="old", day=100)
    push_release(repository, "1.1", text="new", day=200)
    rules = {"r": RetainSpec(("1.*",), keep=1), "rest": RetainSpec(untagged=True)}
    registry.script(*(Fault(f"/manifests/{child}", status=405, method="DELETE") for child in old.children))
    with pytest.raises(RegistryError, match="2 of 4 deletions"):
        apply(repository, rules, tmp_path)
    assert repository.head(old.index) is None
    assert all(repository.head(child) is not None for child in old.children)
    apply(repository, rules, tmp_path)
    assert all(repository.head(child) is None for child in old.children)
    assert Journal.of(tmp_path, repository.name).read() == ()
    assert whole(repository, "1.1")


def test_a_registry_without_deletes_says_so_and_loses_nothing(tmp_path: Path) -> None:
    with MemoryRegistry(options=Options(deletes=False)) as registry:
        http = Client(timing=Timing(sleep=lambda _: None))
        repository = RegistryClient(http).repository(parse_reference(f"{registry.address}/acme/shop"))
        push_release(repository, "1.0", text="old", day=100)
        push_release(repository, "1.1", text="new", day=200)
        with pytest.raises(RegistryError, match="failed") as caught:
            apply(repository, {"r": RetainSpec(("1.*",), keep=1)}, tmp_path)
        assert caught.value.exit_code == 6
        assert "405" in "\n".join(caught.value.details)
        assert whole(repository, "1.0")
        assert whole(repository, "1.1")
        http.close()


def test_the_survey_counts_shared_bytes_once(repository: RemoteRepository) -> None:
    push_release(repository, "1.0", text="one", day=19_999)
    push_release(repository, "1.1", text="two", day=19_999)
    found = survey(read_catalog(repository), now=NOW)
    assert [row.platforms for row in found.tags] == [("linux/amd64", "linux/arm64/v8")] * 2
    assert [row.referrers for row in found.tags] == [1, 1]
    assert [row.age for row in found.tags] == [DAY, DAY]
    assert found.size == sum(layer.size for layer in found.layers)
    shared = [layer for layer in found.layers if layer.tags == 2]
    assert found.shared == sum(layer.size for layer in shared) > 0
    assert sum(row.own for row in found.tags) == found.size - found.shared
    assert (found.indexes, found.images, found.artifacts) == (2, 4, 2)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-01-30T12:00:00Z", 1769774400),
        ("2026-01-30T13:30:00.123+01:30", 1769774400),
        ("1970-01-01T00:00:00Z", 0),
        ("yesterday", 0),
    ],
)
def test_times_of_annotations(text: str, seconds: int) -> None:
    assert parse_time(text) == seconds


def test_a_registry_that_deletes_no_tag_alone_keeps_the_shared_one(tmp_path: Path) -> None:
    with MemoryRegistry(options=Options(tag_deletes=False)) as registry:
        http = Client(timing=Timing(sleep=lambda _: None))
        repository = RegistryClient(http).repository(parse_reference(f"{registry.address}/acme/shop"))
        push_release(repository, "pr-1", "1.0", text="same", day=100)
        push_release(repository, "pr-2", text="other", day=100)
        done = apply(repository, {"pull requests": RetainSpec(("pr-*",), keep=0)}, tmp_path)
        assert {one.removal.tags: one.outcome for one in done if one.removal.tags} == {
            ("pr-1",): "kept", ("pr-2",): "done",
        }  # fmt: skip
        assert whole(repository, "1.0")
        assert "pr-2" not in repository.tags()
        http.close()


def push_record(repository: RemoteRepository, key: str, name: str, day: int, prefix: str = "", kind: str = "r1") -> str:
    """A record's artifact as a cache repository has it."""
    body = f'{{"record": "{key}"}}'.encode()
    config = Descriptor("application/vnd.lamella.record.v1+json", digest_bytes(body), len(body))
    repository.push_blob(config, lambda: io.BytesIO(body))
    manifest = Manifest(config, (), annotations=described(name, day * DAY), artifact_type=config.media_type)
    tag = f"{prefix}{kind}-{digest_bytes(key.encode())[7:]}"
    repository.push_manifest(manifest.to_bytes(), manifest.media_type, tags=(tag,))
    return tag


def test_records_go_by_step_number_and_age(repository: RemoteRepository, tmp_path: Path) -> None:
    app = [push_record(repository, f"app {n}", "app", 19_900 + n) for n in range(5)]
    base = push_record(repository, "base", "base", 12_100)
    young = [push_record(repository, f"ui {n}", "ui", 19_995 + n) for n in range(4)]
    mine = push_record(repository, "app 0", "app", 12_200, prefix="ann.")
    states = [push_record(repository, f"state {n}", "app", 12_300 + n, kind="s1") for n in range(3)]
    push_release(repository, "1.0", text="an image in the same place", day=1)
    catalog = read_catalog(repository)
    found = plan_cache_retention(catalog, keep=2, max_age=30 * DAY, now=NOW)
    gone = {fate.tag for fate in found.fates if not fate.keep}
    assert gone == {*app[:3], states[0]}
    assert {fate.tag for fate in found.fates if fate.keep} >= {*app[3:], base, *young, mine, *states[1:], "1.0"}
    apply_retention(repository, catalog, found, Journal.of(tmp_path, repository.name))
    assert not gone & set(repository.tags())
    assert whole(repository, "1.0")
    assert whole(repository, base)
