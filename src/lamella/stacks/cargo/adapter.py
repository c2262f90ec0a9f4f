"""The adapter itself."""

from __future__ import annotations

from lamella.graph.protocols import Tree
from lamella.stacks.base import Detection, LowerContext, Lowered, Observation, StepOutputs
from lamella.stacks.cargo.detect import detect_cargo
from lamella.stacks.cargo.lower import lower_cargo
from lamella.stacks.cargo.observe import observe_cargo

__all__ = ["CargoStack"]


class CargoStack:
    """Layers of kind ``cargo``: a binary of a Cargo workspace."""

    name = "cargo"

    def lower(self, context: LowerContext) -> Lowered:
        """Two steps: third-party packages, then the binary."""
        return lower_cargo(context)

    def observe(self, outputs: StepOutputs) -> Observation:
        """Reads Cargo's messages."""
        return observe_cargo(outputs)

    def detect(self, tree: Tree) -> tuple[Detection, ...]:
        """Cargo workspaces and packages with a binary."""
        return detect_cargo(tree)
