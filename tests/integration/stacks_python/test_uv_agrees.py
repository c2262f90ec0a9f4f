"""Our choice of wheels against uv's, locks that uv made, and steps that build wheels: with a real index."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import urllib3

from lamella.canonical import FrozenMap
from lamella.errors import AuthError, ConfigError, RegistryError
from lamella.graph.facts import Interpreter
from lamella.graph.op import InlineOp, Wheel, WheelsOp
from lamella.layers.snapshot import scan_tree
from lamella.layers.wheels import install_wheels
from lamella.project.lock import BasePin, Lock, PythonSet
from lamella.project.spec import LayerSpec, PythonSpec
from lamella.sources.wheel_request import NamedIndex, ResolveRequest
from lamella.sources.wheel_tags import Target
from lamella.sources.wheels import UvResolver, find_uv, uv_platform
from lamella.stacks.base import Observation, StepOutputs
from lamella.stacks.python import PythonStack
from lamella.stacks.python.locked import UnlockedSetError
from lamella.stacks.python.pyproject import read_toml_table
from lamella.testing.tree import MemoryTree
from tests.integration.components.presence import missing
from tests.integration.host_steps import HostSteps, listing
from tests.unit.stacks.lowering import Files, Given, lower

pytestmark = pytest.mark.xdist_group("python-index")

PACKAGES = ("numpy", "pydantic-core", "cryptography", "markupsafe", "orjson", "click", "greenlet", "pyzmq", "cffi")
"""Packages with many wheels of different kinds: abi3, several manylinux tags, musl, pure."""

TARGETS = [
    Target("3.11", "linux/amd64", libc_version=(2, 28)),
    Target("3.11", "linux/amd64", libc_version=(2, 36)),
    Target("3.12", "linux/arm64", libc_version=(2, 28)),
    Target("3.13", "linux/amd64", libc_version=(2, 40)),
    Target("3.13", "linux/arm64", libc="musl", libc_version=(1, 2)),
]

PYPROJECT = """\
[project]
name = "demo"
version = "1.2.3"
requires-python = ">=3.11"
dependencies = ["click>=8", "colorama ; sys_platform == 'win32'"]

[project.optional-dependencies]
fast = ["markupsafe"]

[dependency-groups]
dev = ["iniconfig"]

[project.scripts]
demo = "demo:main"

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
"""
FILES: Files = {
    "pyproject.toml": PYPROJECT,
    "src/demo/__init__.py": "import click\n\n\ndef main():\n    click.echo('demo says hello')\n",
}


@pytest.fixture(scope="module")
def resolver() -> UvResolver:
    """Uv with this machine's configuration; the tests end here when its index cannot be reached."""
    found = UvResolver(FrozenMap(dict(os.environ)))
    try:
        found.resolve(request("iniconfig"))
    except (RegistryError, AuthError) as error:
        missing(f"no package index: {error}")
    return found


def request(*lines: str, target: Target = TARGETS[1], **more: object) -> ResolveRequest:
    libc = "_".join(map(str, target.libc_version))
    kind = "musllinux" if target.libc == "musl" else "manylinux"
    return ResolveRequest(lines, (), target.python, target.platform, f"{kind}_{libc}", **more)  # type: ignore[arg-type]


