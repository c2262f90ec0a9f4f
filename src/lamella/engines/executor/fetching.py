"""Fetches artefacts and wheels into the store, proven by digest before anything reads them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from lamella.engines.work import Work
from lamella.errors import ConfigError, LamellaError, RegistryError
from lamella.graph.events import VertexProgress
from lamella.graph.op import FetchOp, FetchSource, Wheel, WheelsOp
from lamella.graph.protocols import Clock
from lamella.store.store import Store
from lamella.values import dataclass

__all__ = ["Downloader", "Fetched", "Fetcher", "Locator"]

_PARALLEL = 6
"""Downloads at a time; more do not help against one index."""

OnBytes = Callable[[int], None]


class Downloader(Protocol):
    """Brings URLs into the store as blobs."""

    def download(self, url: str, *, sha256: str, secret: bytes | None, on_bytes: OnBytes) -> str:
        """The digest of the blob; ``sha256`` (hex) proves it unless empty. Raises RegistryError, AuthError,
        IntegrityError.
        """

    def checksum(self, url: str, name: str) -> str:
        """The hex sha256 that the checksum file at ``url`` gives for ``name``; raises RegistryError."""

    def extract(self, blob: str, member: str, target: Path, filename: str) -> None:
        """Writes one member of an archive to ``target``; ``filename`` tells its kind. Raises HostileInputError."""


class Locator(Protocol):
    """Finds where locked wheels are now."""

    def locate(self, wheels: tuple[Wheel, ...], python: str) -> dict[str, str]:
        """URLs by file name for wheels of the user's default index."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """Where an artefact came from, and whether a checksum that is in the key proved it."""

    where: str
    proven: bool


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Fetches for file vertices."""

    store: Store
    downloader: Callable[[], Downloader]
    locator: Callable[[], Locator]
    clock: Clock

    def fetch(self, op: FetchOp, target: Path, work: Work) -> Fetched:
        """The first source that works, as ``target/op.name``; the last error when none does."""
        error: LamellaError | None = None
        for source in op.sources:
            if source.url.startswith("hub:"):
                raise ConfigError(
                    f"{work.vertex.info.name}: models from a hub are not yet supported",
                    hint="download the file and write model = { file = ... }, or { url = ..., sha256 = ... }",
                )
            try:
                return self._fetch_one(op, source, target, work)
            except RegistryError as failure:
                error = failure
                if not source.optional:
                    break
        advice = work.vertex.info.advice
        if error is None:
            raise ConfigError(f"{work.vertex.info.name} has nothing to fetch from", hint=advice)
        raise type(error)(error.message, hint=advice or error.hint, details=error.details)

    def _fetch_one(self, op: FetchOp, source: FetchSource, target: Path, work: Work) -> Fetched:
        if work.request.options.offline:
            raise RegistryError(f"{work.vertex.info.name} must be fetched, and --offline forbids it")
        name = source.url.split("?")[0].rpartition("/")[2]
        wanted = source.sha256 or (self.downloader().checksum(source.sums, name) if source.sums else "")
        secret = work.request.secrets.get(source.secret) if source.secret else None
        blob = self.downloader().download(
            source.url, sha256=wanted, secret=secret, on_bytes=self._progress(work, source.url)
        )
        place = target / op.name
        if source.extract:
            self.downloader().extract(blob, source.extract, place, name)
        else:
            with self.store.blobs.open(blob) as data, place.open("xb") as out:
                while piece := data.read(1 << 20):
                    out.write(piece)
        if place.is_file():
            place.chmod(op.mode)
        return Fetched(source.url.split("?")[0], bool(source.sha256))

    @contextmanager
    def wheels(self, op: WheelsOp, work: Work) -> Iterator[tuple[Path, ...]]:
        """The wheels of an op as files with their right names, in the op's order, inside the block."""
        missing = [wheel for wheel in op.wheels if not self.store.blobs.has(f"sha256:{wheel.sha256}")]
        if missing:
            self._fetch_wheels(tuple(missing), op.python, work)
        with self.store.snapshots.stage() as links:  # staged, so that nobody sweeps it away meanwhile
            yield tuple(self._named(wheel, links.path) for wheel in op.wheels)

    def _named(self, wheel: Wheel, folder: Path) -> Path:
        """A link to the blob under the wheel's name; the blob was checked when it was opened."""
        link = folder / wheel.filename
        os.symlink(self.store.blobs.checked_path(f"sha256:{wheel.sha256}"), link)
        return link

    def _fetch_wheels(self, wheels: tuple[Wheel, ...], python: str, work: Work) -> None:
        if work.request.options.offline:
            raise RegistryError(
                f"{len(wheels)} wheels of {work.vertex.info.name} must be fetched, and --offline forbids it",
                hint="run once without --offline",
            )
        unknown = tuple(wheel for wheel in wheels if not wheel.url)
        urls = self.locator().locate(unknown, python) if unknown else {}
        progress = self._progress(work, f"{len(wheels)} wheels", sum(wheel.size for wheel in wheels))
        from concurrent.futures import ThreadPoolExecutor

        downloader = self.downloader()
        with ThreadPoolExecutor(_PARALLEL) as pool:
            jobs = [
                pool.submit(
                    downloader.download,
                    wheel.url or urls[wheel.filename],
                    sha256=wheel.sha256,
                    secret=None,
                    on_bytes=progress,
                )
                for wheel in wheels
            ]
            for job in jobs:
                job.result()

    def _progress(self, work: Work, what: str, total: int = 0) -> OnBytes:
        """Adds up bytes of several downloads into one line of progress."""
        done = 0

        def on_bytes(count: int) -> None:
            nonlocal done
            done += count
            info = work.vertex.info
            work.emit(VertexProgress(work.key, info.name, self.clock.monotonic(), done, total, f"fetching {what}"))

        return on_bytes
