"""Readers by themselves: requirement files, pylock.toml, wheel tags, groups of wheels, what detection finds."""

from __future__ import annotations

import pytest

from lamella.errors import ConfigError
from lamella.graph.op import Wheel
from lamella.project.spec import PythonSpec
from lamella.sources.wheel_tags import Target, is_pure, wheel_glibc
from lamella.stacks.python import PythonStack
from lamella.stacks.python.groups import HEAVY_BYTES, HEAVY_LAYERS, group_wheels
from lamella.stacks.python.requirements import read_requirements
from lamella.testing.tree import MemoryTree
from tests.unit.stacks.lowering import Files, lower
from tests.unit.stacks.python.samples import PROJECT, project, sha, wheel, with_backend

BAD_LINES = [
    ("webframe>>1", "requirements.txt:1"),
    ("--find-links ./wheels", "--find-links"),
    ("-r https://example.com/x.txt", "not in the project"),
    ("-r ../../x.txt", "outside the project"),
    ("-r gone.txt", "gone.txt is not there"),
    ("./wheels/x-1.0-py3-none-any.whl", "archives of the project"),
    ("https://example.com/x.zip", "needs a name"),
    ("--index-url https://${TOKEN}@x.example/simple", "${TOKEN} is taken from the environment"),
    ("webframe --config-settings a=b", "--config-settings"),
]


