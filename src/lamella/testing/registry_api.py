"""The distribution specification's endpoints over the in-memory content."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from lamella.canonical import digest_bytes
from lamella.oci import media
from lamella.oci.digest import is_digest
from lamella.oci.reference import is_tag
from lamella.testing.registry_auth import Gate
from lamella.testing.registry_content import Content, digest_of, named_blobs, named_manifests
from lamella.testing.registry_wire import Answer, Seen, ranged, refusal
from lamella.values import dataclass

__all__ = ["Api", "Options"]

_NAME = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
_MANIFEST_LIMIT = 4 << 20

Query = Mapping[str, list[str]]


@dataclass(slots=True)
class Options:
    """What a registry offers. ``page`` is the most that a list gives at once, 0 for all; ``quota`` are bytes of blobs,
    0 for no end; ``least_chunk`` is what ``OCI-Chunk-Min-Length`` says. Without ``whole_manifests`` it takes manifests
    that name what is missing, as many registries do.
    """

    referrers: bool = True
    tag_deletes: bool = True
    deletes: bool = True
    read_only: bool = False
    mounts: bool = True
    page: int = 0
    quota: int = 0
    least_chunk: int = 0
    whole_manifests: bool = True


class Api:
    """Answers requests below ``/v2``."""

    def __init__(self, content: Content, gate: Gate, options: Options) -> None:
        self._content = content
        self._gate = gate
        self._options = options

    def answer(self, seen: Seen) -> Answer:
        """The answer to a request."""
        parts = urlsplit(seen.path)
        if parts.path in ("/v2", "/v2/"):
            return self._gate.judge(seen, "", "") or Answer(200, b"{}", {"Content-Type": "application/json"})
        found = re.fullmatch(r"/v2/(.+)/(blobs/uploads|manifests|blobs|tags|referrers)/([^/]*)", parts.path)
        if found is None:
            return refusal(404, "NAME_UNKNOWN", "no such repository")
        repository, kind, name = found[1], found[2], found[3]
        writes = seen.method not in ("GET", "HEAD")
        refused = self._gate.judge(seen, repository, _action(seen.method, kind))
        if refused is not None:
            return refused
        if not re.fullmatch(_NAME, repository):
            return refusal(404 if not writes else 400, "NAME_INVALID", "invalid repository name")
        if writes and self._options.read_only:
            return refusal(405, "UNSUPPORTED", "the operation is unsupported: this registry is read-only")
        handlers: dict[str, Callable[[Seen, str, str, Query], Answer]] = {
            "blobs": self._blob,
            "blobs/uploads": self._upload,
            "manifests": self._manifest,
            "tags": self._tags,
            "referrers": self._referrers,
        }
        with self._content.lock:
            return handlers[kind](seen, repository, name, parse_qs(parts.query, keep_blank_values=True))

    # -- blobs -----------------------------------------------------------------------------------------------------

    def _blob(self, seen: Seen, repository: str, digest: str, query: Query) -> Answer:
        if seen.method == "DELETE":
            if not self._options.deletes:
                return _unsupported()
            gone = self._content.unlink(repository, digest)
            return Answer(202) if gone else refusal(404, "BLOB_UNKNOWN", "no such blob")
        if seen.method not in ("GET", "HEAD"):
            return _unsupported()
        data = self._content.blob(repository, digest)
        if data is None:
            return refusal(404, "BLOB_UNKNOWN", "no such blob")
        answer = ranged(data, seen)
        answer.headers["Docker-Content-Digest"] = digest
        return answer

    def _upload(self, seen: Seen, repository: str, name: str, query: Query) -> Answer:
        if not name:
            return self._begin(seen, repository, query) if seen.method == "POST" else _unsupported()
        upload = self._content.uploads.get(name)
        if upload is None:
            return refusal(404, "BLOB_UPLOAD_UNKNOWN", "no such upload")
        if seen.method == "GET":
            return self._status(204, repository, name)
        if seen.method == "DELETE":
            del self._content.uploads[name]
            return Answer(204)
        if seen.method not in ("PATCH", "PUT"):
            return _unsupported()
        start = re.match(r"(?:bytes )?(\d+)-", seen.headers.get("content-range", ""))
        if start is not None and int(start[1]) != len(upload):
            return self._status(416, repository, name)
        if self._options.quota and self._used() + len(upload) + len(seen.body) > self._options.quota:
            return refusal(413, "DENIED", "quota of this project is used up")
        upload += seen.body
        if seen.method == "PATCH":
            return self._status(202, repository, name)
        return self._finish(repository, name, bytes(upload), query)

    def _used(self) -> int:
        return sum(map(len, self._content.blobs.values()))

    def _begin(self, seen: Seen, repository: str, query: Query) -> Answer:
        mount, source = query.get("mount", [""])[0], query.get("from", [""])[0]
        if mount and self._options.mounts and self._gate.may(seen, source, "pull"):
            data = self._content.blob(source, mount) if source else None
            if data is not None:
                self._content.link(mount, data, repository)
                return self._created(repository, mount)
        name = self._content.begin_upload()
        digest = query.get("digest", [""])[0]
        if digest:
            return self._finish(repository, name, seen.body, query)
        answer = self._status(202, repository, name)
        if self._options.least_chunk:
            answer.headers["OCI-Chunk-Min-Length"] = str(self._options.least_chunk)
        return answer

    def _finish(self, repository: str, name: str, data: bytes, query: Query) -> Answer:
        digest = query.get("digest", [""])[0]
        del self._content.uploads[name]
        if not is_digest(digest) or digest_of(data, digest) != digest:
            return refusal(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        self._content.link(digest, data, repository)
        return self._created(repository, digest)

    def _created(self, repository: str, digest: str) -> Answer:
        headers = {"Location": f"/v2/{repository}/blobs/{digest}", "Docker-Content-Digest": digest}
        return Answer(201, b"", headers)

    def _status(self, status: int, repository: str, name: str) -> Answer:
        """Where an upload goes on, and how far it is; an empty one counts from zero as docker-registry's does."""
        end = max(0, len(self._content.uploads[name]) - 1)
        headers = {"Location": f"/v2/{repository}/blobs/uploads/{name}", "Range": f"0-{end}"}
        return Answer(status, b"", headers)

    # -- manifests -------------------------------------------------------------------------------------------------

    def _manifest(self, seen: Seen, repository: str, name: str, query: Query) -> Answer:
        if not is_digest(name) and not is_tag(name):
            return refusal(404 if seen.method in ("GET", "HEAD") else 400, "MANIFEST_INVALID", "invalid reference")
        if seen.method == "PUT":
            return self._put_manifest(seen, repository, name)
        if seen.method == "DELETE":
            return self._delete_manifest(repository, name)
        if seen.method not in ("GET", "HEAD"):
            return _unsupported()
        stored = self._content.manifests.get((repository, name))
        if stored is None:
            return refusal(404, "MANIFEST_UNKNOWN", "manifest unknown")
        return Answer(200, stored[1], {"Content-Type": stored[0], "Docker-Content-Digest": digest_bytes(stored[1])})

    def _put_manifest(self, seen: Seen, repository: str, name: str) -> Answer:
        if len(seen.body) > _MANIFEST_LIMIT:
            return refusal(413, "SIZE_INVALID", "manifest is too large")
        if is_digest(name) and digest_of(seen.body, name) != name:
            return refusal(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        kind = seen.headers.get("content-type", "").partition(";")[0].strip()
        try:
            document = json.loads(seen.body)
            subject = (document.get("subject") or {}).get("digest", "")
        except (ValueError, AttributeError):
            return refusal(400, "MANIFEST_INVALID", "manifest is not JSON")
        if document.get("mediaType", kind) != kind:
            return refusal(400, "MANIFEST_INVALID", "mediaType is not the Content-Type")
        missing = self._missing(repository, document, kind)
        if missing and self._options.whole_manifests:
            return refusal(404, "MANIFEST_BLOB_UNKNOWN", "manifest references a manifest or blob unknown", missing)
        digest = self._content.put_manifest(repository, (kind, seen.body), name)
        headers = {"Location": f"/v2/{repository}/manifests/{digest}", "Docker-Content-Digest": digest}
        if subject and self._options.referrers:
            headers["OCI-Subject"] = subject
        return Answer(201, b"", headers)

    def _missing(self, repository: str, document: dict[str, Any], kind: str) -> list[str]:
        blobs = [digest for digest in named_blobs(document) if self._content.blob(repository, digest) is None]
        children = named_manifests(document, kind)
        return blobs + [digest for digest in children if (repository, digest) not in self._content.manifests]

    def _delete_manifest(self, repository: str, name: str) -> Answer:
        if not self._options.deletes or (not self._options.tag_deletes and not is_digest(name)):
            return _unsupported()
        if not self._content.delete_manifest(repository, name):
            return refusal(404, "MANIFEST_UNKNOWN", "manifest unknown")
        return Answer(202)

    # -- lists -----------------------------------------------------------------------------------------------------

    def _tags(self, seen: Seen, repository: str, name: str, query: Query) -> Answer:
        if name != "list" or seen.method != "GET":
            return _unsupported()
        if not self._content.has_repository(repository):
            return refusal(404, "NAME_UNKNOWN", "repository name not known to registry")
        tags, last = self._content.tags(repository), query.get("last", [""])[0]
        left = [tag for tag in tags if tag > last]
        wanted = query.get("n", [""])[0]
        count = int(wanted) if wanted.isdecimal() else len(left)
        if self._options.page:
            count = min(count, self._options.page)
        headers = {"Content-Type": "application/json"}
        if 0 < count < len(left):
            target = f"/v2/{repository}/tags/list?n={count}&last={quote(left[count - 1])}"
            headers["Link"] = f'<{target}>; rel="next"'
        return Answer(200, json.dumps({"name": repository, "tags": left[:count]}).encode(), headers)

    def _referrers(self, seen: Seen, repository: str, digest: str, query: Query) -> Answer:
        if not self._options.referrers:
            return Answer(404, b"404 page not found\n", {"Content-Type": "text/plain"})
        if seen.method != "GET":
            return _unsupported()
        if not is_digest(digest):
            return refusal(400, "DIGEST_INVALID", "not a digest")
        found = self._content.referrers(repository, digest)
        headers = {"Content-Type": media.IMAGE_INDEX}
        wanted = query.get("artifactType", [""])[0]
        if wanted:
            found = [entry for entry in found if entry.get("artifactType") == wanted]
            headers["OCI-Filters-Applied"] = "artifactType"
        start = int(query.get("start", ["0"])[0])
        page = found[start : start + self._options.page] if self._options.page else found
        if start + len(page) < len(found):
            target = f"/v2/{repository}/referrers/{digest}?start={start + len(page)}&artifactType={quote(wanted)}"
            headers["Link"] = f'<{target}>; rel="next"'
        body = {"schemaVersion": 2, "mediaType": media.IMAGE_INDEX, "manifests": page}
        return Answer(200, json.dumps(body).encode(), headers)


def _action(method: str, kind: str) -> str:
    if kind == "blobs/uploads" or method in ("POST", "PUT", "PATCH"):
        return "push"
    return "delete" if method == "DELETE" else "pull"


def _unsupported() -> Answer:
    return refusal(405, "UNSUPPORTED", "the operation is unsupported")
