"""What the code of some packages seems to read outside their directories: a proposal for ``inputs``.

A path in a string that leads out of the package, from the file (``include_str!``) or from the package's
directory (build scripts, macros, ``CARGO_MANIFEST_DIR``), and that exists. It is a guess for ``init``, which
writes it down for people to see; a build relies on what is written.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator

from lamella.errors import ConfigError
from lamella.graph.protocols import Tree
from lamella.stacks.cargo.package import Package
from lamella.stacks.cargo.places import is_below, joined
from lamella.values import dataclass

__all__ = ["OutsideRead", "outside_reads"]

_FOR_TESTS = re.compile(r"(?:^|/)(?:tests?|test_[^/]*|[^/]*_tests?)(?:\.rs$|/)")
_LEADS_OUT = re.compile(r'"/?((?:\./)?(?:\.\./)+[^"\\\n{}*]+)"')


@dataclass(frozen=True, slots=True, order=True)
class OutsideRead:
    """A glob for ``inputs``, and the first place that names the path."""

    pattern: str
    file: str
    line: int


def outside_reads(tree: Tree, packages: Iterable[Package]) -> tuple[OutsideRead, ...]:
    """Proposals for the files that ``packages`` read elsewhere in the project, each once, sorted."""
    directories = tuple(package.directory for package in packages)
    found: dict[str, OutsideRead] = {}
    for directory in directories:
        for path in tree.paths((posixpath.join(directory, "src/**/*.rs"), posixpath.join(directory, "build.rs"))):
            for read in () if _FOR_TESTS.search(path) else _reads(tree, path, directory):
                covered = any(is_below(read.pattern, inside) for inside in directories)
                if not covered and read.pattern not in found:
                    found[read.pattern] = read
    return tuple(sorted(found.values()))


def _reads(tree: Tree, path: str, directory: str) -> Iterator[OutsideRead]:
    try:
        text = tree.read(path).decode("utf-8", "replace")
    except ConfigError:
        return
    for match in _LEADS_OUT.finditer(text):
        for origin in (posixpath.dirname(path), directory):
            target = joined(origin, match[1])
            if target and not target.startswith("..") and tree.exists(target):
                pattern = target if tree.paths((target,)) == (target,) else f"{target}/**"
                yield OutsideRead(pattern, path, text.count("\n", 0, match.start()) + 1)
                break
