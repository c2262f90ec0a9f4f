"""Scenario x Modification x Expectation for a project that uv has locked: which vertices a change makes new."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest

from lamella.canonical import FrozenMap
from lamella.errors import ConfigError
from lamella.graph.facts import Interpreter
from lamella.graph.mount import BindMount
from lamella.project.lock import BasePin, Lock
from lamella.project.spec import PythonSpec
from lamella.stacks.python.locked import UnlockedSetError
from tests.unit.stacks.lowering import Given, Outcome, changed, lower
from tests.unit.stacks.python.samples import PROJECT, artefact, package, project, wheel, with_backend

OWN = {"app:demo source", "app:demo wheel", "app:demo"}
"""The project's own package: built again whenever a file of it changes, in layers of its own."""

ALPINE = Lock(
    bases=FrozenMap({"python:3.11-alpine": BasePin("sha256:" + "1" * 64, FrozenMap(), os_family="alpine")}),
)
PYTHON_IMAGE = Lock(
    bases=FrozenMap(
        {
            "python:3.11": BasePin(
                "sha256:" + "1" * 64,
                FrozenMap(),
                os_family="debian",
                interpreters=FrozenMap(
                    {"linux/amd64": (Interpreter("python", "/usr/local/bin/python3.11", "3.11", "cp311"),)}
                ),
            )
        }
    )
)
HEAVY = artefact("webframe-1.5-py3-none-any.whl").replace("size = 1000", "size = 40000000")

Modification = Callable[[Given], Given]


def lowered(given: Given) -> Outcome:
    return lower(with_backend(given))


def changes(before: Given, after: Given) -> set[str]:
    return changed(with_backend(before), with_backend(after))


def in_lock(before: str, after: str) -> Modification:
    return lambda given: given.replaced("uv.lock", before, after)


def in_project(before: str, after: str) -> Modification:
    return lambda given: given.replaced("pyproject.toml", before, after)


def spec(**changes: object) -> Modification:
    return lambda given: given.with_spec(replace(PythonSpec(project=".", python="3.11"), **changes))  # type: ignore[arg-type]


def files(changes: dict[str, bytes | str | None]) -> Modification:
    return lambda given: given.edited(changes)


ROWS: list[tuple[str, Modification, set[str]]] = [
    ("a comment in pyproject.toml", in_project("[project]", "# hello\n[project]"), OWN),
    ("the readme", files({"README.md": "# other\n"}), OWN),
    ("a source file", files({"src/demo/cli.py": "def main(): return 1\n"}), OWN),
    ("a new module", files({"src/demo/new.py": ""}), OWN),
    ("a release of the project", in_project('version = "1.2.3"', 'version = "1.3.0"'), OWN),
    ("the same release in the lock", in_lock('version = "1.2.3"', 'version = "1.3.0"'), set()),
    ("white space in the lock", in_lock('[[package]]\nname = "torch"', '\n\n[[package]]\nname =   "torch"'), set()),
    ("bytecode and caches", files({"src/demo/__pycache__/x.pyc": "x", ".venv/bin/python": "x"}), set()),
    ("a pure wheel's version", in_lock("webframe-1.5", "webframe-1.6"), {"app:pure"}),
    ("a transitive pure wheel", in_lock("typing_kit-4.0", "typing_kit-4.1"), {"app:pure"}),
    ("the native wheel taken", in_lock("0-cp311-cp311-manylinux_2_28_x86_64", "1-cp311-cp311-manylinux_2_28_x86_64"),
     {"app:native"}),
    ("a native wheel not taken", in_lock("cp311-win_amd64", "cp311-win_arm64"), set()),
    ("a wheel whose marker never holds", in_lock("wincolor-1.0", "wincolor-2.0"), set()),
    ("a wheel for older Pythons", in_lock("backport-1.0", "backport-2.0"), set()),
    ("a wheel of a group nobody asked for", in_lock("tester-9.0", "tester-9.1"), set()),
    ("where wheels lie", in_lock("https://files.example/", "https://mirror.example/"), set()),
    ("a wheel becomes heavy", in_lock(artefact("webframe-1.5-py3-none-any.whl"), HEAVY), {"app:webframe", "app:pure"}),
    ("a group is asked for", spec(groups=("dev",)), {"app:pure"}),
    ("an extra is asked for", spec(extras=("ml",)), {"app:torch"}),
    ("a package is left out", spec(exclude=("typing-kit",)), {"app:pure"}),
    ("another Python", spec(python="3.13"),
     {"app:native", "app:pure", "app:venv", "app:demo wheel", "app:demo", "app:demo build requirements"}),
    ("another patch of Python", spec(python="3.11.9"), set()),
    ("what the project is built with", in_project('["backend"]', '["backend>=1"]'), OWN),
    ("the build may fetch", lambda given: replace(given, layer=replace(given.layer, network=True)),
     {"app:demo wheel", "app:demo"}),
    ("arm64: pure wheels are the same", lambda given: replace(given, platform="linux/arm64"),
     {"app:native", "app:demo wheel", "app:demo"}),
    ("musl", lambda given: replace(given, lock=ALPINE, bases=("python:3.11-alpine",)),
     {"app:native", "app:demo wheel", "app:demo"}),
    ("another toolchain", lambda given: replace(given, toolchain="other"), {"", "app:demo wheel", "app:demo"}),
    ("another place", lambda given: replace(given, layer=replace(given.layer, to="/venv")),
     {"app:native", "app:pure", "app:demo"}),
    ("another variable of the steps",
     lambda given: replace(given, layer=replace(given.layer, env=FrozenMap({"A": "1"}))),
     {"app:demo wheel", "app:demo"}),
    ("the base's interpreter lies elsewhere", lambda given: replace(given, lock=PYTHON_IMAGE, bases=("python:3.11",)),
     {"app:venv"}),
]  # fmt: skip


