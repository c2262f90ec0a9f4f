"""Pushing: what goes over the wire, and what does not have to."""

from __future__ import annotations

import io
import threading
from typing import BinaryIO

import pytest

from lamella.errors import AuthError, ConfigError, IntegrityError, RegistryError
from lamella.oci import media
from lamella.oci.manifest import Descriptor, Index, Manifest
from lamella.testing.registry import Fault, MemoryRegistry, Options
from tests.unit.registry.blobs import blob, noise, push_artifact
from tests.unit.registry.conftest import Remote


def methods(registry: MemoryRegistry) -> list[str]:
    return [seen.method for seen in registry.requests]


def test_a_small_blob_goes_in_one_put(registry: MemoryRegistry, remote: Remote) -> None:
    data = noise(300_000)
    moved: list[int] = []
    descriptor, open_ = blob(data)
    assert remote(registry, "a").push_blob(descriptor, open_, on_bytes=moved.append) == "sent"
    assert registry.blobs[descriptor.digest] == data
    assert methods(registry) == ["GET", "POST", "PUT"]
    assert sum(moved) == len(data)
    assert [(log.action, log.bytes) for log in remote.transfers] == [("sent", len(data))]


def test_a_large_blob_goes_in_chunks(registry: MemoryRegistry, remote: Remote) -> None:
    data = noise(1000)
    descriptor, open_ = blob(data)
    assert remote(registry, "a", whole=400, chunk=300).push_blob(descriptor, open_) == "sent"
    assert registry.blobs[descriptor.digest] == data
    ranges = [seen.headers["content-range"] for seen in registry.requests if seen.method == "PATCH"]
    assert ranges == ["0-299", "300-599", "600-899", "900-999"]


def test_chunks_are_as_large_as_the_registry_wants(remote: Remote) -> None:
    with MemoryRegistry(options=Options(least_chunk=700)) as registry:
        descriptor, open_ = blob(noise(1000))
        remote(registry, "a", whole=400, chunk=300).push_blob(descriptor, open_)
        assert [seen.size for seen in registry.requests if seen.method == "PATCH"] == [700, 300]


@pytest.mark.parametrize("data", [b"", b"x"])
def test_the_smallest_blobs(registry: MemoryRegistry, remote: Remote, data: bytes) -> None:
    descriptor, open_ = blob(data)
    assert remote(registry, "a").push_blob(descriptor, open_) == "sent"
    assert registry.blobs[descriptor.digest] == data
    assert remote(registry, "a").missing([descriptor]) == ()


def test_what_is_there_is_not_opened_and_asked_for_once(registry: MemoryRegistry, remote: Remote) -> None:
    descriptor = registry.put_blob(b"there", media.LAYER_TAR)
    repository = remote(registry, "a")

    def never() -> BinaryIO:
        raise AssertionError

    assert [repository.push_blob(descriptor, never) for _ in range(3)] == ["present"] * 3
    assert repository.has_blob(descriptor.digest, descriptor.size)
    assert not repository.has_blob(descriptor.digest, 4)
    assert repository.missing([descriptor]) == ()
    assert methods(registry) == ["GET"]


def test_a_blob_that_is_there_with_another_size_is_sent(registry: MemoryRegistry, remote: Remote) -> None:
    data = noise(1000)
    descriptor, open_ = blob(data)
    registry.blobs[descriptor.digest] = data[:10]
    repository = remote(registry, "a")
    assert repository.push_blob(descriptor, open_) == "sent"
    assert repository.missing([descriptor]) == ()
    assert registry.blobs[descriptor.digest] == data


def test_a_blob_of_another_size_is_not_the_one(registry: MemoryRegistry, remote: Remote) -> None:
    descriptor = registry.put_blob(b"there", media.LAYER_TAR)
    assert not remote(registry, "a").has_blob(descriptor.digest, 99)


def test_a_blob_that_is_doubted_is_sent_although_it_is_said_to_be_there(
    registry: MemoryRegistry, remote: Remote
) -> None:
    descriptor, open_ = blob(b"there")
    registry.put_blob(b"there", media.LAYER_TAR)
    assert remote(registry, "a").push_blob(descriptor, open_, again=True) == "sent"
    assert methods(registry) == ["POST", "PUT"]


