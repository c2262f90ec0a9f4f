"""Runs a lowered step on this machine, without the engine: the same commands on the same inputs in a folder.

Paths below ``/lamella`` become paths below that folder; mounts are copies; outputs are collected as the engine would.
So adapters are held against the real tools where no sandbox is to be had.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lamella.graph.mount import BindMount, CacheMount
from lamella.graph.op import ExecOp, InlineOp, SourceOp, WheelsOp
from lamella.graph.vertex import Vertex
from lamella.layers.wheels import install_wheels
from lamella.testing.tree import MemoryTree
from tests.unit.stacks.lowering import Outcome

_HOST = ("PATH", "HOME", "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "PIP_CERT", "HTTPS_PROXY",
         "HTTP_PROXY", "NO_PROXY", "NPM_CONFIG_USERCONFIG")  # fmt: skip
"""What the host's tools need to reach their registries."""


@dataclass
class HostSteps:
    """Products by vertex key, made on demand in ``work``. ``programs`` is put in front of PATH."""

    outcome: Outcome
    tree: MemoryTree
    work: Path
    programs: tuple[str, ...] = ()
    wheels: Callable[[WheelsOp], list[Path]] = lambda op: []
    done: dict[str, Path] = field(default_factory=dict)
    said: str = ""

    def product(self, name: str) -> Path:
        """The folder with a step's outputs; the steps before it run first."""
        keys = [key for key, vertex in self.outcome.definition.vertices.items() if vertex.info.name == name]
        assert len(keys) == 1, name
        return self._made(keys[0])

    def sources(self, product: Path) -> Path:
        """Where the step that made a product saw its sources."""
        return self.work / f"root-{product.name}" / "lamella/src"

    def _made(self, key: str) -> Path:
        if key not in self.done:
            folder = self.work / f"product-{len(self.done)}"
            folder.mkdir(parents=True)
            self.done[key] = folder
            self._make(self.outcome.definition[key], folder)
        return self.done[key]

    def _make(self, vertex: Vertex, folder: Path) -> None:
        match vertex.op:
            case SourceOp():
                for path in self.tree.paths(vertex.op.patterns):
                    _write(folder / path.removeprefix(f"{vertex.op.strip}/"), self.tree.read(path), 0o644)
            case InlineOp():
                for file in vertex.op.files:
                    _write(folder / file.path, file.data, file.mode)
            case WheelsOp():
                install_wheels(self.wheels(vertex.op), folder, venv=vertex.op.venv, python=vertex.op.python)
            case ExecOp():
                self._run(vertex, vertex.op, folder)
            case _:
                raise AssertionError(f"{vertex.info.name} is no step")

    def _run(self, vertex: Vertex, op: ExecOp, folder: Path) -> None:
        root = self.work / f"root-{folder.name}"
        for mount in op.mounts:
            match mount:
                case BindMount():
                    source = self._made(vertex.inputs[mount.input].vertex) / mount.source
                    shutil.copytree(source, self._place(root, mount.target), symlinks=True, dirs_exist_ok=True)
                case CacheMount():
                    self._place(root, mount.target).mkdir(parents=True)
                case _:
                    raise AssertionError(f"{mount} is not for tests on the host")
        env = {name: value for name, value in os.environ.items() if name in _HOST}
        env |= {name: self._text(root, value) for name, value in op.env.items() if name not in ("PATH", "HOME")}
        env["PATH"] = os.pathsep.join((*self.programs, env["PATH"]))
        for command in op.commands:
            cwd = self._place(root, command.cwd or op.cwd)
            cwd.mkdir(parents=True, exist_ok=True)
            argv = [self._text(root, word) for word in command.argv]
            done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=600)
            self.said += done.stdout + done.stderr
            assert done.returncode == 0, f"{argv}\n{done.stdout}\n{done.stderr}"
        for output in op.outputs:
            source, target = self._place(root, output.source), folder / output.target
            assert source.exists(), f"output {output.source} is not there"
            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)

    def _place(self, root: Path, path: str) -> Path:
        return Path(self._text(root, path)) if path.startswith("/lamella") else root / path.lstrip("/")

    def _text(self, root: Path, text: str) -> str:
        return text.replace("/lamella/", f"{root}/lamella/")


def _write(path: Path, data: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)


def listing(folder: Path, *, without: tuple[str, ...] = (), place: Path | None = None) -> dict[str, str]:
    """Path to what is there: ``-> target`` of a link, digest with the executable bit of a file.

    Some installers write where they are into programs; ``place`` is taken out of file contents.
    """
    import hashlib

    found = {}
    for parent, folders, names in os.walk(folder):
        for name in [*names, *(item for item in folders if (Path(parent) / item).is_symlink())]:
            path = Path(parent) / name
            relative = str(path.relative_to(folder))
            if relative in without:
                continue
            if path.is_symlink():
                found[relative] = f"-> {path.readlink()}"
            else:
                executable = "x" if path.stat().st_mode & 0o100 else "-"
                data = path.read_bytes().replace(str(place or folder).encode(), b"")
                found[relative] = f"{executable} {hashlib.sha256(data).hexdigest()}"
    return found
