"""Referrers by the API, and by the tag of the specification's fall-back."""

from __future__ import annotations

import threading

import pytest

from lamella.canonical import FrozenMap
from lamella.oci import media
from lamella.oci.manifest import Index, Manifest
from lamella.registry.referrers import fallback_tag
from lamella.testing.registry import Fault, MemoryRegistry, Options
from tests.unit.registry.blobs import blob, push_artifact
from tests.unit.registry.conftest import Remote


@pytest.fixture(params=[True, False], ids=["api", "tag"])
def either(request: pytest.FixtureRequest) -> MemoryRegistry:
    return MemoryRegistry(options=Options(referrers=request.param, page=2))


def test_what_refers_to_an_image_is_listed_by_type(either: MemoryRegistry, remote: Remote) -> None:
    with either as registry:
        repository = remote(registry, "a")
        image = push_artifact(repository, "1")
        other = push_artifact(repository, kind="application/x.other")
        pushed = [push_artifact(repository, kind=f"application/x.{n}", subject=image) for n in ("sbom", "sig", "prov")]
        found = repository.referrers(image.digest)
        assert [entry.digest for entry in found] == [entry.digest for entry in pushed]
        assert [entry.artifact_type for entry in found] == [
            "application/x.sbom",
            "application/x.sig",
            "application/x.prov",
        ]
        assert [e.digest for e in repository.referrers(image.digest, "application/x.sig")] == [pushed[1].digest]
        assert repository.referrers(other.digest) == ()
        tags = ("1",) if registry.options.referrers else ("1", fallback_tag(image.digest))
        assert repository.tags() == tags


def test_pushed_twice_it_is_listed_once(either: MemoryRegistry, remote: Remote) -> None:
    with either as registry:
        image = push_artifact(remote(registry, "a"), "1")
        for _ in range(2):
            push_artifact(remote(registry, "a"), kind="application/x.sbom", subject=image)
        assert len(remote(registry, "a").referrers(image.digest)) == 1


def test_a_deleted_referrer_is_no_longer_listed(either: MemoryRegistry, remote: Remote) -> None:
    with either as registry:
        repository = remote(registry, "a")
        image = push_artifact(repository, "1")
        first, second = (push_artifact(repository, kind=f"application/x.{n}", subject=image) for n in "ab")
        repository = remote(registry, "a")  # another run, which knows nothing of the registry
        assert repository.delete_manifest(first.digest)
        assert [entry.digest for entry in repository.referrers(image.digest)] == [second.digest]
        repository.delete_manifest(second.digest)
        assert remote(registry, "a").referrers(image.digest) == ()
        assert repository.tags() == ("1",)


def test_annotations_and_the_configs_type_are_in_the_list(either: MemoryRegistry, remote: Remote) -> None:
    with either as registry:
        repository = remote(registry, "a")
        image = push_artifact(repository, "1")
        config, open_ = blob(b"{}", "application/x.config")
        repository.push_blob(config, open_)
        manifest = Manifest(config, (), annotations=FrozenMap({"made": "now"}), subject=image)
        repository.push_manifest(manifest.to_bytes(), manifest.media_type)
        (entry,) = repository.referrers(image.digest)
        assert (entry.artifact_type, dict(entry.annotations)) == ("application/x.config", {"made": "now"})


def test_a_list_that_others_write_at_the_same_time_keeps_all(remote: Remote) -> None:
    with MemoryRegistry(options=Options(referrers=False)) as registry:
        repository = remote(registry, "a")
        image = push_artifact(repository, "1")
        threads = [
            threading.Thread(target=lambda n=n: push_artifact(repository, kind=f"application/x.{n}", subject=image))
            for n in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(repository.referrers(image.digest)) == 6


def test_a_list_that_another_machine_overwrote_is_written_again(remote: Remote) -> None:
    with MemoryRegistry(options=Options(referrers=False)) as registry:
        image = push_artifact(remote(registry, "a"), "1")
        tag = fallback_tag(image.digest)
        theirs = push_artifact(remote(registry, "a"), kind="application/x.theirs")
        stolen: list[object] = []

        class Overwritten(dict[tuple[str, str], tuple[str, bytes]]):
            def __setitem__(self, key: tuple[str, str], value: tuple[str, bytes]) -> None:
                super().__setitem__(key, value)
                if key == ("a", tag) and not stolen:
                    stolen.append(value)
                    super().__setitem__(key, (media.IMAGE_INDEX, Index((theirs,)).to_bytes()))

        registry.content.manifests = Overwritten(registry.content.manifests)
        mine = push_artifact(remote(registry, "a"), kind="application/x.mine", subject=image)
        assert stolen
        assert {e.digest for e in remote(registry, "a").referrers(image.digest)} == {theirs.digest, mine.digest}


def test_an_empty_list_as_go_writes_it(registry: MemoryRegistry, remote: Remote) -> None:
    digest = push_artifact(remote(registry, "a")).digest
    registry.script(Fault("/referrers/", body=b'{"schemaVersion":2,"manifests":null}'))
    assert remote(registry, "a").referrers(digest) == ()


@pytest.mark.parametrize("body", [b"<html>", b'{"schemaVersion":2,"layers":[],"manifests":[]}', b'{"manifests":[]}'])
def test_an_answer_that_is_no_list(registry: MemoryRegistry, remote: Remote, body: bytes) -> None:
    digest = push_artifact(remote(registry, "a")).digest
    registry.script(Fault("/referrers/", body=body))
    with pytest.raises(Exception, match=r"manifest is not|both a manifest and an index"):
        remote(registry, "a").referrers(digest)


def test_the_tag_of_a_long_digest_is_cut() -> None:
    assert fallback_tag("sha512:" + "a" * 128) == "sha512-" + "a" * 64
