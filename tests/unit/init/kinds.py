"""Kinds of projects as people have them, as small trees; what ``init`` writes for each is in ``tests/golden/init``."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tests.unit.stacks.python.samples import PYPROJECT, UV_LOCK

Files = Mapping[str, bytes | str]

ITOA = """
[[package]]
name = "itoa"
version = "1.0.9"
source = "registry+https://github.com/rust-lang/crates.io-index"
checksum = "af150ab688ff2122fcef229be89cb50dd66af9e01a4ff320cc137eecc9bacc38"
"""
SERVER = """\
use axum::{routing::get, Router};

#[tokio::main]
async fn main() {
    let app = Router::new().route("/healthz", get(|| async { "ok" }));
    let listener = tokio::net::TcpListener::bind("0.0.0.0:8080").await.unwrap();
    axum::serve(listener, app).await.unwrap();
}
"""
WORKER = """\
use std::net::TcpListener;

fn main() {
    let address = std::env::var("WORKER_ADDR").unwrap_or_else(|_| "127.0.0.1:9000".to_string());
    for stream in TcpListener::bind(address).unwrap().incoming() {}
}
"""
CLI = 'fn main() { println!("hello"); }\n'


def cargo_lock(*names: str) -> str:
    """A lock of packages that all use itoa."""
    own = "".join(
        f'\n[[package]]\nname = "{n}"\nversion = "0.2.0"\ndependencies = [\n "itoa",\n]\n' for n in sorted(names)
    )
    return f"version = 4\n{own}{ITOA}"


def cargo_package(name: str, more: str = "") -> str:
    """A manifest that uses itoa."""
    return f'[package]\nname = "{name}"\nversion = "0.2.0"\nedition = "2021"\n{more}\n[dependencies]\nitoa = "1"\n'


def npm_package(name: str, scripts: Mapping[str, str]) -> dict[str, str]:
    """A package with one dependency and the lock that npm writes."""
    manifest = {"name": name, "version": "0.3.0", "scripts": scripts, "dependencies": {"left-pad": "1.3.0"}}
    root = {"name": name, "version": "0.3.0", "dependencies": {"left-pad": "1.3.0"}}
    packages = {"": root, "node_modules/left-pad": {"version": "1.3.0", "integrity": "sha512-l"}}
    lock = {"name": name, "version": "0.3.0", "lockfileVersion": 3, "requires": True, "packages": packages}
    return {"package.json": json.dumps(manifest, indent=2), "package-lock.json": json.dumps(lock, indent=2)}


def bun_package(name: str, scripts: Mapping[str, str]) -> dict[str, str]:
    """A package with the lock that bun writes."""
    manifest = {"name": name, "version": "0.3.0", "scripts": scripts, "dependencies": {"left-pad": "1.3.0"}}
    lock = (
        f'{{ "lockfileVersion": 1, "workspaces": {{ "": {{ "name": "{name}", "dependencies": {{ "left-pad": "1.3.0", }}'
        ', }, }, "packages": { "left-pad": ["left-pad@1.3.0", "", {}, "sha512-l=="], } }'
    )
    return {"package.json": json.dumps(manifest, indent=2), "bun.lock": lock}


def pnpm_package(name: str, scripts: Mapping[str, str]) -> dict[str, str]:
    """A package with the lock that pnpm writes."""
    manifest = {"name": name, "version": "0.3.0", "scripts": scripts, "dependencies": {"left-pad": "1.3.0"}}
    lock = (
        "lockfileVersion: '9.0'\n\nimporters:\n\n  .:\n    dependencies:\n      left-pad:\n        specifier: 1.3.0\n"
        "        version: 1.3.0\n\npackages:\n\n  left-pad@1.3.0:\n    resolution: {integrity: sha512-l==}\n"
    )
    return {"package.json": json.dumps(manifest, indent=2), "pnpm-lock.yaml": lock}


def below(folder: str, files: Mapping[str, str]) -> dict[str, str]:
    """The same files in a folder."""
    return {f"{folder}/{path}": data for path, data in files.items()}


VITE = {"build": "vite build", "dev": "vite"}
RUST: dict[str, str] = {
    "Cargo.toml": cargo_package("shop"),
    "Cargo.lock": cargo_lock("shop"),
    "src/main.rs": SERVER,
}
FASTAPI = 'from fastapi import FastAPI\n\napp = FastAPI()\n\n\n@app.get("/healthz")\ndef health():\n    return {}\n'

KINDS: dict[str, Files] = {
    "rust-program": {
        "Cargo.toml": cargo_package("greet"),
        "Cargo.lock": cargo_lock("greet"),
        "src/main.rs": CLI,
    },
    "rust-workspace": {
        "Cargo.toml": '[workspace]\nresolver = "2"\nmembers = ["crates/*", "xtask"]\n',
        "Cargo.lock": cargo_lock("shop-api", "shop-core", "shop-worker", "xtask").replace(
            'name = "shop-api"\nversion = "0.2.0"\ndependencies = [\n "itoa",\n',
            'name = "shop-api"\nversion = "0.2.0"\ndependencies = [\n "itoa",\n "shop-core",\n',
        ),
        "crates/core/Cargo.toml": cargo_package("shop-core"),
        "crates/core/src/lib.rs": "pub fn x() {}\n",
        "crates/api/Cargo.toml": cargo_package("shop-api") + 'shop-core = { path = "../core" }\n',
        "crates/api/src/main.rs": SERVER,
        "crates/worker/Cargo.toml": cargo_package("shop-worker"),
        "crates/worker/src/main.rs": WORKER,
        "xtask/Cargo.toml": cargo_package("xtask"),
        "xtask/src/main.rs": 'use std::net::TcpListener;\nfn main() { TcpListener::bind("127.0.0.1:1"); }\n',
    },
    "rust-with-dockerfile": {
        **RUST,
        "config/shop.yaml": "a: 1\n",
        "Dockerfile": (
            "ARG RUST=1.92\nFROM rust:${RUST} AS build\nWORKDIR /src\nCOPY . .\nRUN cargo build --release\n\n"
            "FROM debian:bookworm-slim\nRUN apt-get update && apt-get install -y --no-install-recommends \\\n"
            "    libpq5 curl && rm -rf /var/lib/apt/lists/*\n"
            "WORKDIR /srv/shop\nENV RUST_LOG=info SHOP_TOKEN=abc\n"
            "COPY --from=build /src/target/release/shop /usr/local/bin/\nCOPY config/shop.yaml /etc/shop/\n"
            "USER 1500:1500\nEXPOSE 8088\nVOLUME /srv/shop/data\n"
            "HEALTHCHECK CMD curl -f http://localhost:8088/ready || exit 1\n"
            'ENTRYPOINT ["/usr/local/bin/shop", "--config", "/etc/shop/shop.yaml"]\n'
        ),
    },
    "rust-with-page-inside": {
        **RUST,
        "src/main.rs": SERVER + '\n#[derive(RustEmbed)]\n#[folder = "ui/dist/"]\nstruct Page;\n',
        **below("ui", bun_package("shop-ui", VITE)),
        "ui/index.html": "<html>",
    },
    "rust-with-page-on-disk": {
        **RUST,
        "src/main.rs": SERVER + 'fn page() { ServeDir::new("web/dist"); Store::open("sqlite://shop.db"); }\n',
        **below("web", npm_package("shop-web", VITE)),
        "web/index.html": "<html>",
    },
    "uv-project": {"pyproject.toml": PYPROJECT, "uv.lock": UV_LOCK, "src/demo/__init__.py": "", "src/demo/cli.py": ""},
    "uv-service": {
        "pyproject.toml": (
            '[project]\nname = "api"\nversion = "0.1.0"\nrequires-python = ">=3.11,<3.13"\n'
            'dependencies = ["fastapi", "uvicorn"]\n\n[tool.uv]\npackage = false\n'
        ),
        "app/__init__.py": "",
        "app/main.py": FASTAPI,
    },
    "requirements-pinned": {
        "requirements.txt": "flask==3.0.3\ngunicorn==22.0.0\n",
        "app.py": "from flask import Flask\n\napp = Flask(__name__)\n",
        "templates/index.html": "<html>",
        "Dockerfile": (
            "FROM python:3.11-slim\nWORKDIR /code\nRUN apt-get update && apt-get install -y libpq-dev gcc libmagic1\n"
            "COPY requirements.txt .\nRUN pip install -r requirements.txt\nCOPY . .\nENV PORT=5000 PYTHONPATH=/code\n"
            'EXPOSE 5000\nCMD ["gunicorn", "--bind", "0.0.0.0:5000", "app:app"]\n'
        ),
        "docker-compose.yml": (
            "services:\n  web:\n    build: .\n    ports: ['8080:5000']\n    environment:\n      GREETING: hello\n"
            "      DATABASE_URL: postgres://me:secret@db/x\n    volumes: ['.:/code', 'data:/data']\n"
            "  db:\n    image: postgres:16\n"
        ),
    },
    "requirements-unpinned": {"requirements.txt": "fastapi\nuvicorn\n", "app/__init__.py": "", "app/main.py": FASTAPI},
    "python-django": {
        "requirements.txt": "django\ngunicorn\n",
        "manage.py": "#!/usr/bin/env python\n",
        "site/wsgi.py": "application = None\n",
        "site/settings.py": "DEBUG = True\n",
    },
    "python-with-page": {
        "backend/requirements.txt": "fastapi\nuvicorn\n",
        "backend/main.py": (
            "from pathlib import Path\n" + FASTAPI + '\npage = Path(__file__).parent.parent / "frontend" / "dist"\n'
        ),
        **below("frontend", npm_package("page", VITE)),
    },
    "bun-page": {**bun_package("page", VITE), "index.html": "<html>", "src/main.ts": ""},
    "npm-page": {**npm_package("page", VITE), "index.html": "<html>", "vite.config.ts": "export default {}\n"},
    "npm-service": {
        **npm_package("api", {"start": "node server.js"}),
        "server.js": "const port = process.env.PORT || 3000;\napp.listen(port);\n",
    },
    "pnpm-page": {**pnpm_package("page", VITE), "index.html": "<html>"},
    "everything": {
        **below("server", {**RUST, "Cargo.toml": cargo_package("server"), "Cargo.lock": cargo_lock("server")}),
        "ml/requirements.txt": "fastapi\nuvicorn\n",
        "ml/main.py": FASTAPI,
        **below("ui", npm_package("ui", VITE)),
    },
}
