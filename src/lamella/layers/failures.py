"""System call errors while foreign content is written, as errors of ours by who must act."""

from __future__ import annotations

import errno

from lamella.errors import HostileInputError, LamellaError, ResourceError, SandboxError

__all__ = ["explained"]

_EXHAUSTED = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EFBIG, errno.EIO}
_REFUSED = {errno.EPERM, errno.EACCES, errno.EROFS, errno.EOVERFLOW, errno.ENOSYS}


def explained(what: str, error: OSError) -> LamellaError:
    """ResourceError, SandboxError or, where the name or kind of an object is to blame, HostileInputError.

    ``what`` is what could not be done, ``'usr/bin/x' cannot be unpacked``.
    """
    message = f"{what}: {error.strerror}"
    if error.errno in _EXHAUSTED:
        return ResourceError(message, hint="free space in the store: lamella cache gc")
    if error.errno in _REFUSED:
        return SandboxError(message, hint="rights or id ranges are missing; lamella doctor says which")
    return HostileInputError(message)
