"""What a project names on purpose, so that it counts although git ignores it."""

from __future__ import annotations

from lamella.project.projectfile import ProjectFile
from lamella.project.toml import Node

__all__ = ["declared_patterns"]


def declared_patterns(project: ProjectFile) -> tuple[str, ...]:
    """What layers name on purpose, so that it counts although git ignores it: ``inputs``, and files by name.

    Templates and ``when`` are not resolved: a pattern that holds a variable declares nothing.
    """
    found: list[str] = []
    for layer in project.layers.values():
        _collect(layer, found)
    return tuple(dict.fromkeys(text for text in found if "{" not in text))


def _collect(node: Node, found: list[str]) -> None:
    if not hasattr(node.value, "items"):
        return
    for key, item in node.value.items():
        if key == "inputs" and isinstance(item.value, tuple):
            found.extend(entry.value for entry in item.value if isinstance(entry.value, str))
        elif key == "file" and isinstance(item.value, str):
            found.append(item.value)
        elif key == "files" and isinstance(item.value, tuple):
            sources = (entry.value.get("from") for entry in item.value if hasattr(entry.value, "get"))
            found.extend(source.value for source in sources if source is not None)
        elif isinstance(item.value, tuple):
            for entry in item.value:
                _collect(entry, found)
        else:
            _collect(item, found)
