"""Downloads into the store."""

from __future__ import annotations

import urllib3
from pathlib import Path
from lamella.api.session import SessionOptions
from lamella.engines.executor.fetching import OnBytes
from lamella.errors import RegistryError
from lamella.store.store import Store


class StoreDownloader:
    def __init__(self, store: Store, options: SessionOptions) -> None:
        self._store = store
        self._http = urllib3.PoolManager(ca_certs=str(options.ca_bundle) if options.ca_bundle else None)

    def download(self, url: str, *, sha256: str, secret: bytes | None, on_bytes: OnBytes) -> str:
        answer = self._http.request("GET", url, preload_content=False, timeout=60)
        if answer.status != 200:
            raise RegistryError(f"{url}: {answer.status}")
        with self._store.blobs.writer() as out:
            for piece in answer.stream(1 << 18):
                out.write(piece)
                on_bytes(len(piece))
            return out.commit(f"sha256:{sha256}" if sha256 else "")[0]

    def checksum(self, url: str, name: str) -> str:
        raise NotImplementedError

    def extract(self, blob: str, member: str, target: Path, filename: str) -> None:
        raise NotImplementedError
