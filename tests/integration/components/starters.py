"""Every daemon that test runs share, by the name that its keeper is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.integration.components.buildkit import start_buildkitd, start_pair
from tests.integration.components.daemons import (
    start_docker,
    start_docker28,
    start_docker28_containerd,
    start_oci_registry,
    start_registry,
)
from tests.integration.components.emulation import start_emulation
from tests.integration.components.processes import Running

STARTERS: Mapping[str, Callable[[Path], Running]] = {
    "registry": start_registry,
    "oci-registry": start_oci_registry,
    "docker": start_docker,
    "docker28": start_docker28,
    "docker28-containerd": start_docker28_containerd,
    "buildkitd": start_buildkitd,
    "buildkit-pair": start_pair,
    "emulation": start_emulation,
}