@pytest.mark.parametrize(("line", "text"), BAD_LINES)
def test_a_line_that_cannot_be_honoured_is_an_error_with_its_place(line: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_requirements(MemoryTree({"requirements.txt": line + "\n"}), ("requirements.txt",))
    assert text in f"{caught.value.problems[0].where}: {caught.value.message}"


def test_all_problems_of_all_files_come_in_one_error() -> None:
    tree = MemoryTree({"a.txt": "x>>1\n-r b.txt\n", "b.txt": "# fine\n\ny>>2\n"})
    with pytest.raises(ConfigError) as caught:
        read_requirements(tree, ("a.txt",))
    assert [problem.where for problem in caught.value.problems] == ["a.txt:1", "b.txt:3"]


def test_hashes_comments_and_continuations_are_read_as_pip_does() -> None:
    text = (
        "webframe==1.5 \\\n    --hash=sha256:AA \\\n    --hash=sha256:bb  # two files\n"
        "http-tool @ https://files.example/tool#frag-is-no-comment.zip\n"
        "git+https://code.example/x@abc#egg=thing\n"
    )
    lines = read_requirements(MemoryTree({"r.txt": text}), ("r.txt",)).lines
    assert lines[0].hashes == ("sha256:aa", "sha256:bb")
    assert [line.name for line in lines] == ["webframe", "http-tool", "thing"]


@pytest.mark.parametrize(("line", "folder"), [("-e ./libs/a", "libs/a"), ("-e ../libs/b[x]", "libs/b"), ("./c", "r/c")])
def test_a_folder_is_looked_for_from_the_root_and_then_beside_the_file(line: str, folder: str) -> None:
    tree = MemoryTree({"r/in.txt": line, **{f"{name}/pyproject.toml": "" for name in ("libs/a", "libs/b", "r/c")}})
    (found,) = read_requirements(tree, ("r/in.txt",)).lines
    assert found.local == folder


PYLOCK = f"""\
lock-version = "1.0"
created-by = "test"
requires-python = ">=3.11"
extras = ["ml"]
dependency-groups = ["dev"]
default-groups = ["main"]

[[packages]]
name = "webframe"
version = "1.5"
wheels = [{{ url = "https://files.example/{wheel("webframe", "1.5")}", hashes = {{ sha256 = "{sha("w")}" }} }}]

[[packages]]
name = "fastmath"
version = "2.0"
marker = "sys_platform == 'linux'"
wheels = [{{ name = "fastmath-2.0-cp311-cp311-manylinux_2_28_x86_64.whl", url = "https://files.example/f", hashes = {{ sha256 = "{sha("f")}" }} }}]

[[packages]]
name = "torch"
version = "2.5"
marker = "'ml' in extras"
wheels = [{{ url = "https://files.example/torch-2.5-py3-none-any.whl", hashes = {{ sha256 = "{sha("t")}" }} }}]

[[packages]]
name = "tester"
version = "9"
marker = "'dev' in dependency_groups"
wheels = [{{ url = "https://files.example/tester-9-py3-none-any.whl", hashes = {{ sha256 = "{sha("x")}" }} }}]

[[packages]]
name = "sourced"
version = "1.0"
sdist = {{ url = "https://files.example/sourced-1.0.tar.gz", hashes = {{ sha256 = "{sha("s")}" }} }}
"""  # noqa: E501


def exported(text: str = PYLOCK, **spec: object) -> Files:
    """The wheels that a layer takes of a pylock.toml."""
    files: Files = {**PROJECT, "pylock.toml": text}
    del files["uv.lock"]
    kind = PythonSpec(project=".", python="3.11", **spec)  # type: ignore[arg-type]
    outcome = lower(with_backend(project(kind, files)))
    return dict(outcome.wheels().items()) | {
        path: data for path, data in outcome.inline("app:sdists list").items() if path == "archives.txt"
    }


def test_a_pylock_names_wheels_and_source_archives() -> None:
    found = exported()
    assert (
        found.pop("archives.txt") == f"sourced @ https://files.example/sourced-1.0.tar.gz#sha256={sha('s')}\n".encode()
    )
    assert set(found) == {"backend", "webframe", "fastmath"}


def test_extras_and_groups_of_a_pylock_are_switched_on_by_name() -> None:
    assert "torch" in exported(extras=("ml",))
    assert "tester" in exported(groups=("dev",))


@pytest.mark.parametrize(
    ("before", "after", "spec", "text"),
    [
        ('"1.0"\ncreated', '"2.0"\ncreated', {}, "lock-version '2.0'"),
        ('extras = ["ml"]', "extras = []", {"extras": ("ml",)}, "without extra 'ml'"),
        ('name = "torch"\nversion = "2.5"\nmarker = "\'ml\' in extras"', 'name = "webframe"\nversion = "2"', {},
         "locked twice"),
        ('version = "1.5"', 'version = "0.5"', {}, "stale"),
        (f'sha256 = "{sha("w")}"', 'md5 = "abc"', {}, "has no sha256"),
        ('name = "fastmath"\n', "", {}, "missing key 'name'"),
    ],
)  # fmt: skip
def test_a_pylock_that_does_not_fit_is_an_error(before: str, after: str, spec: dict[str, object], text: str) -> None:
    assert before in PYLOCK
    with pytest.raises(ConfigError) as caught:
        exported(PYLOCK.replace(before, after), **spec)
    assert text in caught.value.message


WHEELS = [
    ("x-1-py3-none-any.whl", True, (0, 0)),
    ("x-1-cp311-cp311-manylinux_2_28_x86_64.whl", False, (2, 28)),
    ("x-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", False, (2, 17)),
    ("x-1-cp311-cp311-manylinux1_x86_64.manylinux_2_28_x86_64.manylinux_2_5_x86_64.whl", False, (2, 5)),
    ("x-1-cp311-cp311-musllinux_1_2_x86_64.whl", False, (0, 0)),
]


@pytest.mark.parametrize(("filename", "pure", "glibc"), WHEELS)
def test_what_a_file_name_says_of_a_wheel(filename: str, pure: bool, glibc: tuple[int, int]) -> None:
    assert is_pure(filename) is pure
    assert wheel_glibc(filename) == glibc


CHOICES = [
    (("x-1-py3-none-any.whl", "x-1-cp311-cp311-manylinux_2_28_x86_64.whl"), 1),
    (("x-1-cp311-abi3-manylinux_2_28_x86_64.whl", "x-1-cp38-abi3-manylinux_2_34_x86_64.whl"), 0),
    (("x-1-cp311-cp311-manylinux_2_17_x86_64.whl", "x-1-cp311-cp311-manylinux_2_34_x86_64.whl"), 1),
    (("x-1-1-py3-none-any.whl", "x-1-2-py3-none-any.whl"), 1),
    (("x-1-cp311-cp311-manylinux_2_38_x86_64.whl",), None),
    (("x-1-cp310-cp310-manylinux_2_28_x86_64.whl",), None),
    (("x-1-cp313-cp313t-manylinux_2_28_x86_64.whl",), None),
    (("not a wheel", "x-1-py3-none-any.whl"), 1),
]


@pytest.mark.parametrize(("filenames", "expected"), CHOICES)
def test_the_wheel_that_an_installer_takes(filenames: tuple[str, ...], expected: int | None) -> None:
    target = Target("3.11", "linux/amd64")
    assert target.best(filenames) == (None if expected is None else filenames[expected])


def test_markers_see_the_target_and_not_this_machine() -> None:
    arm = Target("3.12", "linux/arm64")
    assert arm.matches("platform_machine == 'aarch64' and python_version == '3.12' and sys_platform == 'linux'")
    assert not arm.matches("extra == 'a'")
    assert arm.matches("extra == 'a' and extra == 'b'", ("a", "b"))
    assert arm.matches("extra != 'c'", ("a", "b"))
    with pytest.raises(ValueError, match="marker"):
        arm.matches("no marker")


def sized(name: str, size: int, *, native: bool = False) -> Wheel:
    tag = "cp311-cp311-manylinux_2_28_x86_64" if native else "py3-none-any"
    return Wheel(name, "1", f"{name}-1-{tag}.whl", "0" * 64, "", size)


def test_heavy_wheels_have_layers_of_their_own_and_the_rest_shares_two() -> None:
    wheels = (sized("big", HEAVY_BYTES, native=True), sized("a", 10), sized("b", 10, native=True), sized("c", 10))
    assert [(group.name, [wheel.name for wheel in group.wheels], group.pure) for group in group_wheels(wheels)] == [
        ("big", ["big"], False),
        ("native", ["b"], False),
        ("pure", ["a", "c"], True),
    ]


def test_the_number_of_layers_is_bounded_and_the_order_of_the_lock_does_not_matter() -> None:
    wheels = tuple(sized(f"big{number:02}", HEAVY_BYTES + number, native=True) for number in range(12))
    groups = group_wheels(wheels)
    assert len(groups) == HEAVY_LAYERS
    assert len(groups[-1].wheels) == 12 - (HEAVY_LAYERS - 1)
    assert group_wheels(tuple(reversed(wheels))) == groups


def test_a_lock_without_sizes_knows_heavy_wheels_by_name() -> None:
    wheels = (sized("torch", 0, native=True), sized("nvidia-cublas-cu12", 0), sized("torchmetrics", 0))
    assert [group.name for group in group_wheels(wheels)] == ["nvidia-cublas-cu12", "torch", "pure"]


APP = 'from fastapi import FastAPI\n\napp = FastAPI()\n\n\n@app.get("/healthz")\ndef health(): ...\n'
DETECTED: list[tuple[str, Files, tuple[str, ...], str]] = [
    ("a FastAPI file", {"requirements.txt": "fastapi\nuvicorn\n", "main.py": APP},
     ("/opt/venv/bin/uvicorn", "main:app"), "/healthz"),
    ("a package of modules", {"requirements.txt": "fastapi\nuvicorn\n", "app/__init__.py": "", "app/main.py": APP},
     ("/opt/venv/bin/uvicorn", "app.main:app"), "/healthz"),
    ("Flask with gunicorn", {"requirements.txt": "flask\ngunicorn\n",
     "server.py": "import flask\nweb = flask.Flask('x')\n"},
     ("/opt/venv/bin/gunicorn", "server:web"), ""),
    ("Flask alone", {"requirements.txt": "flask\n", "app.py": "import flask\napp = flask.Flask(__name__)\n"},
     ("/opt/venv/bin/flask", "app:app"), ""),
    ("a Procfile", {"requirements.txt": "flask\ngunicorn\n", "Procfile": "web: flask db upgrade; gunicorn shop:app\n"},
     ("/opt/venv/bin/gunicorn", "0.0.0.0:8000", "shop:app"), ""),
    ("a console script", {**PROJECT}, ("/opt/venv/bin/demo",), ""),
    ("a plain program", {"requirements.txt": "click\n", "tool.py": 'if __name__ == "__main__":\n    print()\n'},
     ("/opt/venv/bin/python", "/app/tool.py"), ""),
]  # fmt: skip


@pytest.mark.parametrize(("files", "words", "health"), [row[1:] for row in DETECTED], ids=[row[0] for row in DETECTED])
def test_the_way_a_program_starts_is_found(files: Files, words: tuple[str, ...], health: str) -> None:
    (found,) = PythonStack().detect(MemoryTree(files))
    assert set(words) <= set(found.entrypoint)
    assert found.health == health
    assert found.why["entrypoint"]


def test_a_project_without_a_build_system_gets_its_files_copied() -> None:
    (found,) = PythonStack().detect(
        MemoryTree({"requirements.txt": "fastapi\n", "app/main.py": APP, "static/x.css": ""})
    )
    assert found.in_image == ("deps", "app")
    assert 'from = "app", to = "/app/app"' in found.layers[1].lines[0]
    assert 'from = "static"' in found.layers[1].lines[0]


def test_several_projects_have_layers_of_different_names() -> None:
    found = PythonStack().detect(
        MemoryTree({"a/requirements.txt": "x\n", "a/main.py": APP, "b/requirements.txt": "y\n", "b/main.py": APP})
    )
    names = [layer.name for detection in found for layer in detection.layers]
    assert names == ["a-deps", "a", "b-deps", "b"]


def test_a_broken_file_in_one_folder_does_not_hide_the_others() -> None:
    found = PythonStack().detect(MemoryTree({"a/pyproject.toml": "[", "b/requirements.txt": "x\n"}))
    assert [detection.directory for detection in found] == ["b"]
