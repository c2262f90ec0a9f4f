"""Runs the steps of a lowered cargo layer with the real Cargo, as an engine would: staged sources, kept state, sandbox.

It is a small stand-in for the engine, so that this adapter is tested against Cargo alone. Only the mounts, commands and
environment of the op are used; what the op does not say is not there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from lamella.canonical import FrozenMap
from lamella.graph.fileset import EntryType
from lamella.graph.mount import BindMount, CacheMount, StateMount
from lamella.graph.op import Command, ExecOp, InlineOp, Op, SourceOp
from lamella.stacks.base import Observation, StepOutputs
from lamella.stacks.cargo import CargoStack
from lamella.stacks.cargo.observe import Artifact, parse_messages
from lamella.testing.tree import MemoryTree
from tests.integration.components.presence import missing, require_program
from tests.unit.stacks.cargo.harness import Layer, Outcome, lower

LONG_AGO = 946684800
"""Seconds since the epoch: the modification time of staged files where the rule about new times is switched off."""


class StepFailedError(Exception):
    """A command ended badly; the text holds its output."""


@dataclass(frozen=True)
class Ran:
    """What a step left."""

    artifacts: tuple[Artifact, ...]
    observation: Observation
    product: Path

    def again(self) -> list[str]:
        """Third-party packages that were compiled."""
        return sorted({a.package for a in self.artifacts if not a.place and not a.fresh})

    def output(self, *args: str) -> str:
        """What the finished binary prints."""
        return subprocess.run([self.product, *args], check=True, capture_output=True, text=True).stdout


@dataclass
class CargoBench:
    """A project whose steps run below ``folder``; states and caches live as long as the bench.

    ``root`` is the workspace's directory.
    """

    folder: Path
    files: dict[str, str | bytes]
    layer: Layer = field(default_factory=Layer)
    links: dict[str, str] = field(default_factory=dict)
    touch: bool = True
    downloads: Path | None = None
    root: str = ""

    def write(self, path: str, text: str | bytes) -> None:
        """Adds or replaces a file."""
        self.files[path] = text

    def remove(self, path: str) -> None:
        """Removes a file."""
        del self.files[path]

    def lock(self) -> None:
        """Lets Cargo resolve the workspace, as a user would: with the written manifests, everything."""
        work = self._written()
        self._cargo("generate-lockfile", "--manifest-path", str(work / self.root / "Cargo.toml"))
        self.files[f"{self.root}/Cargo.lock".lstrip("/")] = (work / self.root / "Cargo.lock").read_bytes()

    def vendor(self) -> None:
        """Lets Cargo copy all third-party packages into the project and point its configuration there."""
        work = self._written()
        config = self._cargo("vendor", "--locked", "--manifest-path", str(work / "Cargo.toml"), str(work / "vendor"))
        self.write(".cargo/config.toml", config.replace(str(work / "vendor"), "vendor"))
        for path in (work / "vendor").rglob("*"):
            if path.is_file():
                self.write(str(path.relative_to(work)), path.read_bytes())

    def _written(self) -> Path:
        """The project as files in a folder of its own."""
        work = self.folder / "resolve"
        shutil.rmtree(work, ignore_errors=True)
        for path, data in self.files.items():
            _write(work / path, data)
        return work

    def _cargo(self, *args: str) -> str:
        """Runs the host's Cargo and gives its standard output."""
        env = os.environ | {"CARGO_HOME": str(self.home)}
        done = subprocess.run([require_program("cargo"), *args], env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            if "Could not resolve host" in done.stderr or "download of config.json failed" in done.stderr:
                missing(f"no package registry: {done.stderr[-300:]}")
            raise StepFailedError(done.stderr)
        return done.stdout

    @property
    def home(self) -> Path:
        """Cargo's home, shared by benches."""
        path = self.downloads or self.folder / "cargo-home"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def lowered(self) -> Outcome:
        """The layer over the present files."""
        toolchain = FrozenMap({"PATH": f"{_cargo_folder()}:/usr/bin:/bin", **_rustup()})
        layer = Layer(**{**self.layer.__dict__, "env_of_rootfs": toolchain})
        return lower(MemoryTree(self.files, links=self.links), layer)

    def deps(self) -> Ran:
        """Runs the dependency step."""
        outcome = self.lowered()
        return self._run(outcome, outcome.deps)

    def app(self) -> Ran:
        """Runs the final step."""
        outcome = self.lowered()
        return self._run(outcome, outcome.app)

    def build(self) -> Ran:
        """Runs both."""
        self.deps()
        return self.app()

    # ---- one step ------------------------------------------------------------------------------------------------

    def _run(self, outcome: Outcome, vertex: str) -> Ran:
        op = outcome.op(vertex)
        binds = self._binds(outcome, vertex)
        captured: dict[str, bytes] = {}
        for command in op.commands:
            if command.unless and self._start(command.unless, command, op, binds).returncode == 0:
                continue
            done = self._start(command.argv, command, op, binds)
            if done.returncode:
                raise StepFailedError(f"{' '.join(command.argv)}\n{done.stderr.decode()[-4000:]}")
            if command.capture:
                captured[command.capture] = done.stdout
        observation = CargoStack().observe(StepOutputs(captured, None, op.observed))
        product = self.folder / "products" / sha256(os.urandom(8)).hexdigest()[:12]
        product.parent.mkdir(exist_ok=True)
        shutil.copy2(_outside(op.outputs[0].source, binds), product)
        return Ran(parse_messages(captured["cargo"]), observation, product)

    def _binds(self, outcome: Outcome, vertex: str) -> list[tuple[Path, str]]:
        """Host directories and where the step sees them."""
        found: list[tuple[Path, str]] = []
        inputs = outcome.definition[vertex].inputs
        for number, mount in enumerate(outcome.op(vertex).mounts):
            place = self.folder / f"mount-{number}"
            match mount:
                case BindMount():
                    shutil.rmtree(place, ignore_errors=True)
                    place.mkdir(parents=True)
                    self._stage(outcome, inputs[mount.input].vertex, place)
                case StateMount():
                    place = self.folder / "states" / sha256(mount.id.encode()).hexdigest()[:16]
                case CacheMount():
                    place = self.home
                case _:
                    raise AssertionError(f"the bench knows no {mount}")
            place.mkdir(parents=True, exist_ok=True)
            found.append((place, mount.target))
        return found

    def _stage(self, outcome: Outcome, vertex: str, place: Path) -> None:
        op = outcome.definition[vertex].op
        for path in (file.path for file in op.files if file.directory) if isinstance(op, InlineOp) else ():
            (place / path).mkdir(parents=True, exist_ok=True)
        for path, data in _files(outcome, op):
            _write(place / path, data)
            if not self.touch:
                os.utime(place / path, (LONG_AGO, LONG_AGO))
        for path in outcome.tree.paths(op.patterns) if isinstance(op, SourceOp) else ():
            if path in self.links:
                (place / path).parent.mkdir(parents=True, exist_ok=True)
                (place / path).symlink_to(self.links[path])
        if not self.touch:
            for folder, names, _ in os.walk(place):
                for name in (*names, "."):
                    os.utime(Path(folder) / name, (LONG_AGO, LONG_AGO))

    def _start(
        self, argv: tuple[str, ...], command: Command, op: ExecOp, binds: list[tuple[Path, str]]
    ) -> subprocess.CompletedProcess[bytes]:
        box = [
            require_program("bwrap", "bubblewrap"),
            "--tmpfs",
            "/",
            "--tmpfs",
            "/tmp",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
        ]
        for folder in ("/usr", "/etc", "/bin", "/lib", "/lib64", "/run/systemd/resolve", *_rust_folders()):
            box += ["--ro-bind-try", folder, folder]
        for outside, inside in binds:
            box += ["--bind", str(outside), inside]
        box += ["--unshare-pid", "--die-with-parent", "--clearenv", "--chdir", command.cwd or op.cwd]
        box += [] if command.network or op.network == "host" else ["--unshare-net"]
        for name, value in op.env.items():
            box += ["--setenv", name, value]
        return subprocess.run([*box, "--", *argv], capture_output=True, check=False)


def _files(outcome: Outcome, op: Op) -> Iterator[tuple[str, bytes]]:
    """The regular files of a source or inline vertex."""
    if isinstance(op, InlineOp):
        yield from ((file.path, file.data) for file in op.files if not file.directory)
    elif isinstance(op, SourceOp):
        for entry in outcome.tree.fileset(op.patterns):
            if entry.type is EntryType.FILE:
                yield entry.path, outcome.tree.read(entry.path)


def _write(path: Path, data: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


def _outside(inside: str, binds: list[tuple[Path, str]]) -> Path:
    """The host's path of a path that a step sees."""
    for outside, target in sorted(binds, key=lambda bind: -len(bind[1])):
        if inside.startswith(f"{target}/"):
            return outside / inside[len(target) + 1 :]
    raise AssertionError(f"{inside} is in no mount")


def _cargo_folder() -> str:
    return str(Path(require_program("cargo")).parent)


def _rustup() -> dict[str, str]:
    """Where rustup has its toolchains, when Cargo is one of its proxies."""
    home = Path(os.environ.get("RUSTUP_HOME", Path.home() / ".rustup"))
    return {"RUSTUP_HOME": str(home)} if home.is_dir() else {}


def _rust_folders() -> tuple[str, ...]:
    return (_cargo_folder(), *_rustup().values())
