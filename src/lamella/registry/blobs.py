"""The blobs of a repository: is it there, can it be given, fetch, push, mount."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import BinaryIO

from lamella.errors import HostileInputError, LamellaError
from lamella.oci.digest import check_digest, short_digest
from lamella.oci.manifest import Descriptor
from lamella.registry.documents import Sink, verified
from lamella.registry.place import Place
from lamella.registry.upload import OnBytes, Session, Upload, UploadLimits, begun, open_session
from lamella.transport.client import Response
from lamella.values import dataclass

__all__ = ["Blobs", "OnTransfer", "Transfer"]


@dataclass(frozen=True, slots=True)
class Transfer:
    """One blob that was moved, or did not have to be: ``action`` is present, mounted, sent or fetched.

    ``bytes`` went over the wire, those that were sent twice counted twice; ``size`` is the blob's.
    """

    repository: str
    digest: str
    size: int
    action: str
    bytes: int


OnTransfer = Callable[[Transfer], None]
"""Called once for each blob when it is done, from whatever thread moved it."""


class Blobs:
    """The blobs of one repository; see :class:`lamella.registry.remote.RemoteRepository` for what they promise."""

    def __init__(self, place: Place, on_transfer: OnTransfer, limits: UploadLimits) -> None:
        self._place = place
        self._on_transfer = on_transfer
        self._limits = limits

    def has(self, digest: str, size: int, scope: str = "") -> bool:
        """Whether a blob is there, asked once; ``size`` -1 is any."""
        known = self._place.state.blobs.get(check_digest(digest))
        if known is not None:
            return size < 0 or known in (-1, size)
        what = f"looking for a blob of {self._place.name}"
        answer = self._place.request("HEAD", f"blobs/{digest}", what, scope=scope)
        if answer.status == 404:
            return False
        if answer.status != 200:
            raise self._place.failure(answer, what)
        length = answer.headers.get("content-length", "")
        there = int(length[:18]) if length.isdecimal() else -1
        if size >= 0 and there not in (-1, size):
            return False
        self._place.state.blobs[digest] = there
        return True

    def gives(self, blob: Descriptor, scope: str = "") -> bool:
        """Whether the registry can give a blob's first byte, of as many as it has; both answers are remembered, the
        yes until the blob is sent again.
        """
        state = self._place.state
        if blob.digest in state.given:
            return True
        what = f"checking a blob of {self._place.name}"
        exchange, repository = self._place.exchange, self._place.repository
        answer, begins = exchange.first_byte(repository, check_digest(blob.digest), what, scope)
        if answer.status not in (200, 206, 404) and not (answer.status == 416 and not blob.size):
            raise self._place.failure(answer, what)
        there = answer.status != 404 and (begins or not blob.size) and _size(answer) in (-1, blob.size)
        if there:
            state.blobs[blob.digest] = blob.size
            state.given.add(blob.digest)
        else:
            state.blobs.pop(blob.digest, None)
        return there

    def fetch(self, descriptor: Descriptor, sink: Sink) -> None:
        """Hands the bytes to ``sink``, verified."""
        chunks = self._place.exchange.chunks(self._place.repository, descriptor.digest, descriptor.size)
        sink(descriptor.digest, descriptor.size, verified(chunks, descriptor, self._place.name))
        self._moved(descriptor, "fetched", descriptor.size)

    def read(self, descriptor: Descriptor, limit: int) -> bytes:
        """All bytes at once, verified."""
        if descriptor.size > limit:
            text = f"blob {short_digest(descriptor.digest)} of {self._place.name} has {descriptor.size} bytes"
            raise HostileInputError(f"{text}, more than {limit}")
        chunks = self._place.exchange.chunks(self._place.repository, descriptor.digest, descriptor.size)
        data = b"".join(verified(chunks, descriptor, self._place.name))
        self._moved(descriptor, "fetched", descriptor.size)
        return data

    def push(
        self,
        blob: Descriptor,
        open_: Callable[[], BinaryIO],
        mount_from: Sequence[str],
        on_bytes: OnBytes,
        *,
        again: bool,
        fresh: bool,
    ) -> str:
        """``present``, ``mounted`` or ``sent``."""
        sent, state = 0, self._place.state
        with state.only_one(check_digest(blob.digest)):
            asks = not again and (not fresh or blob.digest in state.blobs)
            if asks and self._is_present(blob):
                action = "present"
            else:
                state.given.discard(blob.digest)
                own = self._place.repository.name if fresh else ""
                action, session = ("sent", None) if again else self._mount(blob, mount_from, own)
                if action == "sent":
                    exchange, repository = self._place.exchange, self._place.repository
                    upload = Upload(exchange, repository, blob, open_, on_bytes=on_bytes, limits=self._limits)
                    upload.run(session)
                    sent = upload.sent
            state.blobs[blob.digest] = blob.size
        self._moved(blob, action, sent)
        return action

    def delete(self, digest: str) -> bool:
        """False when it was not there."""
        gone = self._place.delete(f"blobs/{check_digest(digest)}", f"blob {short_digest(digest)}")
        self._place.state.blobs.pop(digest, None)
        return gone

    def _is_present(self, blob: Descriptor) -> bool:
        """Whether a blob need not be sent: asked for its first byte, since HEAD may answer from a cache that outlived
        the blob (ADR 12), and that question would follow anyway.
        """
        if blob.digest in self._place.state.blobs:
            return self.has(blob.digest, blob.size)
        return self.gives(blob, self._place.repository.push_scope)

    def _mount(self, blob: Descriptor, sources: Sequence[str], own: str) -> tuple[str, Session | None]:
        """``present`` when the repository, asked by its ``own`` name, has it; ``mounted`` when a source had it; else
        ``sent``, with the session that the last refusal began, when there is one.

        A mount that is not allowed is no error: the blob is sent then.
        """
        repository = self._place.repository
        session: Session | None = None
        for source in dict.fromkeys(filter(None, (own, *map(self._same_registry, sources)))):
            query = f"mount={blob.digest}&from={source}"
            try:
                scope = repository.push_scope if source == own else repository.mount_scope(source)
                answer = open_session(self._place.exchange, repository, scope=scope, query=query)
            except LamellaError:
                continue
            if answer.status == 201:
                return "present" if source == own else "mounted", None
            if answer.status == 202:
                session = begun(answer, repository)
        return "sent", session

    def _same_registry(self, name: str) -> str:
        """The path of a repository of the same registry, empty for another one and for this one."""
        head, slash, rest = name.partition("/")
        path = name
        if slash and head == self._place.repository.registry:
            path = rest
        elif slash and ("." in head or ":" in head or head == "localhost"):
            return ""
        return path if path != self._place.repository.name else ""

    def _moved(self, blob: Descriptor, action: str, count: int) -> None:
        self._on_transfer(Transfer(self._place.name, blob.digest, blob.size, action, count))


def _size(answer: Response) -> int:
    """Bytes of the whole blob by the answer to a request for a part of it (RFC 9110, 14.4), -1 when it does not say."""
    text = answer.headers.get("content-length" if answer.status == 200 else "content-range", "").rpartition("/")[2]
    return int(text[:18]) if text.isdecimal() else -1
