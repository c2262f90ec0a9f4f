"""Run the official conformance suite of the OCI distribution specification against ``MemoryRegistry``.

    git clone --branch v1.1.1 …/opencontainers/distribution-spec CHECKOUT
    python scripts/registry_conformance.py CHECKOUT

The suite is built with Go from that checkout and is no part of this repository. Ends with 1 when a case fails.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from lamella.testing.registry import MemoryRegistry

WORKFLOWS = ("PULL", "PUSH", "CONTENT_DISCOVERY", "CONTENT_MANAGEMENT")


def main(checkout: Path) -> int:
    """Builds, runs, prints the suite's last lines."""
    with tempfile.TemporaryDirectory() as folder, MemoryRegistry() as registry:
        program = Path(folder) / "conformance.test"
        build = ["go", "test", "-c", "-o", str(program)]
        subprocess.run(build, cwd=checkout / "conformance", env={**os.environ, "GOFLAGS": "-mod=mod"}, check=True)
        env = {
            **os.environ,
            "OCI_ROOT_URL": registry.url,
            "OCI_NAMESPACE": "conformance/one",
            "OCI_CROSSMOUNT_NAMESPACE": "conformance/other",
            **{f"OCI_TEST_{name}": "1" for name in WORKFLOWS},
        }
        done = subprocess.run([str(program)], cwd=folder, env=env, capture_output=True, text=True, check=False)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    print("\n".join(plain.splitlines()[-4 if done.returncode == 0 else -60 :]))
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
