"""Cargo: third-party crates compiled once and kept, own crates compiled whenever anything of theirs may have
changed.
"""

from lamella.stacks.cargo.adapter import CargoStack

__all__ = ["CargoStack"]
