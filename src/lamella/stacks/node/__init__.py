"""JavaScript packages: frozen installs and build scripts of npm, bun and pnpm."""

from lamella.stacks.node.stack import NodeStack

__all__ = ["NodeStack"]
