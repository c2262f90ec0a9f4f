"""Blobs: content by digest, in the ``blobs`` folder of an OCI image layout."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Protocol, Self

from lamella.canonical import digest_bytes
from lamella.commit import CHUNK, StagedFile, disk_errors, sync_directory
from lamella.errors import IntegrityError
from lamella.oci.digest import is_digest, short_digest
from lamella.store.context import Context

__all__ = ["BlobWriter", "Blobs", "Fingerprint", "Memo", "MissingBlobError"]

Fingerprint = tuple[int, int, int, int, int]
"""(device, inode, size, mtime_ns, ctime_ns) of a file whose bytes were once checked."""

_SETTLED = 2
"""Seconds after its last change before a file's times are trusted: two changes within one tick look like one."""


class MissingBlobError(IntegrityError):
    """A blob that something names is not in the store."""


class Memo(Protocol):
    """Remembers which files were checked in this boot (RELIABILITY S5)."""

    def known(self, digest: str, fingerprint: Fingerprint) -> bool:
        """Whether this very file was found right before."""

    def add(self, digest: str, fingerprint: Fingerprint) -> None:
        """Remembers that the file is right."""


class BlobWriter:
    """A blob being written: ``write`` bytes, then ``commit``. Leaving the block without a commit drops it."""

    def __init__(self, blobs: Blobs, staged: StagedFile) -> None:
        self._blobs = blobs
        self._staged = staged

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._staged.discard()

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._staged.size

    @property
    def digest(self) -> str:
        """Digest of the bytes written so far."""
        return self._staged.digest

    def plain_digest(self) -> str:
        """The same, for a writer that then does not hash itself (``lamella.layers.tar.DigestingSink``)."""
        return self._staged.digest

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Takes all of ``data`` and returns its length."""
        return self._staged.write(data)

    def commit(self, expected: str = "", size: int | None = None) -> tuple[str, int]:
        """Digest and size in bytes of the blob, now durable; raises IntegrityError when others were expected."""
        return self._blobs.commit(self._staged, expected, size)


class Blobs:
    """All blobs of one store. Thread-safe; every digest asked for is put under the open leases first."""

    def __init__(self, context: Context, memo: Memo) -> None:
        self._context = context
        self._memo = memo

    def path(self, digest: str) -> Path:
        """Where the blob lies or would lie; says nothing about its bytes. Raises HostileInputError."""
        return self._context.layout.blob(digest)

    def has(self, digest: str, size: int | None = None) -> bool:
        """Whether the blob is there as a regular file, of ``size`` bytes when that is given. Bytes are not read."""
        found = self.size(digest)
        return found is not None and (size is None or size == found)

    def size(self, digest: str) -> int | None:
        """Its size in bytes; None when it is not there as a regular file."""
        path = self.path(digest)
        self._context.leases.add(("blob", digest))
        with self._context.lock.shared():
            try:
                found = os.lstat(path)
            except FileNotFoundError:
                return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def open(self, digest: str) -> BufferedReader:
        """The blob as a binary file, its bytes checked now or before in this boot.

        Raises IntegrityError when it is missing, no regular file, or not what its name says; then it is in quarantine.
        """
        file = self._open(digest)
        try:
            mark = _fingerprint(os.fstat(file.fileno()))
            if not self._memo.known(digest, mark):
                self._verify(file, digest)
                self._remember(digest, mark)
                file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    def open_checking(self, digest: str) -> BufferedReader:
        """As :meth:`open`, but the bytes are checked while they are read from start to end, for who reads all of them.

        The last read raises IntegrityError when they are not what their name says; then the blob is in quarantine.
        """
        file = self._open(digest)
        mark = _fingerprint(os.fstat(file.fileno()))
        if self._memo.known(digest, mark):
            return file

        def judge(found: str) -> None:
            if found != digest:
                raise self._corrupt(digest, checking)
            self._remember(digest, mark)

        checking = _CheckingReader(file, digest.partition(":")[0], mark[2], judge)
        return checking

    def read(self, digest: str) -> bytes:
        """All bytes of a small blob, checked as they are read. Raises as :meth:`open` does."""
        with self._open(digest) as file:
            data = file.read()
            if _digest(data, digest) != digest:
                raise self._corrupt(digest, file)
        return data

    def checked_path(self, digest: str) -> Path:
        """The path of a blob whose bytes were checked, for programs that want a name. Raises as :meth:`open` does."""
        self.open(digest).close()
        return self.path(digest)

    def put_bytes(self, data: bytes) -> str:
        """Stores small content and returns its digest. A corrupt copy that is there is replaced."""
        digest = digest_bytes(data)
        self._context.leases.add(("blob", digest))
        if self._is_there(digest, data):
            return digest
        with self.writer(needed=len(data)) as out:
            out.write(data)
            return out.commit()[0]

    def put_file(self, source: Path | BinaryIO, expected: str = "", size: int | None = None) -> tuple[str, int]:
        """Stores a file or a stream; digest and size in bytes.

        Raises IntegrityError, with nothing stored, when they are not ``expected`` and ``size``.
        """
        if isinstance(source, Path):
            with open(source, "rb", buffering=0) as file:
                return self.put_stream(iter(lambda: file.read(CHUNK), b""), expected, size)
        return self.put_stream(iter(lambda: source.read(CHUNK), b""), expected, size)

    def put_stream(self, chunks: Iterable[bytes], expected: str = "", size: int | None = None) -> tuple[str, int]:
        """Stores pieces as one blob; the same contract as :meth:`put_file`. Stops as soon as it grows past ``size``."""
        with self.writer(expected.partition(":")[0] or "sha256", needed=size or 0) as out:
            for chunk in chunks:
                out.write(chunk)
                if size is not None and out.size > size:
                    raise IntegrityError(f"more than the {size} bytes came that were promised")
            return out.commit(expected, size)

    def writer(self, algorithm: str = "sha256", *, needed: int = 0) -> BlobWriter:
        """A new blob to write to. ``needed`` is the expected size in bytes, for messages."""
        self._context.check_writable()
        staged = StagedFile(self._context.layout.staging, algorithm=algorithm, needed=needed, what="writing a blob")
        return BlobWriter(self, staged)

    def commit(self, staged: StagedFile, expected: str, size: int | None) -> tuple[str, int]:
        """What :meth:`BlobWriter.commit` does."""
        staged.seal(digest=expected, size=size)
        digest, length = staged.digest, staged.size
        target = self.path(digest)
        self._context.leases.add(("blob", digest))
        self._displace_wrong(digest)
        with self._context.lock.shared():
            if not digest.startswith("sha256:"):
                target.parent.mkdir(mode=0o755, exist_ok=True)
            staged.commit(target)
        return digest, length

    def adopt(self, staged: Path, digest: str, size: int) -> None:
        """Makes a file of the staging area a blob: its maker has hashed it while writing, and synced it.

        Raises IntegrityError when it is no regular file of that size.
        """
        self._context.check_writable()
        found = os.lstat(staged)
        if not stat.S_ISREG(found.st_mode) or found.st_size != size:
            raise IntegrityError(f"{staged} is not the file of {size} bytes that was written there")
        target = self.path(digest)
        self._context.leases.add(("blob", digest))
        self._displace_wrong(digest)
        with self._context.lock.shared(), disk_errors("writing a blob", target, needed=size):
            with suppress(FileExistsError):
                os.link(staged, target, follow_symlinks=False)
            sync_directory(target.parent)

    def all(self) -> Iterator[tuple[str, int]]:
        """Digest and size in bytes of every blob that is a regular file, sorted; vanished ones are skipped."""
        for digest, found in self.entries():
            if stat.S_ISREG(found.st_mode):
                yield digest, found.st_size

    def entries(self) -> Iterator[tuple[str, os.stat_result]]:
        """Every name in the blob folders that is a digest, with what lies there."""
        folder = self._context.layout.oci / "blobs"
        for algorithm in sorted(os.listdir(folder)):
            for name in sorted(os.listdir(folder / algorithm)):
                digest = f"{algorithm}:{name}"
                if is_digest(digest):
                    try:
                        yield digest, os.lstat(folder / algorithm / name)
                    except FileNotFoundError:
                        continue

    def check(self, digest: str) -> str:
        """What is wrong with a blob, read anew, empty for nothing; a wrong one is put into quarantine.

        One that vanished is not wrong.
        """
        try:
            with self._open(digest) as file:
                self._verify(file, digest)
        except MissingBlobError:
            return ""
        except IntegrityError as error:
            return error.message
        return ""

    def _open(self, digest: str) -> BufferedReader:
        path = self.path(digest)
        self._context.leases.add(("blob", digest))
        try:
            with self._context.lock.shared(), disk_errors("opening a blob", path):
                fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise MissingBlobError(
                f"blob {short_digest(digest)} is not in the store", hint="run the build again; it is made anew"
            ) from error
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO, errno.EMLINK):
                raise self._not_regular(path) from error
            raise
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise self._not_regular(path)
        return os.fdopen(fd, "rb")

    def _remember(self, digest: str, mark: Fingerprint) -> None:
        if self._context.clock.now() - mark[4] // 10**9 >= _SETTLED:
            self._memo.add(digest, mark)

    def _verify(self, file: BufferedReader, digest: str) -> None:
        algorithm, _, text = digest.partition(":")
        if hashlib.file_digest(file, algorithm).hexdigest() != text:
            raise self._corrupt(digest, file)

    def _corrupt(self, digest: str, file: BufferedReader) -> IntegrityError:
        """The error for a file that was read, after it was put aside; not what has replaced it meanwhile."""
        path = self.path(digest)
        with suppress(FileNotFoundError):
            if not self._context.read_only and os.path.samestat(os.lstat(path), os.fstat(file.fileno())):
                self._context.quarantine(path, "blob")
        return IntegrityError(
            f"blob {short_digest(digest)} in the store does not hold the bytes of its digest",
            hint="it was put into quarantine; run the build again, it is made anew",
        )

    def _not_regular(self, path: Path) -> IntegrityError:
        return IntegrityError(
            f"{path} in the store is no regular file",
            hint="nothing of ours makes that; look at it, then run `lamella cache repair`",
        )

    def _is_there(self, digest: str, data: bytes) -> bool:
        """Whether these very bytes are stored; whatever else has their name is put into quarantine."""
        try:
            with self._open(digest) as file:
                if file.read(len(data) + 1) != data:
                    self._corrupt(digest, file)
                    return False
        except IntegrityError:
            self._displace_wrong(digest)
            return False
        if not self._context.read_only:
            sync_directory(self.path(digest).parent)  # whoever made it may not have come this far
        return True

    def _displace_wrong(self, digest: str) -> None:
        """Puts a file that has the name of a blob but not its bytes into quarantine."""
        path = self.path(digest)
        if not os.path.lexists(path):
            return
        try:
            self.open(digest).close()
        except IntegrityError:
            if os.path.lexists(path):
                self._context.quarantine(path, "blob")


class _CheckingReader(BufferedReader):
    """A file of ``size`` bytes that is hashed on its way; ``judge`` is handed the digest with the last of them.

    Who goes back to read a part again gets it without hashing it twice.
    """

    def __init__(self, file: BufferedReader, algorithm: str, size: int, judge: Callable[[str], None]) -> None:
        super().__init__(file.detach())
        self._algorithm = algorithm
        self._hash = hashlib.new(algorithm, usedforsecurity=False)
        self._size = size
        self._judge = judge
        self._at = self._hashed = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        start, self._at = self._at, self._at + len(data)
        if start <= self._hashed < self._at:
            self._hash.update(memoryview(data)[self._hashed - start :])
            self._hashed = self._at
            if self._hashed >= self._size:
                self._judge(f"{self._algorithm}:{self._hash.hexdigest()}")
        return data

    def seek(self, target: int, whence: int = os.SEEK_SET, /) -> int:
        self._at = super().seek(target, whence)
        return self._at


def _fingerprint(found: os.stat_result) -> Fingerprint:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _digest(data: bytes, like: str) -> str:
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()}"
