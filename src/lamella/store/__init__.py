"""The store: everything that Lamella keeps, safe for parallel processes and threads.

    <XDG_CACHE_HOME>/lamella/
      version                 "lamella store 1"
      oci/                    an OCI image layout that skopeo reads: oci-layout, index.json (names of images),
        blobs/sha256/<hex>    layers, configs, manifests, and small artefacts: file sets, facts, package sets, logs
      snapshots/<id hex>/     fs/ (the tree) · manifest (its FileSet) · meta (digest and sizes; written last)
      records/<2>/<key>.json  one record each: the truth, one canonical JSON document
      variants/<diff_id>/     <compressor>-<level>.json: descriptor of that form of a layer
      states/<hash>/          data/ (mutable build state) · about (whose it is; its time is the last use)
      caches/<hash>/          the same for package caches
      pins/<hash>.json        objects that no collection takes
      index.sqlite            newest record per name, blobs checked in this boot; rebuildable
      leases/                 one locked file per running build with the objects that it holds on to
      locks/                  store, images, index, key-<hash>, state-<hash>, cache-<hash>
      tmp/                    what is being made · trash/ what is being deleted · quarantine/ what was corrupt
      logs/ scan/             output of running steps · scan caches of source trees

Objects appear by one atomic commit (``lamella.commit``). A pointer (record, name, variant) is made after what it
points to and removed before it, so a crash leaves unreferenced objects, never dangling pointers; what dangles all
the same is a miss. Locks are taken in the order key → store → index.
"""

from __future__ import annotations

from lamella.store.blobs import BlobWriter, MissingBlobError
from lamella.store.snapshots import Snapshot, StagedSnapshot
from lamella.store.store import Store

__all__ = ["BlobWriter", "MissingBlobError", "Snapshot", "StagedSnapshot", "Store"]
