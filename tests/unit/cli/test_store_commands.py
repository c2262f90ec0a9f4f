"""``images`` and ``cache`` over a store with something in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lamella.store import Store
from tests.unit.cli.conftest import Cli
from tests.unit.images.samples import put_image
from tests.unit.store.samples import open_store, put_record


@pytest.fixture
def store(cache: Path) -> Store:
    with open_store(cache) as opened:
        put_image(opened, "shop/api:dev")
        put_record(opened, "one", name="app")
        return opened


def test_no_images_yet(cli: Cli) -> None:
    outcome = cli("images")
    assert (outcome.code, outcome.out) == (0, "")
    assert "lamella build" in outcome.err


def test_images_are_listed(cli: Cli, store: Store) -> None:
    head, row = cli("images").out.splitlines()
    assert head.split() == ["NAME", "DIGEST", "PLATFORM", "LAYERS", "SIZE"]
    assert row.split()[0] == "shop/api:dev"
    assert row.split()[2:4] == ["linux/amd64", "2"]


def test_images_for_programs(cli: Cli, store: Store) -> None:
    [image] = json.loads(cli("images", "--format", "json").out)["images"]
    assert (image["name"], image["platform"], len(image["layers"])) == ("shop/api:dev", "linux/amd64", 2)


def test_an_image_whose_config_is_gone_is_listed_all_the_same(cli: Cli, store: Store) -> None:
    [image] = json.loads(cli("images", "--format", "json").out)["images"]
    store.blobs.path(image["config"]).unlink()
    assert "not in the store" in cli("images").out


def test_images_rm_forgets_names(cli: Cli, store: Store) -> None:
    assert cli("images", "rm", "shop/api:dev").out == "shop/api:dev\n"
    assert cli("images").out == ""


def test_images_rm_removes_nothing_when_one_name_is_wrong(cli: Cli, store: Store) -> None:
    outcome = cli("images", "rm", "shop/api:dev", "shop/apo:dev")
    assert outcome.code == 2
    assert "shop/api:dev" in outcome.err
    assert "shop/api:dev" in cli("images").out


def test_cache_status_adds_up(cli: Cli, store: Store) -> None:
    data = json.loads(cli("cache", "status", "--format", "json").out)
    assert data["size"] == sum(row["size"] for row in data["kinds"])
    assert [row["name"] for row in data["layers"]] == ["shop/app"]
    text = cli("cache", "status").out
    assert "KIND" in text
    assert "shop/app" in text


def test_cache_verify_says_clean(cli: Cli, store: Store) -> None:
    outcome = cli("cache", "verify", "--deep")
    assert (outcome.code, outcome.out.startswith("clean")) == (0, True)


@pytest.mark.parametrize("output", ["text", "json"])
def test_cache_verify_finds_a_corrupt_blob_and_repair_leaves_it_clean(cli: Cli, store: Store, output: str) -> None:
    digest = next(digest for digest, _ in store.blobs.all())
    path = store.blobs.path(digest)
    path.chmod(0o644)
    path.write_bytes(b"x" * path.stat().st_size)
    outcome = cli("cache", "verify", "--format", output)
    assert outcome.code == 3
    assert digest in (outcome.out if output == "json" else outcome.err)
    assert cli("cache", "repair").code == 0
    assert cli("cache", "verify").code == 0


def test_cache_gc_keeps_what_is_named(cli: Cli, store: Store) -> None:
    assert cli("cache", "gc", "--keep", "0", "--all").code == 0
    assert "shop/api:dev" in cli("images").out
    assert cli("cache", "verify").code == 0


def test_cache_gc_with_no_time_at_all_empties_what_nothing_names(cli: Cli, store: Store) -> None:
    cli("images", "rm", "shop/api:dev")
    assert cli("cache", "gc", "--keep", "0", "--all").code == 0
    kinds = {row["name"]: row["count"] for row in json.loads(cli("cache", "status", "--format", "json").out)["kinds"]}
    assert (kinds["blobs"], kinds["snapshots"], kinds["records"]) == (0, 0, 0)


def test_a_dry_run_takes_nothing(cli: Cli, store: Store) -> None:
    before = cli("cache", "status", "--format", "json").out
    outcome = cli("cache", "gc", "--keep", "0", "--all", "--max-size", "1B", "--dry-run")
    assert "would be freed" in outcome.err
    assert json.loads(cli("cache", "status", "--format", "json").out)["kinds"][:2] == json.loads(before)["kinds"][:2]


@pytest.mark.parametrize(
    ("words", "message"),
    [(("--keep", "soon"), "'soon' is not a duration"), (("--max-size", "much"), "'much' is not a size")],
)
def test_gc_refuses_what_it_does_not_understand(cli: Cli, words: tuple[str, ...], message: str) -> None:
    outcome = cli("cache", "gc", *words)
    assert (outcome.code, message in outcome.err) == (2, True)
