"""The adapter for Python: what :mod:`lamella.stacks.base` asks of a stack.

The parts are imported when they are used: a plan without a Python layer does not pay for them.
"""

from __future__ import annotations

from lamella.errors import InternalError
from lamella.graph.protocols import Tree
from lamella.project.spec import PythonSpec
from lamella.stacks.base import Detection, LowerContext, Lowered, Observation, StepOutputs

__all__ = ["PythonStack"]


class PythonStack:
    """Wheels of a lock in a virtual environment, and the project's own package (DESIGN section 7)."""

    name = "python"

    def lower(self, context: LowerContext) -> Lowered:
        """Wheel groups, build steps and the binding. Raises ConfigError for a stale or missing lock.

        A set that ``lamella.lock`` lacks is an ``UnlockedSetError``, which carries the resolver's question.
        """
        from lamella.stacks.python.lower import lower_layer

        if not isinstance(context.layer.spec, PythonSpec):
            raise InternalError(f"layer {context.layer.name!r} is not a Python layer")
        return lower_layer(context, context.layer.spec)

    def observe(self, outputs: StepOutputs) -> Observation:
        """Whether a build step made the promised wheels."""
        from lamella.stacks.python.build import observe_build

        return observe_build(outputs)

    def detect(self, tree: Tree) -> tuple[Detection, ...]:
        """Projects by ``pyproject.toml`` or requirement files."""
        from lamella.stacks.python.detect import detect_projects

        return detect_projects(tree)
