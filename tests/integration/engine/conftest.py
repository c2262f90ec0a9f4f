"""A bootstrapped Debian for steps, once per machine, and a runner on it, once per test process."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamella.canonical import FrozenMap
from lamella.engines.local.runner import LocalRunner
from lamella.engines.local.values import BootstrapSpec, Chain, LayerBlob, RunnerSettings
from lamella.errors import SandboxError, StepError
from lamella.graph.op import BootstrapOp
from lamella.host.locks import hold
from lamella.oci.media import LAYER_TAR
from lamella.store.store import Store
from tests.integration.components.presence import missing, require_program
from tests.integration.engine.steps import Steps

BASE_TAR = "LAMELLA_TEST_BASE_TAR"
"""Variable that names a base made by somebody else: the run as an ordinary user takes the one of root's run."""

BASE_KEY = "sha256:" + "ba5e" * 16
ENV = FrozenMap({"PATH": os.environ.get("PATH", "/usr/bin:/bin")})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.engine)


@pytest.fixture(scope="session")
def base_tar() -> Path:
    """A bookworm with Python as an uncompressed layer, kept between runs and shared by all test processes."""
    given = os.environ.get(BASE_TAR)
    if given:
        return Path(given)
    require_program("bwrap", "bubblewrap")
    require_program("mmdebstrap")
    home = Path(tempfile.gettempdir()) / f"lamella-test-bases-{os.getuid()}"
    home.mkdir(mode=0o755, exist_ok=True)
    path = home / "bookworm-python3.tar"
    with hold(home / "lock", timeout=600):
        if not path.exists():
            _bootstrap(home, path)
    return path


def _bootstrap(home: Path, path: Path) -> None:
    root = home / f"store-{os.getpid()}"
    op = BootstrapOp("debian", "bookworm", "amd64", include=("ca-certificates", "python3"))
    try:
        with Store.open(root) as store:
            runner = LocalRunner(store, RunnerSettings(env=ENV))
            try:
                runner.bootstrap(BootstrapSpec(BASE_KEY, "test-base", op, "linux/amd64"), lambda *_: None)
                layer = runner.export_layer(BASE_KEY, Chain(), "none")
            finally:
                runner.close()
            part = path.with_suffix(".part")
            shutil.copyfile(store.blobs.path(layer.diff_id), part)
            part.chmod(0o644)
            part.rename(path)
    except (SandboxError, StepError) as error:
        missing(f"no base for steps: {error}")
    finally:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="lamella-open-", ignore_cleanup_errors=True) as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture(scope="session")
def open_python() -> str:
    """An interpreter of this version that any user may run: this one, or the system's."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for candidate in (os.path.realpath(sys.executable), f"/usr/bin/{version}"):
        closed = [folder for folder in Path(candidate).parents if not folder.stat().st_mode & 0o001]
        if os.path.exists(candidate) and not closed:
            return candidate
    return missing(f"no {version} that other users may run")


@pytest.fixture(scope="session")
def store(run_folder: Path) -> Iterator[Store]:
    """One store for the whole run."""
    with Store.open(run_folder / "engine-store") as opened:
        yield opened


@pytest.fixture(scope="session")
def runner(store: Store) -> Iterator[LocalRunner]:
    made = LocalRunner(store, RunnerSettings(env=ENV))
    try:
        made.probe()
    except SandboxError as error:
        missing(f"no sandbox: {error} ({error.hint})")
    if os.geteuid() != 0:
        store.set_remover(lambda path: made.remove((path,)))
    yield made
    made.close()


@pytest.fixture(scope="session")
def base(store: Store, runner: LocalRunner, base_tar: Path, run_folder: Path) -> Chain:
    """The base as a chain of one snapshot."""
    with hold(run_folder / "base.lock"):
        digest, size = store.blobs.put_file(base_tar)
        runner.unpack_layers((LayerBlob(digest, size, LAYER_TAR, digest),))
    return Chain((digest,))


@pytest.fixture
def steps(store: Store, runner: LocalRunner, base: Chain) -> Steps:
    """Runs steps on the base."""
    return Steps(store, runner, base)
