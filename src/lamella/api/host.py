"""The Protocol ``Host`` for this machine."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lamella.oci.platform import parse_platform

if TYPE_CHECKING:
    from lamella.graph.facts import BaseFacts
    from lamella.graph.protocols import HostTools

__all__ = ["LocalHost"]


class LocalHost:
    """Facts of this machine, found when first asked. ``environ`` says where the user's tools are."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._tools: HostTools | None = None
        self._facts: BaseFacts | None = None

    def platform(self) -> str:
        """``linux/amd64``; on other systems still linux, since that is what images are for."""
        return f"linux/{parse_platform(platform.machine()).architecture}"

    def tools(self) -> HostTools:
        """See ``lamella.graph.protocols.Host``."""
        if self._tools is None:
            from lamella.engines.local.hosttools import find_host_tools

            self._tools = find_host_tools(self._environ)
        return self._tools

    def facts(self) -> BaseFacts:
        """Base facts of the host's system."""
        if self._facts is None:
            from lamella.layers.facts import extract_facts
            from lamella.oci.config import RuntimeConfig

            self._facts = extract_facts("/", platform=self.platform(), runtime=RuntimeConfig(), whole=False)
        return self._facts