@pytest.mark.parametrize(("modification", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_change_makes_exactly_these_vertices_new(modification: Modification, expected: set[str]) -> None:
    before = project()
    assert changes(before, modification(before)) == expected


ERRORS: list[tuple[str, Modification, str, str]] = [
    ("a new requirement", in_project('"fastmath",', '"fastmath", "extra-thing",'), "stale", "uv lock"),
    ("another version range", in_project('"webframe>=1"', '"webframe>=2"'), "'webframe'", "uv lock"),
    ("a dropped requirement", in_project('"fastmath", ', ""), "'fastmath'", "uv lock"),
    ("a new extra of a requirement", in_project('"webframe>=1"', '"webframe[fast]>=1"'), "'webframe'", "uv lock"),
    ("a group's requirement", in_project('["tester"]', '["tester>=10"]'), "group 'dev'", "uv lock"),
    ("an extra's requirement", in_project('["torch"]', '["torch<2"]'), "extra 'ml'", "uv lock"),
    ("no lock at all", files({"uv.lock": None}), "lamella.lock does not hold", "lamella lock"),
    ("a lock of another version", in_lock("version = 1\n", "version = 2\n"), "version 2", "uv lock"),
    ("a broken lock", in_lock("version = 1\n", "version = \n"), "not TOML", ""),
    ("a lock of another project", in_lock('editable = "."', 'editable = "elsewhere"'), "not in the lock", "uv lock"),
    ("an unknown extra", spec(extras=("nope",)), "no extra 'nope'", "it has: ml"),
    ("an unknown group", spec(groups=("nope",)), "no group 'nope'", "it has: dev"),
    ("a Python that the project rules out", spec(python="3.10"), "requires Python >=3.11", "write another version"),
    ("a version file that the project rules out",
     lambda given: files({".python-version": "3.10\n"})(spec(python=None)(given)),
     "requires Python >=3.11", "write 'python'"),
    ("no wheel and no source for the target",
     lambda given: replace(given.replaced("uv.lock", "sdist = ", "#"), platform="linux/riscv64"),
     "fastmath 2.0.0 has no wheel", "uv lock"),
    ("no pyproject.toml", files({"pyproject.toml": None}), "pyproject.toml is not there", ""),
    ("a malformed requirement", in_project('"webframe>=1"', '"webframe>>1"'), "pyproject.toml", ""),
    ("a group that includes itself", in_project('["tester"]', '["tester", { include-group = "dev" }]'),
     "includes itself", ""),
    ("a poetry lock", files({"uv.lock": None, "poetry.lock": ""}), "poetry.lock cannot be read", "export it"),
]  # fmt: skip


@pytest.mark.parametrize(("modification", "text", "hint"), [row[1:] for row in ERRORS], ids=[row[0] for row in ERRORS])
def test_what_does_not_fit_is_an_error_that_names_the_repair(modification: Modification, text: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        lowered(modification(project()))
    assert text in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "modification",
    [
        in_project('sys_platform == "win32"', 'sys_platform == "win32" and python_version > "3"'),
        in_project("'backport ; python_version < \"3.11\"', ", ""),
        in_project('"fastmath"', '"FastMath"'),
        in_project('"webframe>=1"', '"webframe >= 1"'),
    ],
    ids=["another marker that never holds", "a requirement for other Pythons", "another spelling", "white space"],
)
def test_a_lock_is_not_stale_by_what_cannot_matter(modification: Modification) -> None:
    before = project()
    assert changes(before, modification(before)) == OWN


def test_the_wheel_with_the_best_tag_is_taken_per_platform() -> None:
    assert lowered(project()).wheels()["fastmath"] == "fastmath-2.0.0-cp311-cp311-manylinux_2_28_x86_64.whl"
    arm = replace(project(), platform="linux/arm64")
    assert lowered(arm).wheels()["fastmath"] == "fastmath-2.0.0-cp311-cp311-manylinux_2_28_aarch64.whl"
    musl = replace(project(), lock=ALPINE, bases=("python:3.11-alpine",))
    assert lowered(musl).wheels()["fastmath"] == "fastmath-2.0.0-cp311-cp311-musllinux_1_2_x86_64.whl"


def test_a_package_without_a_fitting_wheel_is_built_from_its_source_archive() -> None:
    given = project(PythonSpec(project=".", python="3.12"))
    outcome = lowered(given)
    assert "fastmath" not in outcome.wheels()
    listed = outcome.inline("app:sdists list")["archives.txt"].decode()
    assert listed.startswith("fastmath @ https://files.example/fastmath-2.0.0.tar.gz#sha256=")
    assert "no wheel fits Python 3.12, built from source: fastmath" in outcome.lowered.notes[0]
    assert outcome.step("app:sdists wheel").network == "host"


def test_a_pure_group_is_platform_free_and_a_native_one_is_not() -> None:
    outcome = lowered(project())
    assert outcome.vertex("app:pure").platform == "any"
    assert outcome.vertex("app:native").platform == "linux/amd64"


def test_the_layer_says_what_it_needs_of_its_base() -> None:
    needs = {(need.kind, need.value) for need in lowered(project()).lowered.requirements}
    assert needs == {("interpreter", "python 3.11 /usr/bin/python3.11"), ("glibc", "2.28")}


def test_the_binding_links_to_the_interpreter_and_holds_nothing_else() -> None:
    files_of_binding = lowered(project()).inline("app:venv")
    assert set(files_of_binding) == {"bin/python", "bin/python3", "bin/python3.11", "lib64", "pyvenv.cfg"}
    assert b"home = /usr/bin\n" in files_of_binding["pyvenv.cfg"]


def test_console_scripts_are_entry_points() -> None:
    assert lowered(project()).lowered.entrypoints == (("/opt/venv/bin/demo",),)


def test_a_project_is_built_without_network_by_its_locked_backend() -> None:
    step = lowered(project()).step("app:demo wheel")
    assert step.network == "none"
    assert {mount.target for mount in step.mounts if isinstance(mount, BindMount)} == {"/lamella/src", "/lamella/build"}
    assert step.commands[-1].argv[3] == "backend.api"


def test_a_project_whose_backend_is_not_locked_names_the_repair() -> None:
    with pytest.raises(UnlockedSetError, match="does not hold the build requirements of 'demo'") as caught:
        lower(project())
    assert caught.value.request.requirements == ("backend",)
    assert caught.value.request.layer == "app:build"


def test_a_layer_with_network_lets_the_build_fetch_its_backend() -> None:
    given = project()
    step = lower(replace(given, layer=replace(given.layer, network=True))).step("app:demo wheel")
    assert step.network == "host"
    assert step.commands[-1].argv[:4] == ("python3", "-m", "pip", "wheel")


def test_the_layer_names_its_requests_so_that_the_lock_keeps_them() -> None:
    outcome = lowered(project())
    assert len(cast("tuple[str, ...]", outcome.lowered.details["requests"])) == 1


def test_a_project_without_a_build_system_is_not_installed() -> None:
    plain = PROJECT["pyproject.toml"]
    assert isinstance(plain, str)
    without = plain.partition("[build-system]")[0]
    outcome = lowered(project(files={**PROJECT, "pyproject.toml": without}))
    assert not {"app:demo", "app:demo wheel"} & set(outcome.keys)
    assert outcome.lowered.entrypoints == ()
    assert "copy them with a files layer" in outcome.lowered.notes[0]


@pytest.mark.parametrize(("version", "said"), [("3.11\n", ""), ("3.12\n", "debian/bookworm has 3.11")])
def test_a_python_that_the_archive_does_not_have_is_said_in_the_plan(version: str, said: str) -> None:
    given = project(PythonSpec(project="."), {**PROJECT, ".python-version": version})
    notes = " ".join(lowered(given).lowered.notes)
    assert ("for Python 3.12, as .python-version says" in notes) == bool(said)
    assert said in notes


def test_two_forks_of_one_package_are_told_apart_by_their_markers() -> None:
    lock = PROJECT["uv.lock"]
    assert isinstance(lock, str)
    newer = lock.replace(
        '[[package]]\nname = "wincolor"',
        '[[package]]\nname = "webframe"\nversion = "0.9"\nsource = { registry = "https://index.example/simple" }\n'
        "resolution-markers = [\"python_full_version < '3.12'\"]\n"
        f'wheels = [{{ url = "https://files.example/{wheel("webframe", "0.9")}", hash = "sha256:{"a" * 64}" }}]\n'
        '\n[[package]]\nname = "wincolor"',
    ).replace(
        'version = "1.5"\nsource = { registry = "https://index.example/simple" }\n',
        'version = "1.5"\nsource = { registry = "https://index.example/simple" }\n'
        "resolution-markers = [\"python_full_version >= '3.12'\"]\n",
    )
    given = project(files={**PROJECT, "uv.lock": newer})
    assert lowered(given).wheels()["webframe"] == wheel("webframe", "0.9")
    later = given.with_spec(PythonSpec(project=".", python="3.13"))
    assert lowered(later).wheels()["webframe"] == wheel("webframe", "1.5")


def test_conflicting_extras_choose_their_own_versions() -> None:
    lock = PROJECT["uv.lock"]
    assert isinstance(lock, str)
    changed_lock = lock.replace(
        '    { name = "webframe" },\n',
        '    { name = "webframe" },\n'
        "    { name = \"tester\", marker = \"extra == 'extra-4-demo-ml' and sys_platform == 'linux'\" },\n"
        '    { name = "wincolor", marker = "extra != \'extra-4-demo-ml\'" },\n',
        1,
    )
    assert changed_lock != lock
    given = project(files={**PROJECT, "uv.lock": changed_lock})
    assert {"wincolor"} == {"wincolor", "tester"} & set(lowered(given).wheels())
    with_extra = given.with_spec(PythonSpec(project=".", python="3.11", extras=("ml",)))
    assert {"tester"} == {"wincolor", "tester"} & set(lowered(with_extra).wheels())


MEMBER = """\
[project]
name = "shared"
version = "0.1"
dependencies = []
[build-system]
requires = ["backend"]
"""
SERVICE = """\
[project]
name = "api"
version = "0.1"
dependencies = ["shared", "webframe"]
[build-system]
requires = ["backend"]
"""
WORKSPACE_LOCK = "\n".join(
    [
        "version = 1\n",
        package(
            "api",
            "0.1",
            dependencies=('name = "shared"', 'name = "webframe"'),
            source='editable = "services/api"',
            extra="""
[package.metadata]
requires-dist = [{ name = "shared", editable = "libs/shared" }, { name = "webframe" }]
""",
        ),
        package("shared", "0.1", source='editable = "libs/shared"'),
        package("webframe", "1.5", wheel("webframe", "1.5")),
    ]
)


def test_a_workspace_member_is_built_with_the_members_it_needs() -> None:
    given = project(
        PythonSpec(project="services/api", python="3.11"),
        {
            "uv.lock": WORKSPACE_LOCK,
            "libs/shared/pyproject.toml": MEMBER,
            "libs/shared/shared.py": "",
            "libs/other/other.py": "",
            "services/api/pyproject.toml": SERVICE,
            "services/api/api.py": "",
        },
    )
    assert {"app:api", "app:shared", "app:pure"} <= set(lowered(given).keys)
    assert changes(given, given.edited({"libs/other/other.py": "1"})) == set()
    assert changes(given, given.edited({"libs/shared/shared.py": "1"})) == {
        "app:shared source",
        "app:shared wheel",
        "app:shared",
    }
