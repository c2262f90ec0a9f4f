"""Programs of others that read what we write: skopeo, umoci, and the Docker command line."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class ToolError(AssertionError):
    """A program of others refused; the message is its argv and what it said."""


def run_tool(argv: list[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """Standard output of a program that has to succeed within five minutes."""
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, cwd=cwd, env={**os.environ, **(env or {})}, timeout=300
    )
    if done.returncode:
        raise ToolError(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stderr or done.stdout}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class Skopeo:
    """skopeo(1) without a signature policy; references are spelled as it does (``oci:PATH:TAG``)."""

    path: str

    def run(self, *args: str) -> str:
        return run_tool([self.path, "--insecure-policy", *args])

    def inspect(self, reference: str, *, raw: bool = False, config: bool = False) -> Any:
        """What ``skopeo inspect`` says: its summary, the raw manifest, or the image config."""
        flags = [flag for flag, wanted in (("--raw", raw), ("--config", config)) if wanted]
        plain_http = ["--tls-verify=false"] if reference.startswith("docker://") else []
        return json.loads(self.run("inspect", *flags, *plain_http, reference))

    def copy(self, source: str, target: str) -> None:
        """Copy an image; registries are spoken to without TLS, as the tests' own are."""
        self.run("copy", "--src-tls-verify=false", "--dest-tls-verify=false", source, target)


@dataclass(frozen=True, slots=True)
class Umoci:
    """umoci(1); 0.4.7 reads gzip layers only."""

    path: str

    def run(self, *args: str, cwd: Path | None = None) -> str:
        return run_tool([self.path, *args], cwd=cwd)

    def unpack(self, layout: Path, tag: str, bundle: Path) -> Path:
        """Unpack an image of an OCI layout into a runtime bundle; returns its root file system."""
        rootless = [] if os.geteuid() == 0 else ["--rootless"]
        self.run("unpack", *rootless, "--image", f"{layout}:{tag}", str(bundle))
        return bundle / "rootfs"


@dataclass(frozen=True, slots=True)
class DockerEngine:
    """A private Docker Engine: ``host`` is its address, ``cli`` runs the docker command line against it."""

    path: str
    host: str
    config: Path

    @property
    def env(self) -> dict[str, str]:
        """What a process needs in its environment to speak to this engine and no other."""
        return {"DOCKER_HOST": self.host, "DOCKER_CONFIG": str(self.config), "DOCKER_CONTEXT": ""}

    def cli(self, *args: str) -> str:
        return run_tool([self.path, *args], env=self.env)
