"""Skeleton installs against the real installers' trees, and builds on top of them; npm, bun and pnpm from the host."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lamella.project.spec import LayerSpec, NodeSpec
from lamella.stacks.node import NodeStack
from lamella.stacks.node.tools import BUN, PNPM
from lamella.testing.tree import MemoryTree
from tests.integration.components.presence import missing, require_program
from tests.integration.host_steps import HostSteps, listing
from tests.unit.stacks.lowering import Files, Given, lower

pytestmark = pytest.mark.xdist_group("node-registry")

INSTALL = {
    "npm": ["npm", "install", "--no-audit", "--no-fund"],
    "bun": ["bun", "install"],
    "pnpm": ["pnpm", "install", "--ignore-scripts"],
}
FROZEN = {
    "npm": ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
    "bun": ["bun", "install", "--frozen-lockfile", "--ignore-scripts"],
    "pnpm": ["pnpm", "install", "--frozen-lockfile", "--ignore-scripts"],
}
LOCK = {"npm": "package-lock.json", "bun": "bun.lock", "pnpm": "pnpm-lock.yaml"}
RESIDUE = (".package-lock.json", ".modules.yaml", ".pnpm/lock.yaml", ".pnpm-workspace-state-v1.json")
"""Files in which installers write versions of own packages, times and paths."""

BUILD = "node build.js"
BUILDER = """\
const fs = require("fs");
fs.mkdirSync("dist", { recursive: true });
fs.writeFileSync("dist/index.html", `${require("is-odd")(3)} ${require("lib").name} ${require("vend").name}`);
"""
UI = {
    "name": "ui",
    "version": "2.3.4",
    "scripts": {"build": BUILD},
    "dependencies": {"lib": "*", "is-number": "^7.0.0", "vend": "file:../vendored"},
    "devDependencies": {"is-odd": "3.0.1"},
}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with bun and pnpm, installed by npm."""
    npm = require_program("npm")
    folder = tmp_path_factory.mktemp("node-tools")
    (folder / "package.json").write_text("{}")
    done = subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", f"bun@{BUN}", f"pnpm@{PNPM['9']}"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    if done.returncode != 0:
        missing(f"npm cannot install bun and pnpm: {done.stderr[-400:]}")
    return str(folder / "node_modules/.bin")


def project(tool: str) -> Files:
    """A workspace with a front end that imports a member, a copied folder and a package of the registry."""
    local = {"npm": "^0.3.0", "bun": "workspace:*", "pnpm": "workspace:^"}[tool]
    ui = {**UI, "dependencies": {**UI["dependencies"], "lib": local}}  # type: ignore[dict-item]
    files: Files = {
        "package.json": json.dumps({"name": "shop", "version": "1.0.0", "workspaces": ["ui", "libs/*"]}),
        "ui/package.json": json.dumps(ui),
        "ui/build.js": BUILDER,
        "libs/lib/package.json": json.dumps(
            {"name": "lib", "version": "0.3.1", "main": "i.js", "bin": {"libtool": "i.js"},
             "dependencies": {"is-even": "1.0.0"}}),
        "libs/lib/i.js": '#!/usr/bin/env node\nmodule.exports = { name: "the library" };\n',
        "libs/other/package.json": json.dumps({"name": "other", "dependencies": {"kind-of": "6.0.3"}}),
        "vendored/package.json": json.dumps({"name": "vend", "version": "9.9.9", "main": "v.js"}),
        "vendored/v.js": 'module.exports = { name: "the copy" };\n',
    }  # fmt: skip
    if tool == "pnpm":
        files["pnpm-workspace.yaml"] = "packages:\n  - ui\n  - libs/*\n"
    return files


def written(files: Files, folder: Path) -> None:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data if isinstance(data, bytes) else data.encode())


def run(argv: list[str], cwd: Path, programs: str) -> None:
    env = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "CI": "1"}
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{argv}\n{done.stdout}\n{done.stderr}"


def locked(tool: str, folder: Path, programs: str) -> Files:
    """The project with the lock that the real tool makes for it."""
    files = project(tool)
    written(files, folder)
    install = [*INSTALL[tool], "--no-frozen-lockfile"] if tool == "pnpm" else INSTALL[tool]
    run(install, folder, programs)
    return {**files, LOCK[tool]: (folder / LOCK[tool]).read_bytes()}


def layer(files: Files, directory: str = "ui") -> Given:
    spec = NodeSpec(dir=directory, script="build", output="dist")
    return Given(NodeStack(), files, LayerSpec("ui", spec, to="/app"))


@pytest.mark.parametrize("tool", ["npm", "bun", "pnpm"])
def test_a_skeleton_install_makes_the_tree_of_the_real_installer(tool: str, tmp_path: Path, programs: str) -> None:
    files = locked(tool, tmp_path / "lock", programs)
    real = tmp_path / "real"
    needed = {path: data for path, data in files.items() if not path.startswith("libs/other/")}
    written(needed, real)
    run(FROZEN[tool], real, programs)
    given = layer(files)
    steps = HostSteps(lower(given), MemoryTree(files), tmp_path / "ours", (programs,))
    product = steps.product("ui:deps")
    for folder in ("", "ui/", "libs/lib/", "vendored/"):
        expected = listing(real / f"{folder}node_modules", without=RESIDUE, place=real)
        made = listing(product / f"{folder}node_modules", without=RESIDUE, place=steps.sources(product))
        copied = {path for path in {*expected, *made} if "/vend/" in path or path.startswith("vend/")}
        assert {k: v for k, v in made.items() if k not in copied} == {
            k: v for k, v in expected.items() if k not in copied
        }