def uv(*argv: str, cwd: Path) -> str:
    done = subprocess.run([find_uv(), *argv], cwd=cwd, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def offers(target: Target, folder: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Version and all wheels of each package that a target can have, as uv locks them for every platform."""
    (folder / "in.txt").write_text("\n".join(PACKAGES))
    options = ("--no-deps", "--universal", "--format", "pylock.toml", "--python-version", target.python)
    text = uv("pip", "compile", "in.txt", *options, cwd=folder)
    document = read_toml_table(MemoryTree({"pylock.toml": text}), "pylock.toml")
    return {
        package["name"]: (package["version"], tuple(item["url"].rpartition("/")[2] for item in package["wheels"]))
        for package in document["packages"]
        if target.matches(package.get("marker", ""))
    }


@pytest.mark.parametrize(
    "target", TARGETS, ids=lambda target: f"{target.python}-{target.platform}-{target.libc_version}"
)
def test_the_wheel_we_choose_is_the_one_uv_chooses(target: Target, resolver: UvResolver, tmp_path: Path) -> None:
    offered = offers(target, tmp_path)
    pins = tuple(f"{name}=={version}" for name, (version, _) in sorted(offered.items()))
    (tmp_path / "in.txt").write_text("\n".join(pins))
    platform = uv_platform(target.platform, request(target=target).libc)
    argv = (find_uv(), "pip", "compile", "in.txt", "--no-deps", "-v", "--python-version", target.python)
    done = subprocess.run(
        (*argv, "--python-platform", platform, "--only-binary", ":all:"),
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    chosen = dict(re.findall(r"Selecting: ([\w-]+)==\S+ \[compatible\] \((\S+\.whl)\)", done.stderr))
    assert set(chosen) == set(PACKAGES)
    assert {name: target.best(filenames) for name, (_, filenames) in offered.items()} == chosen
    resolved = {wheel.name: wheel.filename for wheel in resolver.resolve(request(*pins, target=target))}
    assert {name: resolved[name] for name in chosen} == chosen


def test_a_resolved_set_names_files_of_the_default_index_without_urls_and_finds_them_again(
    resolver: UvResolver,
) -> None:
    wheels = resolver.resolve(request("click>=8", "markupsafe"))
    assert {wheel.name for wheel in wheels} == {"click", "markupsafe"}
    assert all(wheel.url == "" and len(wheel.sha256) == 64 for wheel in wheels)
    urls = resolver.locate(wheels, "3.11")
    assert set(urls) == {wheel.filename for wheel in wheels}


def test_a_wheel_that_the_index_replaced_is_an_error(resolver: UvResolver) -> None:
    (wheel,) = resolver.resolve(request("iniconfig"))
    other = Wheel(wheel.name, wheel.version, wheel.filename, "0" * 64)
    with pytest.raises(ConfigError, match="locked sha256"):
        resolver.locate((other,), "3.11")


def test_requirements_that_exclude_each_other_are_a_configuration_error(resolver: UvResolver) -> None:
    with pytest.raises(ConfigError, match="uv: No solution found") as caught:
        resolver.resolve(request("click<8", "click>8"))
    assert caught.value.details


def test_an_index_that_does_not_answer_is_a_network_error(resolver: UvResolver) -> None:
    bound = NamedIndex("http://127.0.0.1:9/simple", ("click",))
    with pytest.raises(RegistryError):
        UvResolver(resolver.env.with_items({"UV_HTTP_RETRIES": "0"})).resolve(request("click", indexes=(bound,)))


def test_an_index_bound_to_a_name_is_asked_for_it_even_when_another_package_brings_it(resolver: UvResolver) -> None:
    bound = NamedIndex("http://127.0.0.1:9/simple", ("markupsafe",))
    with pytest.raises(RegistryError, match="markupsafe"):
        UvResolver(resolver.env.with_items({"UV_HTTP_RETRIES": "0"})).resolve(request("jinja2", indexes=(bound,)))


def test_hashes_of_the_project_bind_the_answer(resolver: UvResolver) -> None:
    with pytest.raises(ConfigError, match="not among the hashes"):
        resolver.resolve(request("iniconfig", hashes=(("iniconfig", f"sha256:{'0' * 64}"),)))


def test_a_package_without_wheels_is_locked_as_source_archive(resolver: UvResolver) -> None:
    (found,) = resolver.resolve(request("docopt==0.6.2"))
    assert found.filename.endswith(".tar.gz")


@pytest.mark.parametrize(
    ("platform", "libc", "name"),
    [
        ("linux/amd64", "manylinux_2_36", "x86_64-manylinux_2_36"),
        ("linux/amd64", "manylinux_2_41", "x86_64-manylinux_2_40"),
        ("linux/arm64", "manylinux_2_29", "aarch64-manylinux_2_28"),
        ("linux/arm64", "musllinux_1_2", "aarch64-unknown-linux-musl"),
    ],
)
def test_names_of_platforms_for_uv(platform: str, libc: str, name: str) -> None:
    assert uv_platform(platform, libc) == name


def test_a_platform_that_uv_does_not_know_is_an_error() -> None:
    with pytest.raises(ConfigError, match="linux/s390x"):
        uv_platform("linux/s390x", "manylinux_2_36")


@pytest.mark.parametrize(("extras", "groups"), [((), ()), (("fast",), ()), ((), ("dev",)), (("fast",), ("dev",))])
def test_a_lock_by_uv_gives_the_set_that_uv_installs(
    extras: tuple[str, ...], groups: tuple[str, ...], resolver: UvResolver, tmp_path: Path
) -> None:
    given = with_uv_lock(tmp_path, PythonSpec(project=".", python="3.11", extras=extras, groups=groups))
    options = [word for name in extras for word in ("--extra", name)]
    options += ["--no-dev"] if not groups else [word for name in groups for word in ("--group", name)]
    text = uv("export", "--frozen", "--no-emit-project", "--no-hashes", "--no-annotate", *options, cwd=tmp_path)
    linux = [line for line in text.splitlines() if line and line[0] != "#" and "win32" not in line]
    given = with_resolved_sets(given, resolver)
    ours = lower(given).lowered.details["versions"]
    assert isinstance(ours, FrozenMap)
    assert sorted(f"{name}=={version}" for name, version in ours.items() if name != "demo") == sorted(linux)


def with_uv_lock(folder: Path, spec: PythonSpec) -> Given:
    """The project locked by uv, on a base whose interpreter is the one that runs the test."""
    for path, data in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(str(data))
    uv("lock", cwd=folder)
    files: Files = {**FILES, "uv.lock": (folder / "uv.lock").read_bytes()}
    interpreter = Interpreter("python", os.path.realpath(sys.executable), "3.11")
    pin = BasePin("sha256:" + "0" * 64, FrozenMap(), "debian", FrozenMap({"linux/amd64": (interpreter,)}))
    lock = Lock(bases=FrozenMap({"python:3.11": pin}))
    layer = LayerSpec("app", spec, to=f"{folder}/venv")
    return Given(PythonStack(), files, layer, lock, bases=("python:3.11",))


def test_a_pylock_that_uv_exports_gives_the_same_wheels(resolver: UvResolver, tmp_path: Path) -> None:
    given = with_resolved_sets(with_uv_lock(tmp_path, PythonSpec(project=".", python="3.11")), resolver)
    uv(
        "export",
        "--frozen",
        "--no-dev",
        "--no-emit-project",
        "--format",
        "pylock.toml",
        "-o",
        "pylock.toml",
        cwd=tmp_path,
    )
    exported = given.edited({"uv.lock": None, "pylock.toml": (tmp_path / "pylock.toml").read_bytes()})
    assert lower(exported).wheels() == lower(given).wheels() != {}


def test_the_environment_works_and_its_files_are_those_of_uv(resolver: UvResolver, tmp_path: Path) -> None:
    """Resolved, located, downloaded, laid out, the own package built in its step, bound: and the program runs."""
    if sys.version_info[:2] != (3, 11):
        missing("the test's interpreter is the environment's: it must be Python 3.11")
    given = with_resolved_sets(with_uv_lock(tmp_path, PythonSpec(project=".", python="3.11")), resolver)
    outcome = lower(given)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "python3").symlink_to(os.path.realpath(sys.executable))  # no packages of its own
    steps = HostSteps(
        outcome,
        MemoryTree(given.files),
        tmp_path / "steps",
        (str(programs),),
        lambda op: downloaded(op, resolver, tmp_path / "backend"),
    )
    built = steps.product("app:demo wheel")
    judged = observed(outcome.step("app:demo wheel").observed, built)
    assert judged.integrity == ()
    venv = tmp_path / "venv"
    (tmp_path / "real").mkdir()
    uv("venv", "--python", sys.executable, str(tmp_path / "real/venv"), cwd=tmp_path)
    op = outcome.vertex("app:pure").op
    assert isinstance(op, WheelsOp)
    wheels = downloaded(op, resolver, tmp_path / "wheels")
    argv = ("pip", "install", "--python", str(tmp_path / "real/venv"), "--no-deps", *map(str, wheels))
    uv(*argv, cwd=tmp_path)
    venv.mkdir()
    install_wheels(wheels, venv, venv=str(venv), python="3.11")
    ours, theirs = (listing(place / "lib/python3.11/site-packages") for place in (venv, tmp_path / "real/venv"))
    written = (
        "RECORD",
        "INSTALLER",
        "REQUESTED",
        "direct_url.json",
        "uv_cache.json",
        "_virtualenv.py",
        "_virtualenv.pth",
    )
    relevant = {
        path for path in {*ours, *theirs} if path.rpartition("/")[2] not in written and "__pycache__" not in path
    }
    assert {path: ours.get(path) for path in relevant} == {path: theirs.get(path) for path in relevant}
    install_wheels(tuple(built.glob("*.whl")), venv, venv=str(venv), python="3.11")
    binding = outcome.vertex("app:venv").op
    assert isinstance(binding, InlineOp)
    for file in binding.files:
        if file.link:
            (venv / file.path).symlink_to(file.link)
        else:
            (venv / file.path).write_bytes(file.data)
    done = subprocess.run([venv / "bin/demo"], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "demo says hello\n", done.stderr


def observed(promises: FrozenMap[str, str], built: Path) -> Observation:
    return PythonStack().observe(StepOutputs({}, scan_tree(built), promises))


def downloaded(op: WheelsOp, resolver: UvResolver, folder: Path) -> list[Path]:
    """The wheels of an op as files, checked against the lock."""
    folder.mkdir(exist_ok=True)
    found = resolver.locate(op.wheels, op.python)
    http = urllib3.PoolManager(ca_certs=os.environ.get("SSL_CERT_FILE"))
    for wheel in op.wheels:
        data = http.request("GET", wheel.url or found[wheel.filename], timeout=60).data
        assert hashlib.sha256(data).hexdigest() == wheel.sha256
        (folder / wheel.filename).write_bytes(data)
    return [folder / wheel.filename for wheel in op.wheels]


def with_resolved_sets(given: Given, resolver: UvResolver) -> Given:
    """With everything in ``lamella.lock`` that the layer asks for, as ``lamella lock`` does it."""
    while True:
        try:
            lower(given)
        except UnlockedSetError as missing:
            found = PythonSet("app", "", missing.request.digest, resolver.resolve(missing.request))
            given = replace(given, lock=replace(given.lock, python=(*given.lock.python, found)))
        else:
            return given


def test_a_wheel_for_another_python_is_refused_by_the_judge(tmp_path: Path) -> None:
    (tmp_path / "demo-1.0-cp313-cp313-linux_x86_64.whl").write_bytes(b"")
    promises = FrozenMap(
        {
            "python": "3.11",
            "platform": "linux/amd64",
            "libc": "glibc",
            "libc_version": "2.36",
            "wheels": "demo==1.0 gone==",
        }
    )
    lines = PythonStack().observe(StepOutputs({}, scan_tree(tmp_path), promises)).integrity
    assert "does not fit Python 3.11" in lines[0]
    assert lines[1] == "the step made no wheel of gone"
