"""The adapter for JavaScript packages: what :mod:`lamella.stacks.base` asks of a stack.

The parts are imported when they are used: a plan without a node layer does not pay for them.
"""

from __future__ import annotations

from lamella.errors import InternalError
from lamella.graph.protocols import Tree
from lamella.project.spec import NodeSpec
from lamella.stacks.base import Detection, LowerContext, Lowered, Observation, StepOutputs

__all__ = ["NodeStack"]


class NodeStack:
    """A frozen install keyed by the lock, and a build script without network on top of it (DESIGN section 7)."""

    name = "node"

    def lower(self, context: LowerContext) -> Lowered:
        """The dependency step and the build step, or a service. Raises ConfigError for a stale or missing lock."""
        from lamella.stacks.node.lower import lower_layer

        if not isinstance(context.layer.spec, NodeSpec):
            raise InternalError(f"layer {context.layer.name!r} is not a node layer")
        return lower_layer(context, context.layer.spec)

    def observe(self, outputs: StepOutputs) -> Observation:
        """A build script that left nothing has failed, whatever its exit code says."""
        if outputs.product is not None and not len(outputs.product) and outputs.observed.get("output"):
            text = f"script {outputs.observed['script']!r} left nothing in {outputs.observed['output']!r}"
            return Observation(integrity=(text,))
        return Observation()

    def detect(self, tree: Tree) -> tuple[Detection, ...]:
        """Packages with a lock file and something to build or start."""
        from lamella.stacks.node.detect import detect_packages

        return detect_packages(tree)
