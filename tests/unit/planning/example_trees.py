"""Small trees for the five schema examples: just enough files for every layer to be lowered."""

from __future__ import annotations

from tests.unit.planning.project_mixed import PACKAGE_LOCK

ITOA = """
[[package]]
name = "itoa"
version = "1.0.9"
source = "registry+https://github.com/rust-lang/crates.io-index"
checksum = "af150ab688ff2122fcef229be89cb50dd66af9e01a4ff320cc137eecc9bacc38"
"""


def cargo_lock(name: str) -> str:
    """A lock of one package that uses itoa."""
    return f'version = 4\n\n[[package]]\nname = "{name}"\nversion = "2.1.0"\ndependencies = [\n "itoa",\n]\n{ITOA}'


def cargo_package(name: str, more: str = "") -> str:
    """A manifest of a package with a binary of its name."""
    return f'[package]\nname = "{name}"\nversion = "2.1.0"\nedition = "2021"\n{more}\n[dependencies]\nitoa = "1"\n'


def node_package(name: str, script: str) -> dict[str, bytes | str]:
    """A package with one script and a lock, relative to its folder."""
    manifest = (
        f'{{"name": "{name}", "version": "0.3.0", "scripts": {{"{script}": "node build.js"}}, '
        '"dependencies": {"left-pad": "^1.3.0"}}'
    )
    return {"package.json": manifest, "package-lock.json": PACKAGE_LOCK.replace('"ui"', f'"{name}"'), "build.js": "1"}


def below(folder: str, files: dict[str, bytes | str]) -> dict[str, bytes | str]:
    """The same files in a folder."""
    return {f"{folder}/{path}": data for path, data in files.items()}


DESK: dict[str, bytes | str] = {
    "Cargo.toml": '[workspace]\nresolver = "2"\nmembers = ["crates/desk"]\n',
    "Cargo.lock": cargo_lock("desk"),
    "crates/desk/Cargo.toml": cargo_package("desk", "\n[features]\nproduction = []\n"),
    "crates/desk/src/main.rs": "fn main() {}\n",
    **below("crates/desk", node_package("desk-ui", "build")),
    **below("ts-client", node_package("ts-client", "build:openapi")),
    "openapi.json": "{}",
    "openapi-oai.json": "{}",
    "openapi-compat.json": "{}",
}

SHOP: dict[str, bytes | str] = {
    "backend/Cargo.toml": cargo_package("app"),
    "backend/Cargo.lock": cargo_lock("app"),
    "backend/src/main.rs": "fn main() {}\n",
    "backend/migrations/1.sql": "select 1;\n",
    "backend/.sqlx/query-1.json": "{}",
    **below("ui", node_package("ui", "build")),
    "docker/nginx.conf": "server {}\n",
}

FINDER: dict[str, bytes | str] = {
    "requirements/base-ml.txt": "numpy\n",
    "requirements/cpu-amd64.txt": "-r base-ml.txt\ntorch\n",
    "requirements/cpu-arm64.txt": "torch\n",
    "requirements/cuda.txt": "torch\n",
    "requirements/rocm.txt": "torch\n",
    "requirements/app.txt": "rich>=13  # output\npytest\n",
    "src/finder/__init__.py": "",
    "scripts/a.sh": "#!/bin/sh\n",
    "finder_search.py": "1\n",
    "finder": "#!/bin/sh\n",
    "finder-mcp": "#!/bin/sh\n",
    "docker/common/entrypoint.sh": "#!/bin/sh\n",
    **{
        f"requirements/lock/{variant}.txt": "".join(
            f"{name}==1.0 --hash=sha256:{digit * 64}\n"
            for name, digit in (("numpy", "1"), ("torch", "2"), ("rich", "3"))
        )
        for variant in ("cpu-amd64", "cpu-arm64", "cuda-amd64", "rocm-amd64")
    },
}

FORGE: dict[str, bytes | str] = {
    "Cargo.toml": '[workspace]\nresolver = "2"\nmembers = ["crates/forge"]\n',
    "Cargo.lock": cargo_lock("forge"),
    "crates/forge/Cargo.toml": cargo_package("forge"),
    "crates/forge/src/main.rs": "fn main() {}\n",
    "embedded/a": "1",
    "schemas/a.json": "{}",
    "profiles.yaml": "a: 1\n",
    "registry.yaml": "a: 1\n",
    "compatibility-matrix.yaml": "a: 1\n",
    "extension-source.yaml": "a: 1\n",
    "common.sh": "1\n",
    "extensions/one/e.yaml": "a: 1\n",
    "docker/config/sshd_config": "Port 2222\n",
    "docker/config/developer-sudoers": "developer ALL=(ALL) NOPASSWD:ALL\n",
    "docker/templates/t": "1\n",
    **{
        f"docker/scripts/{name}.sh": "#!/bin/bash\n"
        for name in (
            "setup-ssh-environment",
            "install-versions",
            "install-fonts",
            "install-prompt",
            "setup-banner",
            "entrypoint",
            "healthcheck",
        )
    },
}

TREES: dict[str, dict[str, bytes | str]] = {
    "A-rust-workspace": DESK,
    "B-variants": DESK,
    "C-service-ui": SHOP,
    "D-python-ml": FINDER,
    "E-base-family": FORGE,
}
