"""Python: locked wheels in a virtual environment, laid out for a target without running it."""

from lamella.stacks.python.stack import PythonStack

__all__ = ["PythonStack"]
