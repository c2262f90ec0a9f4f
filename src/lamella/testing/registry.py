"""An in-memory registry on loopback with scripted faults: the distribution spec over real sockets.

    with MemoryRegistry() as registry:
        image = registry.add_image("acme/shop", "1.0", layers=[b"..."])
        registry.script(Fault("/blobs/", cut=100))
        ... pull from f"{registry.address}/acme/shop:1.0" ...
        assert [seen.method for seen in registry.requests] == ["GET", "GET"]

It takes pushes, too: ``Options`` says what it offers, ``Account`` who may do what. Anything may also be served as a
plain file (``put_file``), for downloads that are no registry's.

It is held against the official conformance suite of the specification; see docs/guides/registries.md.
"""

from __future__ import annotations

import gzip
import ssl
import threading
from collections.abc import Sequence
from typing import Self
from urllib.parse import parse_qs, urlsplit

from lamella.canonical import digest_bytes
from lamella.oci import media
from lamella.oci.config import ImageConfig, RuntimeConfig
from lamella.oci.manifest import Descriptor, Index, Manifest
from lamella.oci.platform import Platform
from lamella.testing.registry_api import Api, Options
from lamella.testing.registry_auth import Account, Gate
from lamella.testing.registry_content import Content
from lamella.testing.registry_wire import Answer, Fault, Faults, Handler, Seen, Server, ranged, refusal
from lamella.values import dataclass, replace

__all__ = ["Account", "AddedImage", "Fault", "MemoryRegistry", "Options", "Seen"]

AMD64 = Platform("linux", "amd64")


@dataclass(frozen=True, slots=True)
class AddedImage:
    """An image that was put in: its manifest, config and layers."""

    manifest: Descriptor
    config: Descriptor
    layers: tuple[Descriptor, ...]
    diff_ids: tuple[str, ...]


class MemoryRegistry:
    """The registry; entering the ``with`` block starts it on a free port of 127.0.0.1 (or on ``port``).

    ``user`` and ``password`` are those of an account that may do everything; ``accounts`` are others, ``anonymous``
    is what those without credentials may do. They are asked for by basic authentication, or with ``tokens`` by a
    token service on the same server. With ``tokens`` alone, tokens for everything are given to everybody. ``realm``
    overrides what a challenge names. ``tls`` makes it speak HTTPS with the certificate of that context.
    """

    def __init__(
        self,
        *,
        user: str = "",
        password: str = "",
        tokens: bool = False,
        realm: str = "",
        accounts: Sequence[Account] = (),
        anonymous: Account | None = None,
        options: Options | None = None,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.requests: list[Seen] = []
        self.files: dict[str, bytes] = {}
        self.options = options or Options()
        self.content = Content()
        self.connections = 0
        """How many were opened."""
        self.faults = Faults()
        self._server = Server(("127.0.0.1", port), Handler)
        self._server.served = self
        self._scheme = "https" if tls else "http"
        if tls is not None:  # the handshake is each connection's own thread's
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        owners = (Account.owner(user, password),) if user else ()
        if tokens and not user and not accounts and anonymous is None:
            anonymous = Account.owner()
        self.gate = Gate((*owners, *accounts), anonymous, tokens, realm or f"{self.url}/token")
        self._api = Api(self.content, self.gate, self.options)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def address(self) -> str:
        """``127.0.0.1:port``."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """The base of all URLs."""
        return f"{self._scheme}://{self.address}"

    @property
    def blobs(self) -> dict[str, bytes]:
        """All blobs by digest."""
        return self.content.blobs

    @property
    def manifests(self) -> dict[tuple[str, str], tuple[str, bytes]]:
        """Media type and bytes by repository and tag or digest."""
        return self.content.manifests

    @property
    def issued(self) -> list[str]:
        """Tokens that are valid; a test may clear the list to let them expire."""
        return self.gate.issued

    @property
    def realm(self) -> str:
        """What a challenge names as the token service."""
        return self.gate.realm

    @realm.setter
    def realm(self, value: str) -> None:
        self.gate.realm = value

    # -- content ---------------------------------------------------------------------------------------------------

    def put_file(self, path: str, data: bytes) -> str:
        """Serves ``data`` at ``path``; returns its URL."""
        self.files[path] = data
        return f"{self.url}{path}"

    def put_blob(self, data: bytes, media_type: str, repository: str = "") -> Descriptor:
        """Stores a blob for one repository, or for all."""
        return Descriptor(media_type, self.content.add_blob(data, repository), len(data))

    def put_manifest(self, repository: str, data: bytes, media_type: str, *tags: str) -> Descriptor:
        """Stores a manifest or index under its digest and tags, whatever it names."""
        return Descriptor(media_type, self.content.put_manifest(repository, (media_type, data), *tags), len(data))

    def add_image(
        self,
        repository: str,
        *tags: str,
        layers: Sequence[bytes] = (b"layer",),
        platform: Platform = AMD64,
        runtime: RuntimeConfig | None = None,
    ) -> AddedImage:
        """Stores an image whose layers hold the given bytes as gzip."""
        config = ImageConfig(platform, runtime or RuntimeConfig(), tuple(map(digest_bytes, layers)))
        described = tuple(self.put_blob(gzip.compress(data, mtime=0), media.LAYER_GZIP) for data in layers)
        config_descriptor = self.put_blob(config.to_bytes(), media.IMAGE_CONFIG)
        manifest = Manifest(config_descriptor, described)
        descriptor = self.put_manifest(repository, manifest.to_bytes(), media.IMAGE_MANIFEST, *tags)
        return AddedImage(replace(descriptor, platform=platform), config_descriptor, described, config.diff_ids)

    def add_index(self, repository: str, *tags: str, manifests: Sequence[Descriptor]) -> Descriptor:
        """Stores an index of manifests that are there."""
        return self.put_manifest(repository, Index(tuple(manifests)).to_bytes(), media.IMAGE_INDEX, *tags)

    def script(self, *faults: Fault) -> None:
        """Adds faults; the first that matches a request and is not used up is its own."""
        self.faults.add(*faults)

    # -- answering -------------------------------------------------------------------------------------------------

    def answer(self, seen: Seen) -> Answer:
        """The answer to a request when nothing goes wrong."""
        parts = urlsplit(seen.path)
        if parts.path == "/token":
            return self.gate.token(seen, parse_qs(parts.query))
        if parts.path in self.files:
            return ranged(self.files[parts.path], seen)
        if not parts.path.startswith("/v2"):
            return refusal(404, "NOT_FOUND", "no such file")
        return self._api.answer(seen)

    def broken_off(self, seen: Seen) -> None:
        """Only a part of a request's body came: an upload keeps it."""
        upload = self.content.uploads.get(urlsplit(seen.path).path.rpartition("/")[2])
        if upload is not None and seen.method in ("PATCH", "PUT"):
            upload += seen.body
