"""Locks and projects as text, small enough to read and shaped as the real tools write them."""

from __future__ import annotations

import hashlib

from lamella.graph.op import Wheel
from lamella.project.lock import Lock, PythonSet
from lamella.project.spec import LayerSpec, PythonSpec
from lamella.stacks.python import PythonStack
from lamella.stacks.python.locked import UnlockedSetError
from tests.unit.stacks.lowering import Files, Given, lower

INDEX = "https://index.example/simple"


def sha(text: str) -> str:
    """A sha256 that stands for a file of that name."""
    return hashlib.sha256(text.encode()).hexdigest()


def artefact(filename: str) -> str:
    """One artefact as uv.lock has it."""
    return f'{{ url = "https://files.example/{filename}", hash = "sha256:{sha(filename)}", size = 1000 }}'


def package(
    name: str,
    version: str,
    *filenames: str,
    dependencies: tuple[str, ...] = (),
    markers: tuple[str, ...] = (),
    extra: str = "",
    sdist: bool = False,
    source: str = f'registry = "{INDEX}"',
) -> str:
    """A package table of uv.lock. ``dependencies`` are inline tables without braces; ``extra`` is further TOML."""
    lines = ["[[package]]", f'name = "{name}"', f'version = "{version}"', f"source = {{ {source} }}"]
    if markers:
        lines.append(f"resolution-markers = [{', '.join(repr(marker) for marker in markers)}]")
    if dependencies:
        lines += ["dependencies = [", *(f"    {{ {item} }}," for item in dependencies), "]"]
    if sdist:
        lines.append(f"sdist = {artefact(f'{name}-{version}.tar.gz')}")
    if filenames:
        lines += ["wheels = [", *(f"    {artefact(filename)}," for filename in filenames), "]"]
    return "\n".join([*lines, extra, ""])


def wheel(name: str, version: str) -> str:
    """The file name of a pure wheel."""
    return f"{name.replace('-', '_')}-{version}-py3-none-any.whl"


NATIVE = (
    "fastmath-2.0.0-cp311-cp311-macosx_11_0_arm64.whl",
    "fastmath-2.0.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    "fastmath-2.0.0-cp311-cp311-manylinux_2_28_x86_64.whl",
    "fastmath-2.0.0-cp311-cp311-manylinux_2_28_aarch64.whl",
    "fastmath-2.0.0-cp311-cp311-musllinux_1_2_x86_64.whl",
    "fastmath-2.0.0-cp311-cp311-win_amd64.whl",
    "fastmath-2.0.0-cp313-cp313-manylinux_2_28_x86_64.whl",
)

PYPROJECT = """\
[project]
name = "demo"
version = "1.2.3"
requires-python = ">=3.11"
dependencies = ["webframe>=1", "fastmath", 'backport ; python_version < "3.11"', 'wincolor ; sys_platform == "win32"']

[project.optional-dependencies]
ml = ["torch"]

[project.scripts]
demo = "demo.cli:main"

[dependency-groups]
dev = ["tester"]

[build-system]
requires = ["backend"]
build-backend = "backend.api"
"""

UV_LOCK = "\n".join(
    [
        'version = 1\nrequires-python = ">=3.11"\n',
        package("backport", "1.0", wheel("backport", "1.0")),
        package(
            "demo",
            "1.2.3",
            dependencies=(
                'name = "backport", marker = "python_full_version < \'3.11\'"',
                'name = "fastmath"',
                'name = "webframe"',
                'name = "wincolor", marker = "sys_platform == \'win32\'"',
            ),
            source='editable = "."',
            extra="""
[package.optional-dependencies]
ml = [{ name = "torch" }]

[package.dev-dependencies]
dev = [{ name = "tester" }]

[package.metadata]
requires-dist = [
    { name = "backport", marker = "python_full_version < '3.11'" },
    { name = "fastmath" },
    { name = "torch", marker = "extra == 'ml'" },
    { name = "webframe", specifier = ">=1" },
    { name = "wincolor", marker = "sys_platform == 'win32'" },
]
provides-extras = ["ml"]

[package.metadata.requires-dev]
dev = [{ name = "tester" }]
""",
        ),
        package("fastmath", "2.0.0", *NATIVE, sdist=True),
        package("tester", "9.0", wheel("tester", "9.0")),
        package(
            "torch", "2.5.0", "torch-2.5.0-cp311-cp311-manylinux_2_28_x86_64.whl", dependencies=('name = "fastmath"',)
        ).replace("size = 1000", "size = 800000000"),
        package("typing-kit", "4.0", wheel("typing-kit", "4.0")),
        package("webframe", "1.5", wheel("webframe", "1.5"), dependencies=('name = "typing-kit"',)),
        package("wincolor", "1.0", wheel("wincolor", "1.0")),
    ]
)

PROJECT: Files = {
    "pyproject.toml": PYPROJECT,
    "uv.lock": UV_LOCK,
    "README.md": "# demo\n",
    "src/demo/__init__.py": "",
    "src/demo/cli.py": "def main(): ...\n",
}


def project(spec: PythonSpec | None = None, files: Files | None = None, **given: object) -> Given:
    """A uv project for Python 3.11 on Debian 12, as a layer ``app``."""
    layer = LayerSpec("app", spec or PythonSpec(project=".", python="3.11"), to="/opt/venv")
    return Given(PythonStack(), dict(files or PROJECT), layer, bases=("debian/bookworm",), **given)  # type: ignore[arg-type]


def requirements(files: Files, *paths: str, **spec: object) -> Given:
    """A layer ``app`` of requirement files."""
    kind = PythonSpec(requirements=paths or ("requirements.txt",), python="3.11", **spec)  # type: ignore[arg-type]
    return project(kind, files)


def locked(given: Given, *filenames: str, layer: str = "app") -> Given:
    """With the resolver's answer for the layer's own request in ``lamella.lock``."""
    from dataclasses import replace

    try:
        lower(given)
    except UnlockedSetError as missing:
        found = PythonSet(layer, "", missing.request.digest, tuple(wheel_of(name) for name in filenames))
        return replace(given, lock=replace(given.lock, python=(*given.lock.python, found)))
    raise AssertionError("the layer is locked already")


BACKEND = wheel("backend", "1.0")


def with_backend(given: Given) -> Given:
    """With the build requirements of its packages in ``lamella.lock``; what else is missing stays an error."""
    from dataclasses import replace

    while True:
        try:
            lower(given)
        except UnlockedSetError as missing:
            if not missing.request.layer.endswith(":build"):
                raise
            found = PythonSet(missing.request.layer, "", missing.request.digest, (wheel_of(BACKEND),))
            given = replace(given, lock=replace(given.lock, python=(*given.lock.python, found)))
        else:
            return given


def wheel_of(filename: str, size: int = 1000) -> Wheel:
    """A wheel (or source archive) of a file name."""
    name, version = filename.removesuffix(".tar.gz").split("-")[:2]
    return Wheel(name.replace("_", "-"), version, filename, sha(filename), "", size)


__all__ = ["INDEX", "NATIVE", "PROJECT", "PYPROJECT", "UV_LOCK", "Lock", "artefact", "locked", "package", "project"]
