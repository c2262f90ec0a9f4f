"""Base images of this run: no registry of the world can be asked, so every base is bootstrapped from packages."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lamella.host.locks import hold
from tests.integration.components.certificates import host_bundle
from tests.integration.components.installed import components_folder
from tests.integration.components.presence import find_program
from tests.integration.components.tools import Umoci, run_tool

SUITE = "bookworm"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_EPOCH = "1700000000"
_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def rootfs_tar(architecture: str) -> Path:
    """A Debian as an uncompressed tar, made once and kept with the components.

    amd64: ``minbase`` with ca-certificates, and the authorities that this machine trusts, for steps that reach
    package registries. arm64: the essential packages unpacked but not configured (mmdebstrap(1), variant extract),
    which needs no emulation: its programs run, its apt does not install.
    Raises ToolError when mmdebstrap fails.
    """
    home = components_folder() / "bases"
    home.mkdir(parents=True, exist_ok=True)
    path = home / f"{SUITE}-{architecture}.tar"
    with hold(home / f"{architecture}.lock", timeout=600):
        if not path.exists():
            part = home / f"part-{path.name}"
            run_tool([*_mmdebstrap(home, architecture), SUITE, str(part)], env={"SOURCE_DATE_EPOCH": _EPOCH})
            part.rename(path)
    return path


def _mmdebstrap(home: Path, architecture: str) -> list[str]:
    argv = [find_program("mmdebstrap") or "mmdebstrap", "--quiet", "--format=tar", f"--architectures={architecture}"]
    if architecture != "amd64":
        return [*argv, "--variant=extract", "--include=base-files,base-passwd,coreutils,dash,grep,sed,tar"]
    argv += ["--variant=minbase", "--include=ca-certificates"]
    if authorities := host_bundle():
        bundle = home / "authorities.pem"
        bundle.write_bytes(authorities)
        argv.append(f"--customize-hook=upload {bundle} {_BUNDLE}")
    return argv


def base_layout(umoci: Umoci, architecture: str) -> Path:
    """An OCI layout with that base as ``base``, one gzip layer; kept like the tar."""
    tar = rootfs_tar(architecture)
    path = tar.with_suffix(".layout")
    with hold(tar.parent / f"{architecture}.lock", timeout=600):
        if not path.exists():
            part = tar.with_suffix(".layout-part")
            shutil.rmtree(part, ignore_errors=True)
            image = f"{part}:base"
            umoci.run("init", "--layout", str(part))
            umoci.run("new", "--image", image)
            umoci.run("config", "--image", image, "--architecture", architecture, "--config.env", f"PATH={PATH}")
            umoci.run("raw", "add-layer", "--image", image, str(tar))
            umoci.run("gc", "--layout", str(part))
            os.rename(part, path)
    return path
