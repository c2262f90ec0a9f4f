"""What the distribution specification (v1.1.1) asks of a registry, as our own cases.

The official conformance suite cannot be fetched where these tests run; each of these cases says in our words what one
or several of its own look at. They run against the in-memory registry and against real ones; ``needs`` names what a
registry may lack.
"""

from __future__ import annotations

import hashlib
import http.client
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
BYTES = {"Content-Type": "application/octet-stream"}

REFERRERS = "referrers"
ORDER = "chunks in order only"
TAG_DELETES = "deletes of tags"
PAGES = "lists in pages"
WHOLE = "a refusal of manifests that name what is missing"
CLEAN_LIST = "a list of tags without those of deleted manifests"


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Got:
    """An answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def location(self) -> str:
        assert self.headers.get("location"), "no Location"
        parts = urlsplit(self.headers["location"])
        return f"{parts.path}?{parts.query}" if parts.query else parts.path

    def expect(self, *statuses: int) -> Got:
        assert self.status in statuses, f"{self.status} {self.body[:200]!r}, wanted {statuses}"
        return self


@dataclass(frozen=True, slots=True)
class Wire:
    """One repository by the standard library's client, which shares nothing with ours."""

    address: str
    name: str

    def ask(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Got:
        """One request; a path without a slash in front is below the repository."""
        connection = http.client.HTTPConnection(self.address, timeout=20)
        try:
            url = path if path.startswith("/") else f"/v2/{self.name}/{path}"
            connection.request(method, url, body, dict(headers or {}))
            answer = connection.getresponse()
            return Got(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def begin(self) -> Got:
        got = self.ask("POST", "blobs/uploads/", b"", {"Content-Length": "0"}).expect(202)
        assert got.location
        return got

    def finish(self, location: str, digest: str, body: bytes = b"") -> Got:
        return self.ask("PUT", f"{location}{'&' if '?' in location else '?'}digest={digest}", body, BYTES)

    def patch(self, location: str, data: bytes, start: int | None) -> Got:
        span = {} if start is None else {"Content-Range": f"{start}-{start + len(data) - 1}"}
        return self.ask("PATCH", location, data, {**BYTES, **span})

    def blob(self, data: bytes, kind: str = LAYER) -> dict[str, Any]:
        """Pushes a blob; its descriptor."""
        self.finish(self.begin().location, sha256(data), data).expect(201)
        return {"mediaType": kind, "digest": sha256(data), "size": len(data)}

    def image(self, *tags: str, marker: str = "", **more: Any) -> tuple[str, bytes]:
        """Pushes a manifest under its tags, or by digest; its digest and bytes."""
        data = self.document(marker, **more)
        for name in tags or (sha256(data),):
            self.ask("PUT", f"manifests/{name}", data, {"Content-Type": MANIFEST}).expect(201)
        return sha256(data), data

    def document(self, marker: str = "", *, kind: str = CONFIG, layers: bool = True, **more: Any) -> bytes:
        config = self.blob(json.dumps({"author": f"{self.name} {marker}", "rootfs": {}}).encode(), kind)
        entries = [self.blob(f"layer of {self.name}".encode())] if layers else []
        return json.dumps(
            {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": entries, **more}
        ).encode()


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    run: Callable[[Wire], None]
    needs: frozenset[str] = field(default_factory=frozenset)


CASES: list[Case] = []


def case(name: str, *needs: str) -> Callable[[Callable[[Wire], None]], Callable[[Wire], None]]:
    def add(run: Callable[[Wire], None]) -> Callable[[Wire], None]:
        CASES.append(Case(name, run, frozenset(needs)))
        return run

    return add


ABSENT = "sha256:" + "ab" * 32


# -- pull --------------------------------------------------------------------------------------------------------------


@case("the API's root answers")
def _(wire: Wire) -> None:
    wire.ask("GET", "/v2/").expect(200)


@case("an unknown blob is 404")
def _(wire: Wire) -> None:
    wire.image("1")
    for method in ("HEAD", "GET"):
        wire.ask(method, f"blobs/{ABSENT}").expect(404)


@case("a blob has its bytes, length and digest")
def _(wire: Wire) -> None:
    data = b"some bytes of a blob"
    digest = wire.blob(data)["digest"]
    for method, body in (("HEAD", b""), ("GET", data)):
        got = wire.ask(method, f"blobs/{digest}").expect(200)
        assert got.body == body
        assert got.headers["content-length"] == str(len(data))
        assert got.headers.get("docker-content-digest", digest) == digest


@case("a part of a blob")
def _(wire: Wire) -> None:
    digest = wire.blob(b"0123456789")["digest"]
    got = wire.ask("GET", f"blobs/{digest}", headers={"Range": "bytes=3-5"}).expect(206)
    assert (got.body, got.headers["content-range"]) == (b"345", "bytes 3-5/10")


@case("an unknown manifest is 404")
def _(wire: Wire) -> None:
    wire.image("1")
    for method in ("HEAD", "GET"):
        for name in ("none", ABSENT):
            wire.ask(method, f"manifests/{name}", headers={"Accept": MANIFEST}).expect(404)


@case("a manifest by tag and by digest is the very bytes")
def _(wire: Wire) -> None:
    digest, data = wire.image("1")
    for name in ("1", digest):
        for method, body in (("HEAD", b""), ("GET", data)):
            got = wire.ask(method, f"manifests/{name}", headers={"Accept": MANIFEST}).expect(200)
            assert (got.body, got.headers["content-type"]) == (body, MANIFEST)
            assert got.headers["content-length"] == str(len(data))
            assert got.headers["docker-content-digest"] == digest


@case("an error has the specification's form")
def _(wire: Wire) -> None:
    wire.image("1")
    got = wire.ask("PUT", f"manifests/{ABSENT}", b"blablabla", {"Content-Type": MANIFEST}).expect(400)
    (error, *_rest) = got.json["errors"]
    assert error["code"] in ("MANIFEST_INVALID", "DIGEST_INVALID", "BLOB_UNKNOWN")


# -- push --------------------------------------------------------------------------------------------------------------


@case("a streamed upload: one PATCH without a range, then PUT")
def _(wire: Wire) -> None:
    data = b"streamed"
    got = wire.patch(wire.begin().location, data, None).expect(202)
    assert wire.finish(got.location, sha256(data)).expect(201).location
    assert wire.ask("GET", f"blobs/{sha256(data)}").expect(200).body == data


@case("a monolithic upload: POST, then PUT")
def _(wire: Wire) -> None:
    data = b"in one piece"
    assert wire.finish(wire.begin().location, sha256(data), data).expect(201).location
    assert wire.ask("GET", f"blobs/{sha256(data)}").expect(200).body == data


@case("a POST with all bytes is taken, or answered with a session")
def _(wire: Wire) -> None:
    data = b"in one request"
    got = wire.ask("POST", f"blobs/uploads/?digest={sha256(data)}", data, BYTES).expect(201, 202)
    assert got.location
    wire.ask("GET", f"blobs/{sha256(data)}").expect(200 if got.status == 201 else 404)


@case("an empty blob")
def _(wire: Wire) -> None:
    wire.finish(wire.begin().location, sha256(b""), b"").expect(201)
    assert wire.ask("GET", f"blobs/{sha256(b'')}").expect(200).body == b""


@case("chunks, each confirmed by its range")
def _(wire: Wire) -> None:
    first = wire.patch(wire.begin().location, b"first,", 0).expect(202)
    assert first.headers["range"] == "0-5"
    second = wire.patch(first.location, b"second", 6).expect(202)
    assert second.headers["range"] == "0-11"
    wire.finish(second.location, sha256(b"first,second")).expect(201)
    assert wire.ask("GET", f"blobs/{sha256(b'first,second')}").expect(200).body == b"first,second"


@case("the last chunk in the closing PUT")
def _(wire: Wire) -> None:
    place = wire.patch(wire.begin().location, b"first,", 0).expect(202).location
    url = f"{place}{'&' if '?' in place else '?'}digest={sha256(b'first,last')}"
    wire.ask("PUT", url, b"last", {**BYTES, "Content-Range": "6-9"}).expect(201)


@case("a chunk out of order is 416", ORDER)
def _(wire: Wire) -> None:
    wire.patch(wire.begin().location, b"second", 6).expect(416)


@case("a chunk that came already is 416, and the upload says how far it is", ORDER)
def _(wire: Wire) -> None:
    begun = wire.begin().location
    wire.patch(begun, b"first,", 0).expect(202)
    wire.patch(begun, b"first,", 0).expect(416)
    got = wire.ask("GET", begun).expect(204)
    assert got.headers["range"] == "0-5"
    wire.finish(wire.patch(got.location, b"second", 6).expect(202).location, sha256(b"first,second")).expect(201)


@case("an upload says how far it is")
def _(wire: Wire) -> None:
    got = wire.patch(wire.begin().location, b"0123456789", 0).expect(202)
    said = wire.ask("GET", got.location).expect(204)
    assert said.headers["range"] == "0-9"
    assert said.location


@case("other bytes than the digest says are refused")
def _(wire: Wire) -> None:
    wire.finish(wire.begin().location, ABSENT, b"other").expect(400)
    wire.ask("HEAD", f"blobs/{ABSENT}").expect(404)


@case("a mount without a source begins an upload")
def _(wire: Wire) -> None:
    wire.image("1")
    assert wire.ask("POST", f"blobs/uploads/?mount={ABSENT}", b"").expect(202).location


@case("a mount gives the blob, or begins an upload")
def _(wire: Wire) -> None:
    data = b"shared by two"
    digest = wire.blob(data)["digest"]
    other = Wire(wire.address, f"{wire.name}-other")
    got = other.ask("POST", f"blobs/uploads/?mount={digest}&from={wire.name}", b"").expect(201, 202)
    if got.status == 201:
        assert got.location == f"/v2/{other.name}/blobs/{digest}"
        assert other.ask("GET", f"blobs/{digest}").expect(200).body == data
    else:
        assert got.location.startswith(f"/v2/{other.name}/blobs/uploads/")


@case("a blob is only in its own repository")
def _(wire: Wire) -> None:
    data = f"only in {wire.name}".encode()
    wire.blob(data)
    other = Wire(wire.address, f"{wire.name}-other")
    other.image("1")
    other.ask("HEAD", f"blobs/{sha256(data)}").expect(404)


@case("a manifest under several tags")
def _(wire: Wire) -> None:
    digest, data = wire.image("test0", "test1", "test2", "test3")
    got = wire.ask("PUT", "manifests/test4", data, {"Content-Type": MANIFEST}).expect(201)
    assert got.location
    assert got.headers.get("docker-content-digest", digest) == digest


@case("a manifest without layers")
def _(wire: Wire) -> None:
    wire.image("empty", layers=False)


@case("an index of manifests")
def _(wire: Wire) -> None:
    digest, data = wire.image()
    entry = {"mediaType": MANIFEST, "digest": digest, "size": len(data)}
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).encode()
    wire.ask("PUT", "manifests/all", index, {"Content-Type": INDEX}).expect(201)
    got = wire.ask("GET", "manifests/all", headers={"Accept": INDEX}).expect(200)
    assert (got.body, got.headers["content-type"]) == (index, INDEX)


@case("a manifest whose blobs are missing is refused", WHOLE)
def _(wire: Wire) -> None:
    document = json.loads(wire.document())
    document["layers"].append({"mediaType": LAYER, "digest": ABSENT, "size": 1})
    got = wire.ask("PUT", "manifests/1", json.dumps(document).encode(), {"Content-Type": MANIFEST}).expect(400, 404)
    assert got.json["errors"][0]["code"] in ("MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_INVALID")


# -- lists -------------------------------------------------------------------------------------------------------------


def tags(wire: Wire, query: str = "") -> list[str]:
    got = wire.ask("GET", f"tags/list{query}").expect(200)
    assert got.json["name"] == wire.name
    return list(got.json["tags"] or ())


@case("all tags in lexical order")
def _(wire: Wire) -> None:
    wire.image("test2", "test0", "test1")
    assert tags(wire) == ["test0", "test1", "test2"]


@case("some tags", PAGES)
def _(wire: Wire) -> None:
    wire.image("test0", "test1", "test2", "test3")
    assert tags(wire, "?n=2") == ["test0", "test1"]
    assert tags(wire, "?n=2&last=test1") == ["test2", "test3"]
    assert tags(wire, "?last=test2") == ["test3"]


@case("the tags of a repository that is not there")
def _(wire: Wire) -> None:
    wire.ask("GET", "tags/list").expect(404)


def refer(wire: Wire, subject: tuple[str, bytes], marker: str, **more: Any) -> Got:
    digest, data = subject
    entry = {"mediaType": MANIFEST, "digest": digest, "size": len(data)}
    document = wire.document(marker, subject=entry, **more)
    return wire.ask("PUT", f"manifests/{sha256(document)}", document, {"Content-Type": MANIFEST}).expect(201)


def referrers(wire: Wire, digest: str, query: str = "") -> tuple[Got, list[dict[str, Any]]]:
    got = wire.ask("GET", f"referrers/{digest}{query}").expect(200)
    assert got.headers["content-type"] == INDEX
    assert got.json["schemaVersion"] == 2
    return got, list(got.json["manifests"] or ())


@case("nobody refers to what is not there", REFERRERS)
def _(wire: Wire) -> None:
    wire.image("1")
    assert referrers(wire, ABSENT)[1] == []


@case("a digest that is none has no referrers", REFERRERS)
def _(wire: Wire) -> None:
    wire.image("1")
    wire.ask("GET", "referrers/sha256:xyz").expect(400)


@case("referrers with type and annotations, confirmed when they come", REFERRERS)
def _(wire: Wire) -> None:
    image = wire.image("1")
    for kind in ("a", "b"):
        got = refer(wire, image, kind, artifactType=f"application/x.{kind}", annotations={"kind": kind})
        assert got.headers["oci-subject"] == image[0]
    found = referrers(wire, image[0])[1]
    assert {(e["artifactType"], e["annotations"]["kind"]) for e in found} == {
        ("application/x.a", "a"), ("application/x.b", "b"),
    }  # fmt: skip
    assert all(entry["mediaType"] == MANIFEST and entry["size"] for entry in found)


@case("referrers of one type", REFERRERS)
def _(wire: Wire) -> None:
    image = wire.image("1")
    for kind in ("a", "b"):
        refer(wire, image, kind, artifactType=f"application/x.{kind}")
    got, found = referrers(wire, image[0], "?artifactType=application/x.b")
    if got.headers.get("oci-filters-applied"):
        assert [entry["artifactType"] for entry in found] == ["application/x.b"]
    else:
        assert len(found) == 2


@case("the config's media type is the artifact type when there is no other", REFERRERS)
def _(wire: Wire) -> None:
    image = wire.image("1")
    refer(wire, image, "c", kind="application/x.config")
    assert [entry["artifactType"] for entry in referrers(wire, image[0])[1]] == ["application/x.config"]


@case("a subject may come later than what refers to it", REFERRERS)
def _(wire: Wire) -> None:
    later = wire.document("later")
    refer(wire, (sha256(later), later), "early", artifactType="application/x.early")
    assert len(referrers(wire, sha256(later))[1]) == 1


# -- deletes -----------------------------------------------------------------------------------------------------------


@case("a deleted tag leaves the manifest", TAG_DELETES)
def _(wire: Wire) -> None:
    digest, _ = wire.image("1", "2")
    wire.ask("DELETE", "manifests/1").expect(202)
    wire.ask("HEAD", "manifests/1", headers={"Accept": MANIFEST}).expect(404)
    wire.ask("HEAD", f"manifests/{digest}", headers={"Accept": MANIFEST}).expect(200)
    assert tags(wire) == ["2"]


@case("a deleted manifest takes its tags with it")
def _(wire: Wire) -> None:
    digest, _ = wire.image("1", "2")
    other, _ = wire.image("3", marker="other")
    wire.ask("DELETE", f"manifests/{digest}").expect(202)
    for name in ("1", "2", digest):
        wire.ask("GET", f"manifests/{name}", headers={"Accept": MANIFEST}).expect(404)
    wire.ask("HEAD", f"manifests/{other}", headers={"Accept": MANIFEST}).expect(200)


@case("a deleted manifest's tags are not listed", CLEAN_LIST)
def _(wire: Wire) -> None:
    digest, _ = wire.image("1", "2")
    wire.image("3", marker="other")
    wire.ask("DELETE", f"manifests/{digest}").expect(202)
    assert tags(wire) == ["3"]


@case("a deleted blob is gone")
def _(wire: Wire) -> None:
    digest = wire.blob(b"soon gone")["digest"]
    wire.ask("DELETE", f"blobs/{digest}").expect(202)
    for method in ("HEAD", "GET"):
        wire.ask(method, f"blobs/{digest}").expect(404)


@case("what is not there cannot be deleted")
def _(wire: Wire) -> None:
    wire.image("1")
    wire.ask("DELETE", f"manifests/{ABSENT}").expect(404)
    wire.ask("DELETE", f"blobs/{ABSENT}").expect(404)
