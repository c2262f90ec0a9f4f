"""A source tree in memory, for adapters and planning: the Protocol ``Tree`` without a disk."""

from __future__ import annotations

from collections.abc import Mapping

from lamella.canonical import digest_bytes
from lamella.errors import ConfigError
from lamella.graph.fileset import Entry, EntryType, FileSet, merkle_digest
from lamella.graph.patterns import compile_patterns

__all__ = ["MemoryTree"]


class MemoryTree:
    """Files by path. ``executable`` names those with mode 0755; ``links`` maps a symlink's path to its target.

    ``contexts`` are further trees, as ``--build-context`` gives them. :meth:`edited` gives a changed copy.
    """

    def __init__(
        self,
        files: Mapping[str, bytes | str],
        *,
        executable: tuple[str, ...] = (),
        links: Mapping[str, str] | None = None,
        contexts: Mapping[str, MemoryTree] | None = None,
    ) -> None:
        self._files = {path: data.encode() if isinstance(data, str) else data for path, data in files.items()}
        self._executable = frozenset(executable)
        self._links = dict(links or {})
        self._contexts = dict(contexts or {})

    def edited(self, files: Mapping[str, bytes | str | None]) -> MemoryTree:
        """The same tree with files added or replaced; None removes one."""
        merged: dict[str, bytes | str] = {p: d for p, d in self._files.items() if files.get(p, b"") is not None}
        merged.update({path: data for path, data in files.items() if data is not None})
        return MemoryTree(merged, executable=tuple(self._executable), links=self._links, contexts=self._contexts)

    def fileset(self, patterns: tuple[str, ...], *, context: str = "") -> FileSet:
        """The selected files with digests."""
        tree = self._of(context)
        return FileSet.of(tree._entry(path) for path in tree.paths(patterns))

    def digest(self, patterns: tuple[str, ...], *, context: str = "") -> str:
        """``merkle_digest`` of the selected files."""
        return merkle_digest(self.fileset(patterns, context=context))

    def paths(self, patterns: tuple[str, ...], *, context: str = "") -> tuple[str, ...]:
        """The selected paths, sorted."""
        tree = self._of(context)
        matches = compile_patterns(patterns)
        return tuple(sorted(path for path in (*tree._files, *tree._links) if matches(path)))

    def links(self, patterns: tuple[str, ...], *, context: str = "") -> dict[str, str]:
        """The selected symlinks with their targets."""
        tree = self._of(context)
        return {path: tree._links[path] for path in tree.paths(patterns) if path in tree._links}

    def read(self, path: str, *, context: str = "") -> bytes:
        """The bytes of one file; raises ConfigError when it is not there."""
        tree = self._of(context)
        if path not in tree._files:
            raise ConfigError(f"{path}: no such file in the project")
        return tree._files[path]

    def exists(self, path: str, *, context: str = "") -> bool:
        """Whether a file, or a directory with files, is there."""
        tree = self._of(context)
        if path in ("", "."):
            return bool(tree._files)
        return any(name == path or name.startswith(f"{path}/") for name in (*tree._files, *tree._links))

    def _of(self, context: str) -> MemoryTree:
        if not context:
            return self
        if context not in self._contexts:
            raise ConfigError(f"build context {context!r} is not given")
        return self._contexts[context]

    def _entry(self, path: str) -> Entry:
        if path in self._links:
            return Entry(path, EntryType.SYMLINK, 0o777, link=self._links[path])
        data = self._files[path]
        mode = 0o755 if path in self._executable else 0o644
        return Entry(path, EntryType.FILE, mode, size=len(data), digest=digest_bytes(data))