def test_threads_push_an_equal_blob_once(registry: MemoryRegistry, remote: Remote) -> None:
    descriptor, open_ = blob(noise(200_000))
    repository = remote(registry, "a")
    actions: list[str] = []
    threads = [threading.Thread(target=lambda: actions.append(repository.push_blob(descriptor, open_))) for _ in "1234"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(actions) == ["present", "present", "present", "sent"]
    assert methods(registry).count("PUT") == 1


# -- mounts ------------------------------------------------------------------------------------------------------------


def test_a_blob_is_mounted_from_the_first_repository_that_has_it(registry: MemoryRegistry, remote: Remote) -> None:
    descriptor = registry.put_blob(b"shared", media.LAYER_TAR, "acme/base")
    sources = [f"{registry.address}/acme/none", "other.example/acme/base", f"{registry.address}/acme/base"]

    def never() -> BinaryIO:
        raise AssertionError

    repository = remote(registry, "acme/app")
    assert repository.push_blob(descriptor, never, mount_from=sources) == "mounted"
    assert repository.missing([descriptor]) == ()
    asked = [seen.path for seen in registry.requests if seen.method == "POST"]
    assert [path.rpartition("from=")[2] for path in asked] == ["acme/none", "acme/base"]


@pytest.mark.parametrize("status", [202, 404, 500], ids=["declined", "refused", "broken"])
def test_a_mount_that_fails_ends_in_an_upload(registry: MemoryRegistry, remote: Remote, status: int) -> None:
    descriptor, open_ = blob(b"bytes")
    if status != 202:
        registry.script(Fault("mount=", times=0, status=status))
    assert remote(registry, "a").push_blob(descriptor, open_, mount_from=["b"]) == "sent"
    posts = [seen for seen in registry.requests if seen.method == "POST" and "mount" not in seen.path]
    assert len(posts) == (0 if status == 202 else 1), "the session that a declined mount began is used"


def test_the_session_of_a_declined_mount_keeps_the_size_of_its_chunks(remote: Remote) -> None:
    with MemoryRegistry(options=Options(least_chunk=700, mounts=False)) as registry:
        descriptor, open_ = blob(noise(1000))
        remote(registry, "a", whole=400, chunk=300).push_blob(descriptor, open_, mount_from=["b"])
        assert [seen.size for seen in registry.requests if seen.method == "PATCH"] == [700, 300]


@pytest.mark.parametrize("there", [True, False])
def test_a_fresh_blob_is_asked_for_and_begun_in_one_request(
    registry: MemoryRegistry, remote: Remote, there: bool
) -> None:
    """A mount from the repository itself (distribution-spec, "Mounting a blob from another repository"): 201 when the
    blob is there, 202 with an upload when it is not.
    """
    descriptor, open_ = blob(b"made just now")
    if there:
        registry.put_blob(b"made just now", media.LAYER_TAR, "acme/app")
    repository = remote(registry, "acme/app")
    assert repository.push_blob(descriptor, open_, mount_from=["acme/app"], fresh=True) == (
        "present" if there else "sent"
    )
    assert methods(registry) == (["POST"] if there else ["POST", "PUT"])
    assert registry.requests[0].path.endswith(f"?mount={descriptor.digest}&from=acme/app")
    assert repository.push_blob(descriptor, open_, fresh=True) == "present"
    assert len(registry.requests) == (1 if there else 2), "asked for once"
    assert repository.missing([descriptor]) == ()


@pytest.mark.parametrize("status", [202, 404, 500], ids=["declined", "refused", "broken"])
def test_a_fresh_blob_arrives_where_nothing_can_be_mounted(
    registry: MemoryRegistry, remote: Remote, status: int
) -> None:
    descriptor, open_ = blob(b"bytes")
    if status != 202:
        registry.script(Fault("mount=", times=0, status=status))
    assert remote(registry, "a").push_blob(descriptor, open_, fresh=True) == "sent"
    assert registry.blobs[descriptor.digest] == b"bytes"


# -- manifests ---------------------------------------------------------------------------------------------------------


def test_a_manifest_is_pushed_by_digest_then_by_its_tags(registry: MemoryRegistry, remote: Remote) -> None:
    repository = remote(registry, "a")
    descriptor = push_artifact(repository, "1.0", "latest")
    puts = [seen.path for seen in registry.requests if seen.method == "PUT" and "/manifests/" in seen.path]
    assert puts == [f"/v2/a/manifests/{name}" for name in (descriptor.digest, "1.0", "latest")]
    assert repository.tags() == ("1.0", "latest")


def test_head_is_one_request(registry: MemoryRegistry, remote: Remote) -> None:
    image = registry.add_image("a", "1")
    assert remote(registry, "a").head("1") == Descriptor(
        media.IMAGE_MANIFEST, image.manifest.digest, image.manifest.size
    )
    assert methods(registry) == ["HEAD"]
    assert remote(registry, "a").head("none") is None
    assert remote(registry, "a").manifest("none") is None


def test_head_without_a_digest_header_reads_the_manifest(registry: MemoryRegistry, remote: Remote) -> None:
    image = registry.add_image("a", "1")
    registry.script(Fault("/manifests/", method="HEAD", headers=(("Docker-Content-Digest", ""),)))
    found = remote(registry, "a").head("1")
    assert found is not None
    assert found.digest == image.manifest.digest


def test_the_document_is_kept_as_received(registry: MemoryRegistry, remote: Remote) -> None:
    config = registry.put_blob(b"{}", media.IMAGE_CONFIG)
    data = b" " + Manifest(config, ()).to_bytes() + b"\n\n"
    descriptor = registry.put_manifest("a", data, media.IMAGE_MANIFEST, "1")
    document = remote(registry, "a").manifest("1")
    assert document is not None
    assert (document.data, document.descriptor) == (data, descriptor)
    remote(registry, "a").tag(document.data, document.descriptor.media_type, ["2"])
    assert registry.manifests["a", "2"][1] == data


def test_a_manifest_that_names_missing_blobs_is_refused_and_moves_no_tag(
    registry: MemoryRegistry, remote: Remote
) -> None:
    config, _ = blob(b"{}")
    manifest = Manifest(config, ())
    with pytest.raises(RegistryError, match="MANIFEST_BLOB_UNKNOWN manifest references"):
        remote(registry, "a").push_manifest(manifest.to_bytes(), manifest.media_type, tags=["1"])
    assert registry.manifests == {}


def test_an_index_goes_after_its_manifests(registry: MemoryRegistry, remote: Remote) -> None:
    repository = remote(registry, "a")
    index = Index((push_artifact(repository),)).to_bytes()
    assert repository.push_manifest(index, media.IMAGE_INDEX, tags=["all"]).media_type == media.IMAGE_INDEX


@pytest.mark.parametrize("said", ["sha256:" + "0" * 64, ""], ids=["other digest", "no digest"])
def test_a_push_is_confirmed_by_the_digest(registry: MemoryRegistry, remote: Remote, said: str) -> None:
    registry.script(Fault("/manifests/", method="PUT", headers=(("Docker-Content-Digest", said),)))
    repository = remote(registry, "a")
    if said:
        with pytest.raises(IntegrityError, match="says it has"):
            push_artifact(repository)
    else:
        push_artifact(repository)
        assert methods(registry)[-2:] == ["PUT", "HEAD"]


def test_a_subject_that_the_document_does_not_name_is_a_mistake(registry: MemoryRegistry, remote: Remote) -> None:
    repository = remote(registry, "a")
    first = push_artifact(repository)
    config, _ = blob(b"{}", "application/vnd.oci.empty.v1+json")
    with pytest.raises(ConfigError, match="does not name its subject"):
        repository.push_manifest(Manifest(config, (config,)).to_bytes(), media.IMAGE_MANIFEST, subject=first)


def test_a_tag_that_is_none_is_not_asked_for(registry: MemoryRegistry, remote: Remote) -> None:
    repository = remote(registry, "a")
    for act in (repository.head, repository.manifest, repository.delete_tag):
        with pytest.raises(ConfigError, match="is not a tag"):
            act("../../catalog")
    assert registry.requests == []


# -- lists and deletes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [0, 1, 3, 7])
def test_tags_come_page_by_page(remote: Remote, page: int) -> None:
    with MemoryRegistry(options=Options(page=page)) as registry:
        wanted = tuple(sorted(f"v{number}" for number in range(7)))
        registry.add_image("a", *wanted)
        assert remote(registry, "a").tags() == wanted
        assert remote(registry, "none").tags() == ()


def test_pages_that_lead_elsewhere_or_round_in_circles(registry: MemoryRegistry, remote: Remote) -> None:
    registry.add_image("a", "1", "2")
    registry.script(Fault("/tags/", headers=(("Link", '<http://evil.example/v2/a/tags/list>; rel="next"'),)))
    with pytest.raises(Exception, match=r"said to be at evil\.example"):
        remote(registry, "a").tags()
    registry.script(Fault("/tags/", times=0, headers=(("Link", '</v2/a/tags/list?n=1000>; rel="next"'),)))
    assert remote(registry, "a").tags() == ("1", "2")


@pytest.mark.parametrize("body", [b"x", b"[]", b'{"tags": ["../x"]}', b'{"tags": [1]}', b'{"tags": "a"}'])
def test_a_list_of_tags_that_is_none(registry: MemoryRegistry, remote: Remote, body: bytes) -> None:
    registry.script(Fault("/tags/", body=body))
    registry.add_image("a", "1")
    with pytest.raises(Exception, match="the answer"):
        remote(registry, "a").tags()


def test_an_empty_list_as_go_writes_it(registry: MemoryRegistry, remote: Remote) -> None:
    registry.add_image("a", "1")
    registry.script(Fault("/tags/", body=b'{"name":"a","tags":null}'))
    assert remote(registry, "a").tags() == ()


def test_deletes(registry: MemoryRegistry, remote: Remote) -> None:
    image = registry.add_image("a", "1", "2")
    repository = remote(registry, "a")
    assert repository.delete_tag("1")
    assert repository.tags() == ("2",)
    assert not repository.delete_tag("1")
    assert repository.delete_manifest(image.manifest.digest)
    assert repository.tags() == ()
    assert repository.has_blob(image.config.digest)
    assert repository.delete_blob(image.config.digest)
    assert not repository.has_blob(image.config.digest)
    assert not repository.delete_blob(image.config.digest)


def test_deleting_where_it_is_off_is_said(remote: Remote) -> None:
    with MemoryRegistry(options=Options(deletes=False)) as registry:
        image = registry.add_image("a", "1")
        with pytest.raises(RegistryError, match="answered 405: UNSUPPORTED") as caught:
            remote(registry, "a").delete_manifest(image.manifest.digest)
        assert "may be read-only" in caught.value.hint


def test_read_blob_has_a_limit(registry: MemoryRegistry, remote: Remote) -> None:
    descriptor = registry.put_blob(b"record", media.IMAGE_CONFIG)
    assert remote(registry, "a").read_blob(descriptor, 6) == b"record"
    with pytest.raises(Exception, match="has 6 bytes, more than 5"):
        remote(registry, "a").read_blob(descriptor, 5)


def test_a_file_that_is_shorter_than_its_descriptor_is_not_pushed(registry: MemoryRegistry, remote: Remote) -> None:
    descriptor, _ = blob(noise(1000))
    with pytest.raises(IntegrityError, match="ends after 500 bytes"):
        remote(registry, "a").push_blob(descriptor, lambda: io.BytesIO(noise(1000)[:500]))


def test_a_file_with_other_bytes_is_refused_by_the_registry_and_is_our_mistake(
    registry: MemoryRegistry, remote: Remote
) -> None:
    descriptor, _ = blob(noise(1000))
    with pytest.raises(IntegrityError, match="DIGEST_INVALID") as caught:
        remote(registry, "a").push_blob(descriptor, lambda: io.BytesIO(noise(1000, seed=2)))
    assert caught.value.exit_code == 3
    assert registry.blobs == {}


def test_an_unreadable_registry_name_is_an_auth_error_only_when_it_is_one(remote: Remote) -> None:
    with MemoryRegistry(user="me", password="pw") as registry, pytest.raises(AuthError, match="none is stored"):
        remote(registry, "a").head("1")