@pytest.mark.parametrize("tool", ["npm", "bun", "pnpm"])
def test_the_build_finds_packages_local_packages_and_copies(tool: str, tmp_path: Path, programs: str) -> None:
    files = locked(tool, tmp_path / "lock", programs)
    steps = HostSteps(lower(layer(files)), MemoryTree(files), tmp_path / "ours", (programs,))
    product = steps.product("ui")
    assert (product / "index.html").read_text() == "true the library the copy"


@pytest.mark.parametrize("tool", ["npm", "bun"])
def test_a_release_that_bumps_versions_still_installs_from_the_same_skeleton(
    tool: str, tmp_path: Path, programs: str
) -> None:
    files = locked(tool, tmp_path / "lock", programs)
    bumped = dict(files)
    for path in ("ui/package.json", "libs/lib/package.json", LOCK[tool]):
        text = files[path]
        content = text if isinstance(text, str) else text.decode()
        bumped[path] = content.replace("2.3.4", "2.4.0").replace("0.3.1", "0.3.9")
    before, after = lower(layer(files)), lower(layer(bumped))
    assert after.keys["ui:deps"] == before.keys["ui:deps"]
    HostSteps(after, MemoryTree(bumped), tmp_path / "ours", (programs,)).product("ui:deps")


@pytest.mark.parametrize("tool", ["npm", "bun"])
def test_scripts_of_trusted_packages_run_and_others_do_not(tool: str, tmp_path: Path, programs: str) -> None:
    for name in ("good", "bad"):
        package = tmp_path / name / "package"
        package.mkdir(parents=True)
        scripts = {"postinstall": "node -e \"require('fs').writeFileSync('ran.txt','')\""}
        (package / "package.json").write_text(json.dumps({"name": name, "version": "1.0.0", "scripts": scripts}))
        run(["npm", "pack", "--pack-destination", str(tmp_path), "./package"], tmp_path / name, programs)
    manifest = {
        "name": "x",
        "version": "1.0.0",
        "scripts": {"build": "true"},
        "dependencies": {"good": "file:good.tgz", "bad": "file:bad.tgz"},
        "trustedDependencies": ["good"],
    }
    files: Files = {
        "package.json": json.dumps(manifest),
        "good.tgz": (tmp_path / "good-1.0.0.tgz").read_bytes(),
        "bad.tgz": (tmp_path / "bad-1.0.0.tgz").read_bytes(),
    }
    written(files, tmp_path / "lock")
    run([*INSTALL[tool], "--ignore-scripts"], tmp_path / "lock", programs)
    files[LOCK[tool]] = (tmp_path / "lock" / LOCK[tool]).read_bytes()
    shutil.rmtree(tmp_path / "lock")
    steps = HostSteps(lower(layer(files, ".")), MemoryTree(files), tmp_path / "ours", (programs,))
    product = steps.product("ui:deps")
    assert (product / "node_modules/good/ran.txt").exists()
    assert (product / "node_modules/bad/package.json").exists()
    assert not (product / "node_modules/bad/ran.txt").exists()


def test_a_service_carries_production_packages_and_starts(tmp_path: Path, programs: str) -> None:
    manifest = {
        "name": "api",
        "version": "1.0.0",
        "scripts": {"start": "node server.js"},
        "dependencies": {"is-odd": "3.0.1"},
        "devDependencies": {"left-pad": "1.3.0"},
    }
    files: Files = {"package.json": json.dumps(manifest), "server.js": 'console.log(require("is-odd")(3))\n'}
    written(files, tmp_path / "lock")
    run(INSTALL["npm"], tmp_path / "lock", programs)
    files["package-lock.json"] = (tmp_path / "lock/package-lock.json").read_bytes()
    given = Given(NodeStack(), files, LayerSpec("app", NodeSpec(), to="/app"))
    outcome = lower(given)
    steps = HostSteps(outcome, MemoryTree(files), tmp_path / "ours", (programs,))
    image = tmp_path / "image"
    for name in ("app:production deps", "app:files"):
        shutil.copytree(steps.product(name), image, symlinks=True, dirs_exist_ok=True)
    assert not (image / "node_modules/left-pad").exists()
    start = [word.replace("/app", str(image)) for word in outcome.lowered.entrypoints[0]]
    assert subprocess.run(start, capture_output=True, text=True, check=True, timeout=60).stdout == "true\n"


def test_a_service_that_is_built_carries_what_the_build_made(tmp_path: Path, programs: str) -> None:
    manifest = {
        "name": "api",
        "version": "1.0.0",
        "scripts": {"build": "node make.js", "start": "node dist/server.js"},
        "dependencies": {"is-odd": "3.0.1"},
        "devDependencies": {"left-pad": "1.3.0"},
    }
    maker = "const fs = require('fs'); require('left-pad'); fs.mkdirSync('dist');"
    server = "console.log(require('is-odd')(2))"
    files: Files = {
        "package.json": json.dumps(manifest),
        "make.js": f"{maker} fs.writeFileSync('dist/server.js', {json.dumps(server)});",
    }
    written(files, tmp_path / "lock")
    run(INSTALL["npm"], tmp_path / "lock", programs)
    files["package-lock.json"] = (tmp_path / "lock/package-lock.json").read_bytes()
    outcome = lower(Given(NodeStack(), files, LayerSpec("app", NodeSpec(script="build", output="."), to="/app")))
    steps = HostSteps(outcome, MemoryTree(files), tmp_path / "ours", (programs,))
    image = tmp_path / "image"
    for name in ("app:production deps", "app"):
        shutil.copytree(steps.product(name), image, symlinks=True, dirs_exist_ok=True)
    assert not (image / "node_modules/left-pad").exists()
    start = [word.replace("/app", str(image)) for word in outcome.lowered.entrypoints[0]]
    assert subprocess.run(start, capture_output=True, text=True, check=True, timeout=60).stdout == "false\n"
