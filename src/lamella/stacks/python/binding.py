"""The small layer that makes installed wheels a virtual environment of one base's interpreter (PEP 405).

It holds nothing of the wheels, so bases with different interpreter paths share those.
"""

from __future__ import annotations

import posixpath

from lamella.graph.op import InlineFile, InlineOp

__all__ = ["binding_op"]


def binding_op(python: str, interpreter: str) -> InlineOp:
    """``pyvenv.cfg`` and the links to ``interpreter``, an absolute path in the image; ``python`` is ``3.11``.

    ``lib64`` is a link as in every environment made by the venv module: on bases whose platlib is ``lib64``
    the interpreter looks there.
    """
    config = f"home = {posixpath.dirname(interpreter)}\ninclude-system-site-packages = false\nversion = {python}\n"
    return InlineOp(
        (
            InlineFile("bin/python", link=interpreter, mode=0o777),
            InlineFile("bin/python3", link="python", mode=0o777),
            InlineFile(f"bin/python{python}", link="python", mode=0o777),
            InlineFile("lib64", link="lib", mode=0o777),
            InlineFile("pyvenv.cfg", config.encode()),
        )
    )
