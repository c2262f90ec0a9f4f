"""Only the record of the very key that was asked for is taken."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lamella.cache.artifact import (
    EMBEDDED_LIMIT,
    FACTS_TYPE,
    IDENTITY,
    RECORD_TYPE,
    Part,
    part_descriptor,
    read_artifact,
    record_manifest,
    record_tag,
)
from lamella.cache.small import compress_small, decompress_small
from lamella.canonical import FrozenMap, digest_bytes
from lamella.errors import HostileInputError
from lamella.graph.keys import KeyParts, rootfs_identity
from lamella.graph.record import LayerResult, Record, Result
from lamella.oci import media
from lamella.oci.manifest import Descriptor, Manifest, parse_manifest

PARTS = KeyParts(1, '{"kind":"exec"}', "linux/amd64", "any", (("sources", '{"kind":"all"}', digest_bytes(b"in")),))
KEY = PARTS.key
FACTS = b'{"facts":true}'
LAYER = LayerResult(digest_bytes(b"tar"), 3, 1)
PACKAGES = digest_bytes(b"packages")
RESULT = Result(
    KEY,
    identity=rootfs_identity(KEY, PACKAGES),
    packages=PACKAGES,
    facts=digest_bytes(FACTS),
    layers=(LAYER,),
)
RECORD = Record(KEY, "base:packages", "shop", PARTS, RESULT, "13.200", 1_700_000_000, hermetic=False)
BLOB = Descriptor(media.LAYER_GZIP, digest_bytes(b"gz"), 2)


def parts_of_record() -> list[Part]:
    data = compress_small(FACTS)
    return [
        Part(RESULT.facts, part_descriptor(FACTS_TYPE, RESULT.facts, data)),
        Part(LAYER.diff_id, BLOB),
    ]


def test_a_record_reads_back_from_its_manifest() -> None:
    manifest, config = record_manifest(RECORD, parts_of_record())
    read = parse_manifest(manifest.to_bytes())
    assert read.config.data == config
    artifact = read_artifact(KEY, read, read.config.data)
    assert artifact.record == RECORD
    layer = artifact.layer(LAYER.diff_id)
    assert layer is not None
    assert (layer.descriptor.digest, layer.descriptor.media_type) == (BLOB.digest, BLOB.media_type)
    facts = artifact.part(FACTS_TYPE, RESULT.facts)
    assert facts is not None
    assert decompress_small(facts.descriptor.data, RESULT.facts) == FACTS


def test_what_is_of_this_machine_alone_does_not_travel() -> None:
    result = replace(RESULT, snapshot=KEY)
    record = replace(RECORD, result=result, log=digest_bytes(b"log"), filesets=FrozenMap({KEY: PACKAGES}))
    _, config = record_manifest(record, [])
    document = json.loads(config)["record"]
    assert (document["result"]["snapshot"], document["log"], document["filesets"]) == ("", "", {})


def test_the_tag_holds_the_format_and_the_key() -> None:
    assert record_tag(KEY) == f"r1-{KEY[7:]}"
    assert record_tag(KEY, "17.") == f"17.r1-{KEY[7:]}"
    assert len(record_tag(KEY, "x" * 33)) <= 128, "a tag has at most 128 characters"


def test_large_artefacts_are_not_embedded() -> None:
    assert part_descriptor(FACTS_TYPE, KEY, b"x" * EMBEDDED_LIMIT).data
    assert not part_descriptor(FACTS_TYPE, KEY, b"x" * (EMBEDDED_LIMIT + 1)).data


def with_record(change: Callable[[dict[str, Any]], None]) -> bytes:
    _, config = record_manifest(RECORD, [])
    document = json.loads(config)
    change(document["record"])
    return json.dumps(document).encode()


OTHER = digest_bytes(b"other")


def set_in(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(record: dict[str, Any]) -> None:
        for name in path[:-1]:
            record = record[name]
        record[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(set_in("key", value=OTHER), id="another key"),
        pytest.param(set_in("result", "key", value=OTHER), id="another key's result"),
        pytest.param(set_in("parts", "op", value='{"kind":"evil"}'), id="parts of another key"),
        pytest.param(set_in("parts", "inputs", value=[["sources", '{"kind":"all"}', OTHER]]), id="other inputs"),
        pytest.param(set_in("parts", "platform", value="linux/arm64"), id="another platform"),
        pytest.param(set_in("local", value=True), id="of one machine"),
        pytest.param(set_in("result", "snapshot", value=OTHER), id="with a snapshot"),
        pytest.param(set_in("result", "identity", value=OTHER), id="another identity"),
        pytest.param(set_in("result", "packages", value=OTHER), id="other packages than its identity"),
        pytest.param(set_in("seconds", value="fast"), id="malformed"),
        pytest.param(set_in("newer_field", value=1), id="of a newer release"),
    ],
)
def test_another_record_is_refused(change: Callable[[dict[str, Any]], None]) -> None:
    manifest = Manifest(Descriptor(RECORD_TYPE, OTHER, 1), ())
    read_artifact(KEY, manifest, with_record(lambda record: None))
    with pytest.raises(HostileInputError):
        read_artifact(KEY, manifest, with_record(change))


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(Part(OTHER, BLOB), id="a layer of something else"),
        pytest.param(Part(OTHER, part_descriptor(FACTS_TYPE, OTHER, b"x")), id="facts of something else"),
        pytest.param(Part(LAYER.diff_id, part_descriptor("application/x-thing", KEY, b"x")), id="an unknown kind"),
        pytest.param(Part(RESULT.facts, BLOB), id="facts as a layer"),
    ],
)
def test_parts_that_the_record_does_not_name_are_refused(part: Part) -> None:
    manifest, config = record_manifest(RECORD, [part])
    with pytest.raises(HostileInputError):
        read_artifact(KEY, manifest, config)


def test_a_part_without_its_identity_is_refused() -> None:
    manifest, config = record_manifest(RECORD, [])
    with pytest.raises(HostileInputError):
        read_artifact(KEY, replace(manifest, layers=(BLOB,)), config)
    assert IDENTITY not in BLOB.annotations


@pytest.mark.parametrize("data", [b"", b"no zstd", compress_small(b"something else"), compress_small(FACTS)[:-3]])
def test_an_artefact_that_is_not_its_digest_is_refused(data: bytes) -> None:
    with pytest.raises(HostileInputError):
        decompress_small(data, digest_bytes(FACTS))


def test_embedded_data_must_be_what_its_descriptor_names() -> None:
    manifest, _ = record_manifest(RECORD, [])
    document = json.loads(manifest.to_bytes())
    document["config"]["data"] = "AAAA"
    with pytest.raises(HostileInputError, match="does not have its digest"):
        parse_manifest(json.dumps(document).encode())
    document["config"]["data"] = "!"
    with pytest.raises(HostileInputError, match="base64"):
        parse_manifest(json.dumps(document).encode())
