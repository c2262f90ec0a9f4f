"""Image references with the grammar of the distribution spec and Docker's defaults for short names."""

from __future__ import annotations

import re

from lamella.errors import ConfigError
from lamella.oci.digest import is_digest
from lamella.values import dataclass, replace

__all__ = ["Reference", "is_tag", "parse_reference"]

_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed reference. ``registry`` is empty for a short name: the client's default applies."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        text = f"{self.registry}/{self.repository}" if self.registry else self.repository
        if self.tag:
            text += f":{self.tag}"
        return f"{text}@{self.digest}" if self.digest else text

    def with_tag(self, tag: str) -> Reference:
        """The same repository with another tag and no digest."""
        return replace(self, tag=tag, digest="")

    def with_digest(self, digest: str) -> Reference:
        """The same repository, pinned."""
        return replace(self, digest=digest)


def is_tag(text: str) -> bool:
    """Whether ``text`` is a legal tag (distribution-spec, "Pulling manifests")."""
    return _TAG.fullmatch(text) is not None


def parse_reference(text: str) -> Reference:
    """A reference from ``[registry/]repository[:tag][@digest]``; raises ConfigError.

    >>> str(parse_reference("registry.example/acme/shop:1.0"))
    'registry.example/acme/shop:1.0'
    """
    rest, _, digest = text.partition("@")
    if "@" in text and not is_digest(digest):
        raise ConfigError(f"reference {text!r} has a malformed digest")
    head, slash, tail = rest.partition("/")
    registry = ""
    if slash and ("." in head or ":" in head or head == "localhost" or head.startswith("[")):
        registry, rest = head, tail
        if not _HOST.fullmatch(registry):
            hint = f"leave {head}// out" if text.startswith(f"{head}//") else ""
            raise ConfigError(f"reference {text!r} has a malformed registry name", hint=hint)
    name, _, tag = rest.partition(":")
    if ":" in rest and not is_tag(tag):
        raise ConfigError(f"reference {text!r} has a malformed tag", hint="letters, digits, '_', '.', '-', at most 128")
    if len(name) > 255 or not name or not all(_COMPONENT.fullmatch(part) for part in name.split("/")):
        raise ConfigError(
            f"reference {text!r} is not of the form [registry/]repository[:tag][@digest]",
            hint="repository names are lower case: letters, digits and single separators",
        )
    return Reference(registry, name, tag, digest)
