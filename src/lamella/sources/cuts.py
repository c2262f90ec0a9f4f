"""What a project leaves out of its own tree."""

from __future__ import annotations

from lamella.graph.patterns import compile_patterns
from lamella.sources.dockerignore import NO_STATE, IgnoreRules, State
from lamella.values import dataclass, field

__all__ = ["Cuts"]


@dataclass(frozen=True, slots=True)
class Cuts:
    """What the project itself leaves out: ``.dockerignore``, and globs of ``graph.patterns`` (``project.ignore``)."""

    rules: IgnoreRules = field(default_factory=IgnoreRules)
    globs: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.rules) or bool(self.globs)

    def file(self, path: str, state: State) -> bool:
        """Whether a file is left out; ``state`` is that of its directory."""
        return (bool(self.rules) and self.rules.step(path, state)[0]) or (
            bool(self.globs) and compile_patterns(self.globs)(path)
        )

    def directory(self, path: str, state: State) -> tuple[bool, State]:
        """Whether a walk may leave a directory out, and the state of what is in it."""
        below = NO_STATE
        if self.rules:
            ignored, below = self.rules.step(path, state)
            if ignored and self.rules.can_skip(path):
                return True, below
        if self.globs and not any(glob.startswith("!") for glob in self.globs):
            return compile_patterns(self.globs)(path), below
        return False, below

    def walk_down(self, path: str) -> tuple[bool, State]:
        """The same from the top for a directory several levels down."""
        state = NO_STATE
        for end in [index for index, char in enumerate(path) if char == "/"] + [len(path)]:
            skip, state = self.directory(path[:end], state)
            if skip:
                return True, state
        return False, state
