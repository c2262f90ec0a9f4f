"""Publishing against the in-memory registry: order, repetition, failures of single cells, and tags that stay."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from lamella.canonical import digest_bytes
from lamella.errors import AuthError, ConfigError, LamellaError, RegistryError, StepError
from lamella.images.index import tag_plans
from lamella.images.publish import PublishOutcome
from lamella.images.push import Attachment
from lamella.oci import media
from lamella.oci.manifest import parse_index
from lamella.registry.credentials import Credential
from lamella.testing.registry import Fault, MemoryRegistry
from tests.unit.images.publications import AMD64, ARM64, Shop, cell, plan

SBOM = Attachment("application/vnd.cyclonedx+json", b'{"bomFormat":"CycloneDX"}')


@pytest.fixture
def registry() -> Iterator[MemoryRegistry]:
    with MemoryRegistry() as running:
        yield running


@pytest.fixture
def shop(registry: MemoryRegistry) -> Shop:
    return Shop(registry)


def states(outcome: PublishOutcome) -> dict[str, str]:
    return {tag.plan.tag: tag.state for tag in outcome.tags}


def methods(registry: MemoryRegistry) -> list[str]:
    return [f"{seen.method} {seen.path.rpartition('/')[2].partition('?')[0]}" for seen in registry.requests]


def test_two_platforms_become_an_index_and_tags_come_last(shop: Shop, registry: MemoryRegistry) -> None:
    both = [shop.release(plan(cell(platform), shop.repository)) for platform in (AMD64, ARM64)]
    outcome = shop.publish(*both)
    assert states(outcome) == dict.fromkeys(("1.2.0-amd64", "1.2.0", "latest", "1.2.0-arm64"), "moved")
    assert outcome.is_complete
    assert outcome.error is None
    index = parse_index(registry.manifests["acme/shop", "1.2.0"][1])
    assert [str(entry.platform) for entry in index.manifests] == [AMD64, ARM64]
    assert index.annotations["org.opencontainers.image.title"] == "shop"
    puts = [seen.path.rpartition("/")[2] for seen in registry.requests if seen.method == "PUT"]
    first_tag = next(number for number, name in enumerate(puts) if name in shop.tags())
    assert all(name in shop.tags() for name in puts[first_tag:])
    assert set(puts[-2:]) & {"latest"}
    shop.check_tags()


def test_a_blob_of_both_platforms_is_sent_once(shop: Shop) -> None:
    shop.publish(*(shop.release(plan(cell(platform), shop.repository)) for platform in (AMD64, ARM64)))
    sent = [transfer.digest for transfer in shop.transfers if transfer.action == "sent"]
    assert len(sent) == len(set(sent)) == 5  # base, two apps, two configs


def test_a_second_run_asks_once_for_each_tag_and_sends_nothing(shop: Shop, registry: MemoryRegistry) -> None:
    release = shop.release(plan(cell(), shop.repository))
    shop.publish(release)
    registry.requests.clear()
    outcome = shop.publish(release)
    assert set(states(outcome).values()) == {"unchanged"}
    assert [image.state for image in outcome.images] == ["unchanged"]
    assert sorted(methods(registry)) == ["HEAD 1.2.0", "HEAD 1.2.0-amd64", "HEAD latest"]


def test_only_what_changed_moves(shop: Shop) -> None:
    where = plan(cell(), shop.repository)
    shop.publish(shop.release(where, "base", "app 1"))
    shop.transfers.clear()
    outcome = shop.publish(shop.release(where, "base", "app 2"))
    assert outcome.freight.blobs == {"present": 1, "mounted": 0, "sent": 2}
    assert {t.digest for t in shop.transfers if t.action == "sent"} & set(shop.layers.blobs) == {
        shop.layers.add("app 2")[0].digest
    }


def test_a_layer_is_mounted_from_where_it_is_known_to_be(shop: Shop, registry: MemoryRegistry) -> None:
    blob, _ = shop.layers.add("base")
    registry.put_blob(shop.layers.blobs.pop(blob.digest), blob.media_type, "acme/shop-cache")
    shop.layers.places[blob.digest] = (f"{registry.address}/acme/shop-cache",)
    release = shop.release(plan(cell(), shop.repository), "base", "app")
    del shop.layers.blobs[blob.digest]
    outcome = shop.publish(release)
    assert outcome.freight.blobs["mounted"] == 1
    assert blob.digest not in shop.layers.opened
    shop.check_tags()


def test_a_layer_of_two_repositories_is_sent_to_one_and_mounted_into_the_other(
    shop: Shop, registry: MemoryRegistry
) -> None:
    other = f"{registry.address}/acme/other"
    api, worker = plan(cell(), shop.repository), plan(cell(image="worker"), other)
    outcome = shop.publish(shop.release(api, "base", "api"), shop.release(worker, "base", "worker"))
    assert outcome.is_complete
    assert (outcome.freight.blobs["mounted"], outcome.freight.blobs["sent"]) == (1, 5)
    base, _ = shop.layers.add("base")
    assert shop.layers.opened.count(base.digest) == 1
    shop.check_tags()


def test_one_platform_fails_and_the_other_is_released(shop: Shop) -> None:
    good, bad = (plan(cell(platform), shop.repository) for platform in (AMD64, ARM64))
    before = shop.publish(shop.release(good, "old"), shop.release(bad, "old"))
    outcome = shop.publish(shop.release(good), others=(bad,), failed={bad: StepError("the step failed")})
    assert states(outcome) == {
        "1.2.0-amd64": "moved",
        "1.2.0": "waiting",
        "latest": "waiting",
        "1.2.0-arm64": "waiting",
    }
    assert shop.tags()["latest"] == next(tag.digest for tag in before.tags if tag.plan.tag == "latest")
    assert isinstance(outcome.error, StepError)
    assert not outcome.is_complete
    completed = shop.publish(shop.release(good), shop.release(bad))
    assert completed.is_complete
    assert states(completed)["latest"] == "moved"


def test_a_cell_that_may_fail_is_left_out_of_the_index(shop: Shop, registry: MemoryRegistry) -> None:
    good, bad = plan(cell(), shop.repository), plan(cell(ARM64, allow_failure=True), shop.repository)
    outcome = shop.publish(shop.release(good), others=(bad,), failed={bad: StepError("no emulator")})
    assert states(outcome)["latest"] == "moved"
    assert outcome.error is None
    tag = next(tag for tag in outcome.tags if tag.plan.tag == "latest")
    assert (tag.platforms, tag.why) == ((AMD64,), "without linux/arm64, which failed and may")
    assert len(parse_index(registry.manifests["acme/shop", "latest"][1]).manifests) == 1


def test_a_platform_that_was_not_selected_is_waited_for(shop: Shop) -> None:
    other = plan(cell(ARM64), shop.repository, selected=False)
    outcome = shop.publish(shop.release(plan(cell(), shop.repository)), others=(other,))
    assert states(outcome) == {"1.2.0-amd64": "moved", "1.2.0": "waiting", "latest": "waiting"}
    assert "linux/arm64 not selected" in next(tag.why for tag in outcome.tags if tag.state == "waiting")


def test_an_older_version_leaves_latest_where_it_is(shop: Shop) -> None:
    shop.publish(shop.release(plan(cell(), shop.repository, version="1.3.0"), "newer"))
    newer = shop.tags()["latest"]
    outcome = shop.publish(shop.release(plan(cell(), shop.repository, version="1.2.1"), "backport"))
    assert states(outcome) == {"1.2.1-amd64": "moved", "1.2.1": "moved", "latest": "held"}
    assert shop.tags()["latest"] == newer
    assert outcome.is_complete


def test_a_version_that_was_out_and_is_another_image_now_is_named(shop: Shop) -> None:
    """It moves, as its author asked, and whoever has pulled it has something else; ``latest`` is there to move."""
    where = plan(cell(), shop.repository)
    assert shop.publish(shop.release(where, "first")).rewritten == ()
    before = shop.tags()["1.2.0"]
    assert shop.publish(shop.release(where, "first")).rewritten == ()
    found = shop.publish(shop.release(where, "second")).rewritten
    assert [text.partition(",")[0].rpartition(":")[2] for text in found] == ["1.2.0-amd64", "1.2.0"]
    assert all(before.partition(":")[2][:12] in text for text in found[1:])


def test_a_tag_that_somebody_moves_meanwhile_is_left_alone(shop: Shop, registry: MemoryRegistry) -> None:
    where = plan(cell(), shop.repository)
    publication = shop.open((where,))
    publication.look()
    theirs = registry.add_image("acme/shop", "latest", layers=[b"theirs"]).manifest.digest
    from lamella.images.push import Pusher

    outcome = publication.publish((shop.release(where),), {}, Pusher(shop.layers))
    assert states(outcome) == {"1.2.0-amd64": "moved", "1.2.0": "moved", "latest": "failed"}
    assert shop.tags()["latest"] == theirs
    assert isinstance(outcome.error, RegistryError)
    assert "moved by somebody else" in outcome.error.message


def test_a_blob_that_cannot_be_pushed_fails_its_cells_only(shop: Shop, registry: MemoryRegistry) -> None:
    big, _ = shop.layers.add("app linux/arm64")
    registry.script(
        Fault(big.digest, times=0, method="PUT", status=413, body=b'{"errors":[{"code":"DENIED","message":"quota"}]}')
    )
    both = [shop.release(plan(cell(platform), shop.repository)) for platform in (AMD64, ARM64)]
    outcome = shop.publish(*both)
    assert [image.state for image in outcome.images] == ["published", "failed"]
    assert states(outcome)["1.2.0-amd64"] == "moved"
    assert states(outcome)["latest"] == "waiting"
    assert outcome.error is not None
    assert "quota" in outcome.error.message
    assert outcome.error.exit_code == 6


def test_a_blob_that_is_said_to_be_there_and_is_gone_is_sent_again(shop: Shop, registry: MemoryRegistry) -> None:
    """Distribution 3743, 4569; RELIABILITY row 51."""
    blob, _ = shop.layers.add("base")
    registry.script(Fault(blob.digest, times=1, method="HEAD", status=200, body=shop.layers.blobs[blob.digest]))
    outcome = shop.publish(shop.release(plan(cell(), shop.repository), "base", "app"))
    assert outcome.is_complete
    assert blob.digest in registry.blobs
    shop.check_tags()


def test_documents_about_an_image_refer_to_its_manifest(shop: Shop, registry: MemoryRegistry) -> None:
    release = shop.release(plan(cell(), shop.repository), attachments=(SBOM,))
    shop.publish(release)
    (entry,) = registry.content.referrers("acme/shop", release.descriptor.digest)
    assert entry["artifactType"] == "application/vnd.cyclonedx+json"
    manifest = json.loads(registry.manifests["acme/shop", entry["digest"]][1])
    assert registry.blobs[manifest["layers"][0]["digest"]] == SBOM.data
    before = dict(registry.manifests)
    shop.publish(release)
    assert dict(registry.manifests) == before


def test_a_document_that_is_there_is_not_pushed_again(shop: Shop, registry: MemoryRegistry) -> None:
    release = shop.release(plan(cell(), shop.repository), attachments=(SBOM,))
    shop.publish(release)
    for tag in ("latest", "1.2.0", "1.2.0-amd64"):  # as a run that was killed before its tags would leave it
        del registry.manifests["acme/shop", tag]
    before = registry.content.referrers("acme/shop", release.descriptor.digest)
    assert shop.publish(release).is_complete
    assert registry.content.referrers("acme/shop", release.descriptor.digest) == before


def test_what_cannot_be_signed_is_not_tagged(shop: Shop) -> None:
    signed: list[str] = []

    def sign(repository: str, digest: str) -> None:
        signed.append(f"{repository}@{digest}")
        if len(signed) > 1:
            raise AuthError("no identity")

    both = [shop.release(plan(cell(platform), shop.repository)) for platform in (AMD64, ARM64)]
    outcome = shop.publish(*both, sign=sign)
    assert isinstance(outcome.error, AuthError)
    assert signed[0].endswith(both[0].descriptor.digest)
    assert "latest" not in shop.tags()


def test_a_read_only_registry_takes_no_tag(shop: Shop, registry: MemoryRegistry) -> None:
    registry.options.read_only = True
    outcome = shop.publish(shop.release(plan(cell(), shop.repository)))
    assert [image.state for image in outcome.images] == ["failed"]
    assert outcome.error is not None
    assert outcome.error.exit_code in (6, 7)
    assert shop.tags() == {}


def test_wrong_credentials_are_said_before_anything_is_built() -> None:
    with MemoryRegistry(user="ada", password="right") as registry:
        shop = Shop(registry, credential=Credential("ada", "wrong-password"))
        publication = shop.open((plan(cell(), shop.repository),))
        with pytest.raises(AuthError) as caught:
            publication.look()
    assert "wrong-password" not in f"{caught.value.message} {caught.value.hint} {caught.value.details}"


def test_two_images_under_one_tag_are_an_error(shop: Shop) -> None:
    with pytest.raises(ConfigError, match=r"would both be .*:latest"):
        tag_plans((plan(cell(), shop.repository), plan(cell(image="other"), shop.repository, ("latest",))))
    with pytest.raises(ConfigError):
        tag_plans(plan(cell(accelerator=name), shop.repository) for name in ("cpu", "cuda"))


def total_requests() -> int:
    with MemoryRegistry() as registry:
        shop = Shop(registry)
        shop.publish(*(shop.release(plan(cell(platform), shop.repository)) for platform in (AMD64, ARM64)))
        return len(registry.requests)


def test_a_push_that_stops_at_any_request_leaves_no_broken_tag_and_is_completed_by_the_next() -> None:
    """RELIABILITY row 50: interrupted at every other request, then repeated."""
    for stop in range(0, total_requests(), 2):
        with MemoryRegistry() as registry:
            shop = Shop(registry)
            registry.script(Fault(".", times=0, after=stop, status=403))
            both = [
                shop.release(plan(cell(platform), shop.repository), attachments=(SBOM,)) for platform in (AMD64, ARM64)
            ]
            try:
                shop.publish(*both)
            except LamellaError as error:
                assert error.exit_code == 7  # noqa: PT017 - not every stop ends in an error
            shop.check_tags()
            there = set(registry.blobs)
            registry.faults = type(registry.faults)()
            shop.transfers.clear()
            assert shop.publish(*both).is_complete
            shop.check_tags()
            sent = {transfer.digest for transfer in shop.transfers if transfer.action == "sent"}
            assert not sent & there, f"stopped at request {stop}: a blob that was there was sent again"


def test_a_preview_moves_nothing_and_says_what_would(shop: Shop, registry: MemoryRegistry) -> None:
    where = plan(cell(), shop.repository)
    release = shop.release(where)
    publication = shop.open((where,))
    publication.look()
    outcome = publication.preview((release,), {})
    assert states(outcome) == dict.fromkeys(("1.2.0-amd64", "1.2.0", "latest"), "moved")
    assert outcome.freight.blobs["sent"] == 3
    assert {seen.method for seen in registry.requests} <= {"HEAD", "GET"}
    assert digest_bytes(b"") not in registry.blobs
    assert release.descriptor.media_type == media.IMAGE_MANIFEST
