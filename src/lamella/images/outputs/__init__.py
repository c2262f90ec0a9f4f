"""Writes images out of the store: OCI layouts, Docker archives, plain directories, root file systems as tar."""

from __future__ import annotations

from lamella.images.outputs.spec import STDOUT, Output, parse_output
from lamella.images.outputs.write import check_outputs, write_output

__all__ = ["STDOUT", "Output", "check_outputs", "parse_output", "write_output"]
