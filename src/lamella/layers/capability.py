"""File capabilities as the extended attribute ``security.capability`` stores them (capabilities(7)).

Version 2 is ``magic | permitted | inheritable | permitted | inheritable`` (little-endian 32-bit words), version 3
adds the id of the user namespace's root. An image wants version 2: the id belongs to the machine that built it.
"""

from __future__ import annotations

import struct

from lamella.errors import HostileInputError

__all__ = ["CAPABILITY", "plain_capability"]

CAPABILITY = "security.capability"

_REVISION_MASK = 0xFF000000
_REVISION_2, _REVISION_3 = 0x02000000, 0x03000000


def plain_capability(value: bytes) -> bytes:
    """The version 2 form of a file capability; raises HostileInputError when it is malformed or of version 1."""
    if len(value) >= 4:
        (magic,) = struct.unpack_from("<I", value)
        revision, flags = magic & _REVISION_MASK, magic & ~_REVISION_MASK
        if revision == _REVISION_2 and len(value) == 20:
            return value
        if revision == _REVISION_3 and len(value) == 24:
            return struct.pack("<I", _REVISION_2 | flags) + value[4:20]
    raise HostileInputError(f"file capability of {len(value)} bytes is malformed")
