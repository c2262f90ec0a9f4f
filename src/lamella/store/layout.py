"""Where things lie in a store: paths by digest or by hashed id, never by a name that somebody chose."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lamella.oci.digest import check_digest
from lamella.values import dataclass

__all__ = ["FOLDERS", "IMAGE_LAYOUT", "LOCKS", "STORE_FORMAT", "Layout", "id_name"]

STORE_FORMAT = 1
"""Major version of the layout, in the file ``version``."""

IMAGE_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
"""The ``oci-layout`` file (image-spec image-layout.md)."""

FOLDERS = (
    "oci/blobs/sha256",
    "snapshots",
    "records",
    "variants",
    "states",
    "caches",
    "leases",
    "locks",
    "pins",
    "tmp",
    "trash",
    "quarantine",
    "logs",
    "scan",
)  # fmt: skip

LOCKS = ("store", "gc", "images", "index", "trash")
"""Lock files that are made with the store, so that a collection works when no inode is left."""


def id_name(text: str) -> str:
    """An id that somebody chose as a file name: its hash, so that no id leaves its folder (buildah CVE-2024-9675)."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one store below ``root``."""

    root: Path

    @property
    def version(self) -> Path:
        """The version file; its presence says that the store is complete."""
        return self.root / "version"

    @property
    def oci(self) -> Path:
        """The OCI image layout (image-spec image-layout.md)."""
        return self.root / "oci"

    @property
    def staging(self) -> Path:
        """Where things are made before they are committed; in the same file system as everything else."""
        return self.root / "tmp"

    @property
    def trash(self) -> Path:
        """Things that no longer exist and are still to be deleted."""
        return self.root / "trash"

    @property
    def index(self) -> Path:
        """The SQLite index, rebuildable from the files."""
        return self.root / "index.sqlite"

    @property
    def journals(self) -> Path:
        """Notes of deletions elsewhere that may have been interrupted; made when there is one."""
        return self.root / "journals"

    def folder(self, name: str) -> Path:
        """One of ``FOLDERS``."""
        return self.root / name

    def lock(self, name: str) -> Path:
        """A lock file."""
        return self.root / "locks" / name

    def blob(self, digest: str) -> Path:
        """The file of a blob; raises HostileInputError for what is not a digest."""
        algorithm, _, text = check_digest(digest).partition(":")
        return Path(f"{self.root}/oci/blobs/{algorithm}/{text}")

    def snapshot(self, identity: str) -> Path:
        """The folder of a snapshot by its id, a digest."""
        text = check_digest(identity, what="snapshot id").partition(":")[2]
        return Path(f"{self.root}/snapshots/{text}")

    def record(self, key: str) -> Path:
        """The file of a record by its resolved key."""
        text = check_digest(key, what="resolved key").partition(":")[2]
        return Path(f"{self.root}/records/{text[:2]}/{text}.json")

    def variants(self, diff_id: str) -> Path:
        """The folder of the compressed forms of one layer."""
        text = check_digest(diff_id, what="diff_id").partition(":")[2]
        return Path(f"{self.root}/variants/{text}")
