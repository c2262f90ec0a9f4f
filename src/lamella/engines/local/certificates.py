"""A company's CA bundle inside steps, by one setting, and never in a layer.

The bundle is added to what the root file system trusts already. It is seen at a path of its own, which variables
name, and in place of the usual bundles, for programs that know no variable. There it lies in a lower directory of the
overlay: the step may replace the file (update-ca-certificates(8) does), and only what it made itself is kept.
"""

from __future__ import annotations

import os
from contextlib import suppress

from lamella.errors import HostileInputError
from lamella.host.rooted import Rooted

__all__ = ["BUNDLE_PLACES", "CA_TARGET", "CA_VARIABLES", "host_bundle", "joined_bundle", "real_bundles", "take_back"]

CA_TARGET = "/run/lamella/ca-bundle.pem"

CA_VARIABLES = (
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "CARGO_HTTP_CAINFO",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "npm_config_cafile",
    "DENO_CERT",
    "AWS_CA_BUNDLE",
    "NIX_SSL_CERT_FILE",
)
"""Variables by which OpenSSL, curl, requests, pip, cargo, git, Node, Bun, npm and others find a bundle."""

BUNDLE_PLACES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/var/lib/ca-certificates/ca-bundle.pem",
)
"""Debian and Alpine, Fedora twice, SUSE, OpenSSL's default, SUSE's generated one."""

_LARGEST = 16 << 20


def real_bundles(view: str) -> dict[str, bytes]:
    """The bundles that a root file system has, by absolute path without links, with their bytes."""
    found: dict[str, bytes] = {}
    with Rooted(view) as root:
        base = os.readlink(f"/proc/self/fd/{root.fd}")
        for place in BUNDLE_PLACES:
            with suppress(OSError, HostileInputError):
                data = root.read_bytes(place, limit=_LARGEST)
                with root.handle(place, follow=True) as handle:
                    real = os.readlink(f"/proc/self/fd/{handle}").removeprefix(base.rstrip("/"))
                found[real] = data
    return found


def host_bundle() -> bytes:
    """What the host itself trusts; empty when it has no bundle in a usual place."""
    for place in BUNDLE_PLACES:
        with suppress(OSError), open(place, "rb") as file:
            return file.read(_LARGEST)
    return b""


def joined_bundle(extra: bytes, own: bytes) -> bytes:
    """Both bundles as one; PEM allows any text between certificates (RFC 7468)."""
    return own.rstrip(b"\n") + b"\n" + extra.strip(b"\n") + b"\n" if own else extra


def take_back(upper: str, places: tuple[str, ...], bundle: bytes) -> tuple[str, ...]:
    """Removes copies of ``bundle`` that a chmod or touch in the step brought into the upper directory; their paths."""
    removed: list[str] = []
    with Rooted(upper, links=False) as root:
        for place in places:
            with suppress(OSError, HostileInputError):
                if root.read_bytes(place, limit=_LARGEST, follow=False) == bundle:
                    root.unlink(place)
                    removed.append(place)
    return tuple(removed)
