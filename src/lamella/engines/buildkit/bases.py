"""What steps stand on, as a builder can have it: images by digest, trees as archives, layers on top of them."""

from __future__ import annotations

from collections.abc import Callable

from lamella.canonical import digest_value
from lamella.engines.buildkit.context import Context
from lamella.engines.buildkit.phase import BaseRef
from lamella.engines.buildkit.trees import merged
from lamella.engines.inputs import chain_snapshots
from lamella.engines.plain.chain import MergedChain, element_of, find_element
from lamella.engines.solving import Solving
from lamella.engines.work import Work
from lamella.errors import IntegrityError, SandboxError
from lamella.graph.fileset import Entry, EntryType, FileSet
from lamella.graph.op import HostOp, ImageOp, ScratchOp
from lamella.graph.record import LayerResult
from lamella.layers.tar import write_layer
from lamella.oci.digest import short_digest
from lamella.oci.reference import parse_reference
from lamella.registry.layout import LOCAL_SCHEMES
from lamella.store.snapshots import Snapshot
from lamella.store.store import Store
from lamella.values import replace

__all__ = ["Bases", "below_tree"]

_LOCAL = tuple(f"{scheme}:" for scheme in LOCAL_SCHEMES)


class Bases:
    """Finds for the root file systems of one phase where they come from. Archives go into the context."""

    def __init__(self, solving: Solving, store: Store, context: Context) -> None:
        self.refs: dict[str, BaseRef] = {}
        self.added: dict[str, str] = {}
        self._solving = solving
        self._store = store
        self._context = context

    @property
    def name(self) -> str:
        """Names the archives that are in the context."""
        places = [ref.value for ref in self.refs.values() if ref.kind == "tar"]
        return short_digest(digest_value(sorted([*places, *self.added.values()])))

    def add(self, top: str, made_here: Callable[[str], bool]) -> None:
        """The chain up to ``top``: from the nearest vertex down that is a base, with layers on top of it."""
        definition = self._solving.request.definition
        for key in reversed(definition.chain(top)):
            if key in self.refs:
                return
            op = definition[key].op
            if isinstance(op, HostOp):
                raise SandboxError(
                    "host = true uses this machine's own tools, which a builder has not",
                    hint="leave 'host' out and let the layer bring its toolchain, or build with: --engine local",
                )
            if isinstance(op, ScratchOp):
                self.refs[key] = BaseRef("scratch")
                return
            if isinstance(op, ImageOp) and not op.location.startswith(_LOCAL):
                named = replace(parse_reference(op.location), tag="", digest=op.digest)
                self.refs[key] = BaseRef("image", str(named))
                return
            if made_here(key) or key in self.added:
                continue
            if definition[key].inputs and self._added(key):
                continue
            self.refs[key] = BaseRef("tar", self._flattened(key))
            return

    def _added(self, key: str) -> bool:
        """One layer on top of what is below it, when nothing in it removes anything: unpacking cannot."""
        if any(entry.type in (EntryType.WHITEOUT, EntryType.OPAQUE) for one in self._filesets(key) for entry in one):
            return False
        layers = self._layers(key)
        if len(layers) != 1:
            return False
        self.added[key] = self._blob(layers[0])
        return True

    def _filesets(self, key: str) -> tuple[FileSet, ...]:
        """The file sets of one element of a chain."""
        return tuple(snapshot.fileset() for snapshot in self._snapshots((key,)))

    def _flattened(self, key: str) -> str:
        """One archive of the whole tree up to ``key``, in the context."""
        chain = self._solving.request.definition.chain(key)
        layers = [layer for one in chain for layer in self._layers(one)]
        if len(layers) == 1:
            return self._blob(layers[0])
        name = digest_value([layer.diff_id for layer in layers])
        place = _place(name)
        path = self._context.reserve(place, name)
        if path is not None:
            tree = MergedChain(element_of(snapshot) for snapshot in self._snapshots(chain))
            with path.open("wb") as out:
                write_layer(tree.fileset, tree.content, out)
            self._context.settle(place, name)
        return place

    def _blob(self, layer: LayerResult) -> str:
        """A layer's archive in the context; it may be compressed."""
        variants = self._store.variants.of(layer.diff_id)
        if not variants:
            raise IntegrityError(f"no blob of layer {short_digest(layer.diff_id)} is in the store", hint="build again")
        plain = [variant for variant in variants if variant.compressor == "none"]
        chosen = (plain or list(variants))[0]
        place = _place(layer.diff_id)
        self._context.add_blob(place, chosen.descriptor)
        return place

    def _layers(self, key: str) -> tuple[LayerResult, ...]:
        """The layers of one element, written now when only its snapshot is there."""
        result = self._solving.results[key]
        if result.layers or not result.snapshot:
            return result.layers
        layers = self._solving.parts.export(self._solving.work(key), result)
        outcome = self._solving.outcomes[key]
        if outcome.record is not None:
            made = replace(outcome.record, result=replace(outcome.record.result, layers=layers))
            self._store.records.put(made)
            outcome = replace(outcome, record=made)
        self._solving.done(key, replace(outcome, result=replace(result, layers=layers)))
        return layers

    def _snapshots(self, chain: tuple[str, ...]) -> tuple[Snapshot, ...]:
        results, definition = self._solving.results, self._solving.request.definition
        ids: list[str] = []
        for key in chain:
            if isinstance(definition[key].op, ScratchOp):
                continue
            result = results[key]
            known = result.snapshot and self._store.snapshots.find(result.snapshot) is not None
            ids += (result.snapshot,) if known else (layer.diff_id for layer in result.layers)
        return tuple(find_element(self._store, identity) for identity in ids)


def _place(digest: str) -> str:
    """Where an archive is in the context: in a folder of its own, since a builder keeps one copy for each folder's name
    and a base is sent by the name of its folder.
    """
    return f"bases/lamella-{short_digest(digest)}/base.tar"


def below_tree(work: Work, store: Store) -> dict[str, Entry]:
    """The merged tree of the chain that a step stands on."""
    ids = chain_snapshots(work, work.vertex.inputs[0].vertex, store)
    return merged(find_element(store, identity).fileset() for identity in ids)
