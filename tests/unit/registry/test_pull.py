"""Pulling against the in-memory registry: what is right comes through, what is wrong is never believed."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace

import pytest

from lamella.canonical import digest_bytes
from lamella.errors import ConfigError, HostileInputError, IntegrityError, LamellaError, RegistryError
from lamella.oci import media
from lamella.oci.manifest import Descriptor, Index, Manifest
from lamella.oci.platform import Platform
from lamella.testing.registry import Fault, MemoryRegistry
from tests.unit.registry.conftest import AMD64, ARM64, Collected, Puller

OTHER = "sha256:" + "0" * 64


def test_an_image_is_resolved_and_its_layers_are_fetched(
    registry: MemoryRegistry, pull: Puller, sink: Collected
) -> None:
    added = registry.add_image("acme/shop", "1.0", layers=[b"one", b"two" * 100_000])
    image = pull(registry, "acme/shop:1.0")
    resolved = image.resolve(AMD64)
    assert resolved.descriptor.digest == resolved.root.digest == added.manifest.digest
    assert digest_bytes(resolved.manifest_data) == added.manifest.digest
    assert digest_bytes(resolved.config_data) == added.config.digest
    assert [diff_id for _, diff_id in resolved.layers] == list(added.diff_ids)
    for layer, _ in resolved.layers:
        image.fetch(layer, sink)
    assert [gzip.decompress(sink.blobs[layer.digest]) for layer in added.layers] == [b"one", b"two" * 100_000]


def test_nothing_is_asked_twice_for_one_image(registry: MemoryRegistry, pull: Puller) -> None:
    registry.add_image("a", "latest")
    image = pull(registry, "a")
    image.resolve(AMD64)
    image.resolve(AMD64)
    assert sum("/manifests/" in seen.path for seen in registry.requests) == 1


def test_an_index_gives_the_manifest_of_a_platform(registry: MemoryRegistry, pull: Puller) -> None:
    amd = registry.add_image("a", layers=[b"amd"])
    arm = registry.add_image("a", layers=[b"arm"], platform=ARM64)
    attestation = replace(
        registry.add_image("a", layers=[b"att"], platform=Platform("unknown", "unknown")).manifest,
        annotations={"vnd.docker.reference.type": "attestation-manifest"},  # type: ignore[arg-type]
    )
    index = registry.add_index("a", "1", manifests=[amd.manifest, arm.manifest, attestation])
    image = pull(registry, "a:1")
    assert image.platforms() == {AMD64: amd.manifest.digest, ARM64: arm.manifest.digest}
    resolved = image.resolve(ARM64)
    assert (resolved.root.digest, resolved.descriptor.digest) == (index.digest, arm.manifest.digest)
    with pytest.raises(ConfigError, match="no image for linux/s390x") as caught:
        image.resolve(Platform("linux", "s390x"))
    assert caught.value.hint == "it has: linux/amd64, linux/arm64"


@pytest.mark.parametrize(
    ("wanted", "variants", "chosen"),
    [
        ("", ["v2", "", "v1"], ""),
        ("", ["v1", "v2"], "v1"),
        ("v3", ["v2", ""], ""),
        ("v3", ["", "v3"], "v3"),
    ],
)
def test_the_variant_of_amd64(
    registry: MemoryRegistry, pull: Puller, wanted: str, variants: list[str], chosen: str
) -> None:
    added = {v: registry.add_image("a", layers=[v.encode()], platform=replace(AMD64, variant=v)) for v in variants}
    registry.add_index("a", "1", manifests=[image.manifest for image in added.values()])
    resolved = pull(registry, "a:1").resolve(replace(AMD64, variant=wanted))
    assert resolved.descriptor.digest == added[chosen].manifest.digest


def test_arm_takes_the_newest_variant_that_runs_there(registry: MemoryRegistry, pull: Puller) -> None:
    added = {
        v: registry.add_image("a", layers=[v.encode()], platform=Platform("linux", "arm", v))
        for v in ("v5", "v6", "v8")
    }
    registry.add_index("a", "1", manifests=[image.manifest for image in added.values()])
    resolved = pull(registry, "a:1").resolve(Platform("linux", "arm", "v7"))
    assert resolved.descriptor.digest == added["v6"].manifest.digest


def test_a_single_image_for_another_platform_is_not_taken(registry: MemoryRegistry, pull: Puller) -> None:
    registry.add_image("a", "1", platform=ARM64)
    with pytest.raises(ConfigError, match="is for linux/arm64, not for linux/amd64"):
        pull(registry, "a:1").resolve(AMD64)


def test_a_name_that_is_not_there(registry: MemoryRegistry, pull: Puller) -> None:
    with pytest.raises(RegistryError, match=r"answered 404.*manifest unknown") as caught:
        pull(registry, "acme/none:1").resolve(AMD64)
    assert caught.value.exit_code == 6


def test_a_pinned_reference_holds_what_it_promises(registry: MemoryRegistry, pull: Puller) -> None:
    added = registry.add_image("a", "1")
    assert pull(registry, f"a@{added.manifest.digest}").resolve(AMD64).descriptor.digest == added.manifest.digest
    wrong = registry.add_image("a", layers=[b"other"])
    registry.manifests["a", added.manifest.digest] = registry.manifests["a", wrong.manifest.digest]
    with pytest.raises(IntegrityError, match="were promised"):
        pull(registry, f"a@{added.manifest.digest}").resolve(AMD64)


def manifest_body(registry: MemoryRegistry, **changes: object) -> bytes:
    added = registry.add_image("a")
    document = json.loads(registry.manifests["a", added.manifest.digest][1])
    return json.dumps({**document, **changes}).encode()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault("/manifests/", body=b"{}"), HostileInputError),
        (Fault("/manifests/", body=b"[" * 100_000), HostileInputError),
        (Fault("/manifests/", body=b'{"schemaVersion":1}'), HostileInputError),
        (Fault("/manifests/", body=b'{"schemaVersion":2,"manifests":[],"layers":[]}'), HostileInputError),
        (Fault("/manifests/", headers=(("Content-Type", media.IMAGE_INDEX),)), HostileInputError),
        (Fault("/manifests/", headers=(("Docker-Content-Digest", OTHER),)), IntegrityError),
        (Fault("/manifests/", body=b"x" * (4 * 1024 * 1024 + 1)), HostileInputError),
        (Fault("/blobs/", body=b"wrong config"), LamellaError),
    ],
    ids=["empty", "deep", "schema1", "both kinds", "content type", "content digest", "too large", "config"],
)
def test_a_wrong_answer_is_refused(
    registry: MemoryRegistry, pull: Puller, fault: Fault, kind: type[LamellaError]
) -> None:
    registry.add_image("a", "1")
    registry.script(replace(fault, times=0))
    with pytest.raises(kind) as caught:
        pull(registry, "a:1").resolve(AMD64)
    assert caught.value.exit_code in (3, 9)


@pytest.mark.parametrize(
    "digest",
    ["sha256:../../etc/passwd", "sha256:abc", "md5:" + "0" * 32, "SHA256:" + "0" * 64, "", "sha256:" + "G" * 64],
)
def test_a_digest_that_is_none_names_nothing(registry: MemoryRegistry, pull: Puller, digest: str) -> None:
    entry = {"mediaType": media.LAYER_GZIP, "digest": digest, "size": 1}
    body = manifest_body(registry, layers=[entry])
    registry.put_manifest("a", body, media.IMAGE_MANIFEST, "1")
    with pytest.raises(HostileInputError):
        pull(registry, "a:1").resolve(AMD64)


def test_foreign_layers_are_refused_and_their_host_is_never_asked(registry: MemoryRegistry, pull: Puller) -> None:
    with MemoryRegistry() as elsewhere:
        layer = {
            "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "digest": OTHER,
            "size": 1,
            "urls": [f"{elsewhere.url}/layer"],
        }
        registry.put_manifest("a", manifest_body(registry, layers=[layer]), media.IMAGE_MANIFEST, "1")
        with pytest.raises(HostileInputError, match="foreign"):
            pull(registry, "a:1").resolve(AMD64)
        assert elsewhere.requests == []


def test_an_artifact_is_no_image(registry: MemoryRegistry, pull: Puller) -> None:
    config = registry.put_blob(b"{}", "application/vnd.oci.empty.v1+json")
    data = Manifest(config, (), artifact_type="application/vnd.acme.thing").to_bytes()
    registry.put_manifest("a", data, media.IMAGE_MANIFEST, "1")
    with pytest.raises(HostileInputError, match=r"artifact of type 'application/vnd\.acme\.thing'"):
        pull(registry, "a:1").resolve(AMD64)


def test_a_config_must_have_a_diff_id_for_each_layer(registry: MemoryRegistry, pull: Puller) -> None:
    added = registry.add_image("a", layers=[b"one", b"two"])
    data = Manifest(added.config, added.layers[:1]).to_bytes()
    registry.put_manifest("a", data, media.IMAGE_MANIFEST, "1")
    with pytest.raises(HostileInputError, match="1 layers and a config with 2 diff_ids"):
        pull(registry, "a:1").resolve(AMD64)


def test_an_index_inside_an_index_is_refused(registry: MemoryRegistry, pull: Puller) -> None:
    inner = registry.add_index("a", manifests=[registry.add_image("a").manifest])
    data = Index((replace(inner, platform=AMD64),)).to_bytes()
    registry.put_manifest("a", data, media.IMAGE_INDEX, "1")
    with pytest.raises(HostileInputError, match="index inside an index"):
        pull(registry, "a:1").resolve(AMD64)


@pytest.mark.parametrize("size", [1, 10**9])
def test_a_manifest_of_another_size_than_its_index_says_is_refused(
    registry: MemoryRegistry, pull: Puller, size: int
) -> None:
    entry = replace(registry.add_image("a").manifest, size=size)
    registry.add_index("a", "1", manifests=[entry])
    with pytest.raises(IntegrityError, match=f"and {size} bytes were promised"):
        pull(registry, "a:1").resolve(AMD64)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda data: b"X" + data[1:], "has the digest"),
        (lambda data: data[:-1], "bytes are announced where"),
        (lambda data: data + b"x", "bytes are announced where"),
    ],
    ids=["other bytes", "short", "long"],
)
def test_a_layer_with_other_bytes_is_never_kept(
    registry: MemoryRegistry, pull: Puller, sink: Collected, change: object, match: str
) -> None:
    added = registry.add_image("a", "1", layers=[b"layer" * 1000])
    image = pull(registry, "a:1")
    layer = image.resolve(AMD64).manifest.layers[0]
    assert callable(change)
    registry.blobs[layer.digest] = change(registry.blobs[layer.digest])
    with pytest.raises(IntegrityError, match=match):
        image.fetch(layer, sink)
    assert sink.blobs == {}
    assert added.layers[0] == layer


def test_a_broken_layer_download_goes_on(registry: MemoryRegistry, pull: Puller, sink: Collected) -> None:
    import random

    added = registry.add_image("a", "1", layers=[random.Random(3).randbytes(200_000)])
    image = pull(registry, "a:1")
    layer = image.resolve(AMD64).manifest.layers[0]
    registry.script(Fault("/blobs/", times=3, cut=50_000))
    image.fetch(layer, sink)
    assert digest_bytes(sink.blobs[layer.digest]) == added.layers[0].digest
    ranges = [seen.headers.get("range", "") for seen in registry.requests[-4:]]
    assert ranges == ["", "bytes=50000-", "bytes=100000-", "bytes=150000-"]


def test_a_descriptor_for_a_digest_that_is_none_is_not_asked_for(
    registry: MemoryRegistry, pull: Puller, sink: Collected
) -> None:
    registry.add_image("a", "1")
    with pytest.raises(HostileInputError):
        pull(registry, "a:1").fetch(Descriptor(media.LAYER_GZIP, "sha256:../x", 1), sink)
    assert registry.requests == []
