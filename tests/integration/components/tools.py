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


def run_program(
    argv: list[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """A program that has to succeed within five minutes."""
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, cwd=cwd, env={**os.environ, **(env or {})}, timeout=300
    )
    if done.returncode:
        raise ToolError(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stderr or done.stdout}")
    return done


def run_tool(argv: list[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """Standard output of a program that has to succeed within five minutes."""
    return run_program(argv, env=env, cwd=cwd).stdout


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
    """A private Docker Engine: ``host`` is its address, ``cli`` runs the docker command line against it.

    ``path`` is the docker client, ``buildx_path`` the plugin's own program, "" where it is not there.
    """

    path: str
    host: str
    config: Path
    buildx_path: str = ""

    @property
    def env(self) -> dict[str, str]:
        """What a process needs in its environment to speak to this engine and no other."""
        return {"DOCKER_HOST": self.host, "DOCKER_CONFIG": str(self.config), "DOCKER_CONTEXT": ""}

    def cli(self, *args: str) -> str:
        return run_tool([self.path, *args], env=self.env)

    def buildx(self, *args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """The plugin, called as a program of its own; progress is on standard error."""
        return run_program([self.buildx_path, *args], env=self.env, cwd=cwd)


@dataclass(frozen=True, slots=True)
class BuildKit:
    """A buildkitd at ``address``, spoken to by buildctl or by a buildx builder of driver ``remote``."""

    address: str
    buildctl_path: str
    buildx_path: str

    def buildctl(self, *args: str) -> str:
        return run_tool([self.buildctl_path, "--addr", self.address, *args])

    def create_builder(self, config: Path, name: str = "single") -> dict[str, str]:
        """A buildx builder of it whose state is below ``config``; gives the environment of its users."""
        env = {"DOCKER_CONFIG": str(config), "BUILDX_CONFIG": str(config / "buildx"), "BUILDX_BUILDER": name}
        run_tool([self.buildx_path, "create", "--name", name, "--driver", "remote", self.address], env=env)
        return env


@dataclass(frozen=True, slots=True)
class BuildKitPair:
    """Two nodes with mutual TLS and the TLS registry that they and their client push to.

    ``certificates`` holds ca.pem, client.pem, client.key and bundle.pem (for SSL_CERT_FILE of whoever speaks to
    ``registry``).
    """

    amd64: str
    arm64: str
    registry: str
    certificates: Path
    buildctl_path: str
    buildx_path: str

    def env(self, config: Path) -> dict[str, str]:
        """The environment of a client whose buildx state is below ``config``: it knows the registry's authority."""
        bundle = str(self.certificates / "bundle.pem")
        return {"DOCKER_CONFIG": str(config), "BUILDX_CONFIG": str(config / "buildx"), "SSL_CERT_FILE": bundle}

    def create_builder(self, config: Path, name: str = "pair") -> str:
        """A buildx builder of both nodes, each for its own platform; gives its name."""
        for flags, platform, address in (((), "amd64", self.amd64), (("--append",), "arm64", self.arm64)):
            files = {"cacert": "ca.pem", "cert": "client.pem", "key": "client.key"}
            options = ",".join(f"{option}={self.certificates / file}" for option, file in files.items())
            argv = ["create", *flags, "--name", name, "--driver", "remote", "--driver-opt", options]
            run_tool(
                [self.buildx_path, *argv, "--node", f"{name}-{platform}", "--platform", f"linux/{platform}", address],
                env=self.env(config),
            )
        return name

    def buildx(self, config: Path, *args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return run_program([self.buildx_path, *args], env=self.env(config), cwd=cwd)

    def skopeo(self, skopeo: Skopeo, *args: str) -> str:
        """Skopeo with this registry's authority."""
        return run_tool([skopeo.path, "--insecure-policy", *args], env=self.env(self.certificates))
