"""Layers of requirement files: what asks the resolver anew, what cannot matter, what stands on another layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from lamella.errors import ConfigError
from lamella.project.spec import IndexSpec, LayerSpec, PythonSpec
from lamella.sources.wheel_request import NamedIndex, ResolveRequest
from lamella.stacks.python import PythonStack
from lamella.stacks.python.locked import UnlockedSetError
from tests.unit.stacks.lowering import Files, Given, changed, lower
from tests.unit.stacks.python.samples import locked, requirements, sha, wheel, with_backend

FILES: Files = {
    "requirements.txt": "-r requirements/web.txt\n-r requirements/data.txt\n-c requirements/limits.txt\n",
    "requirements/web.txt": "# the server\nwebframe>=1\nshared-kit >= 2  # both need it\n",
    "requirements/data.txt": "shared_kit<4\nfastmath ; python_version >= '3.8'\nwincolor ; sys_platform == 'win32'\n",
    "requirements/limits.txt": "fastmath<3\n",
}
WHEELS = (
    wheel("webframe", "1.5"),
    wheel("shared-kit", "3.1"),
    "fastmath-2.0.0-cp311-cp311-manylinux_2_28_x86_64.whl",
)

Modification = Callable[[Given], Given]


def base() -> Given:
    return locked(requirements(FILES), *WHEELS)


def request(given: Given) -> ResolveRequest:
    """What the layer would ask the resolver."""
    with pytest.raises(UnlockedSetError) as caught:
        lower(replace(given, lock=replace(given.lock, python=())))
    return caught.value.request


def text(path: str, content: str) -> Modification:
    return lambda given: given.edited({path: content})


SAME: list[tuple[str, Modification]] = [
    ("a comment", text("requirements/web.txt", "# other words\nwebframe>=1\n\n\nshared-kit >= 2\n")),
    ("order", text("requirements/web.txt", "shared-kit>=2\nwebframe>=1\n")),
    ("a duplicate line", text("requirements/web.txt", "webframe>=1\nwebframe>=1\nshared-kit>=2\n")),
    ("another spelling of a name", text("requirements/web.txt", "WebFrame>=1\nShared_Kit>=2\n")),
    ("a continuation line", text("requirements/web.txt", "webframe \\\n  >=1\nshared-kit \\\n>=2\n")),
    ("a byte-order mark and CRLF", text("requirements/web.txt", "\ufeffwebframe>=1\r\nshared-kit>=2\r\n")),
    ("another include order", text("requirements.txt",
     "-c requirements/limits.txt\n-r requirements/data.txt\n--requirement=requirements/web.txt\n")),
    ("a file that includes itself", text("requirements/limits.txt", "-c limits.txt\nfastmath<3\n")),
    ("a line for another platform", text("requirements/web.txt",
     "webframe>=1\nshared-kit>=2\nextra-thing ; sys_platform == 'darwin'\n")),
    ("a constraint for another Python", text("requirements/limits.txt",
     "fastmath<3\nwebframe<1.2;python_version<'3.9'\n")),
    ("options of the installer alone", text("requirements/limits.txt",
     "--require-hashes\n--prefer-binary\nfastmath<3\n")),
    ("a file nobody includes", text("requirements/dev.txt", "tester\n")),
    ("an unrelated source file", text("app.py", "print()\n")),
]  # fmt: skip


@pytest.mark.parametrize("modification", [row[1] for row in SAME], ids=[row[0] for row in SAME])
def test_what_cannot_matter_changes_nothing(modification: Modification) -> None:
    before = base()
    assert changed(before, modification(before)) == set()


STALE: list[tuple[str, Modification]] = [
    ("a new requirement", text("requirements/web.txt", "webframe>=1\nshared-kit>=2\nextra-thing\n")),
    ("another range", text("requirements/web.txt", "webframe>=2\nshared-kit>=2\n")),
    ("another constraint", text("requirements/limits.txt", "fastmath<2\n")),
    ("a new constraint of a package nobody asked for", text("requirements/limits.txt", "fastmath<3\ntyping-kit<5\n")),
    ("an extra", text("requirements/web.txt", "webframe[fast]>=1\nshared-kit>=2\n")),
    ("a requirement less", text("requirements/web.txt", "webframe>=1\n")),
    ("an index", text("requirements/limits.txt", "--extra-index-url https://more.example/simple\nfastmath<3\n")),
    ("pre-releases", text("requirements/limits.txt", "--pre\nfastmath<3\n")),
    ("another Python", lambda given: given.with_spec(PythonSpec(requirements=("requirements.txt",), python="3.12"))),
    ("another platform", lambda given: replace(given, platform="linux/arm64")),
    ("a base with an older C library", lambda given: replace(given, bases=("debian/bullseye",))),
    ("a package left out", lambda given: given.with_spec(
        PythonSpec(requirements=("requirements.txt",), python="3.11", exclude=("webframe",)))),
    ("an index bound to a name", lambda given: given.with_spec(
        PythonSpec(requirements=("requirements.txt",), python="3.11",
                   indexes=(IndexSpec("https://wheels.example/cpu", ("torch",)),)))),
]  # fmt: skip


@pytest.mark.parametrize("modification", [row[1] for row in STALE], ids=[row[0] for row in STALE])
def test_what_matters_makes_the_lock_stale(modification: Modification) -> None:
    with pytest.raises(UnlockedSetError) as caught:
        lower(modification(base()))
    assert "stale" in caught.value.message
    assert caught.value.hint == "run: lamella lock"
    assert caught.value.exit_code == 2


def test_a_layer_that_was_never_locked_says_so_and_carries_the_question() -> None:
    with pytest.raises(UnlockedSetError, match="does not hold its packages") as caught:
        lower(requirements(FILES))
    assert caught.value.request == request(base())


def test_one_package_with_constraints_in_several_files_asks_for_all_of_them() -> None:
    asked = request(requirements(FILES))
    assert asked.requirements == ('fastmath ; python_version >= "3.8"', "shared-kit<4", "shared-kit>=2", "webframe>=1")
    assert asked.constraints == ("fastmath<3",)
    assert (asked.python, asked.platform, asked.libc) == ("3.11", "linux/amd64", "manylinux_2_36")


def test_indexes_of_the_layer_are_bound_and_those_of_files_are_not() -> None:
    files = {
        **FILES,
        "requirements/web.txt": "-i https://own.example/simple\n--extra-index-url=https://more.example/s\nx\n",
    }
    asked = request(requirements(files, indexes=(IndexSpec("https://wheels.example/cpu", ("Torch", "torch_vision")),)))
    assert asked.default_index == "https://own.example/simple"
    assert asked.indexes == (
        NamedIndex("https://wheels.example/cpu", ("torch", "torch-vision")),
        NamedIndex("https://more.example/s"),
    )


def test_a_folder_among_the_requirements_is_built_and_what_it_needs_is_asked_for() -> None:
    package = (
        '[project]\nname = "helper"\nversion = "1"\ndependencies = ["typing-kit"]\n'
        '[build-system]\nrequires = ["backend"]\nbuild-backend = "backend"\n'
    )
    files = {**FILES, "requirements/web.txt": "-e ../libs/helper\n", "libs/helper/pyproject.toml": package}
    assert "typing-kit" in request(requirements(files)).requirements
    outcome = lower(with_backend(locked(requirements(files), wheel("typing-kit", "4.0"))))
    assert {"app:helper", "app:helper wheel"} <= set(outcome.keys)


def test_a_source_archive_of_the_lock_is_built_with_its_hash() -> None:
    outcome = lower(locked(requirements(FILES), "oldlib-1.0.tar.gz"))
    listed = outcome.inline("app:sdists list")["archives.txt"].decode()
    assert listed == f"oldlib==1.0 --hash=sha256:{sha('oldlib-1.0.tar.gz')}\n"


def test_a_commit_is_built_in_a_step_and_a_branch_is_refused() -> None:
    commit = "4" * 40
    files: Files = {"requirements.txt": f"tool @ git+https://code.example/tool@{commit}\nwebframe\n"}
    outcome = lower(locked(requirements(files), wheel("webframe", "1.5")))
    assert commit in outcome.inline("app:sdists list")["commits.txt"].decode()
    with pytest.raises(ConfigError, match="branch or tag") as caught:
        lower(requirements({"requirements.txt": "git+https://code.example/tool@main#egg=tool\n"}))
    assert "commit" in caught.value.hint


PINS = f"webframe==1.5 --hash=sha256:{sha(wheel('webframe', '1.5'))}\nshared-kit==3.1 --hash=sha256:{'0' * 64}\n"


def test_a_pinned_file_with_hashes_decides_versions_and_files() -> None:
    files: Files = {"requirements.txt": "webframe\n", "lock/amd64.txt": PINS}
    asked = request(requirements(files, lock="lock/amd64.txt"))
    assert asked.constraints == ("shared-kit==3.1", "webframe==1.5")
    assert ("webframe", f"sha256:{sha(wheel('webframe', '1.5'))}") in asked.hashes


@pytest.mark.parametrize(
    ("content", "text_of_error"),
    [
        (None, "is not there"),
        ("webframe>=1\n", "is no lock"),
        ("webframe==1.5\n", "is no lock"),
        (PINS.replace("webframe==1.5", "webframe==0.9"), "stale"),
        (PINS.replace("webframe", "other"), "stale"),
    ],
    ids=["missing", "ranges", "no hashes", "another version", "a requirement is missing"],
)
def test_a_pinned_file_that_does_not_fit_is_an_error(content: str | None, text_of_error: str) -> None:
    files: Files = {"requirements.txt": "webframe>=1\n"}
    given = requirements(files, lock="lock/amd64.txt")
    with pytest.raises(ConfigError, match=text_of_error):
        lower(given.edited({"lock/amd64.txt": content}))


def above(files: Files, *own: str, below_wheels: tuple[str, ...] = WHEELS) -> Given:
    """A layer ``deps`` above a locked layer ``app``."""
    below = locked(requirements({**FILES, **files}), *below_wheels)
    spec = PythonSpec(requirements=("deps.txt",), above="app")
    given = Given(PythonStack(), below.files, LayerSpec("deps", spec, to="/opt/venv"), below.lock, bases=below.bases)
    given = replace(given, below=below)
    return locked(given, *own, layer="deps") if own else given


def test_a_layer_above_asks_with_the_layer_below_as_constraints() -> None:
    with pytest.raises(UnlockedSetError) as caught:
        lower(above({"deps.txt": "webframe\nclient\n"}))
    assert {"fastmath==2.0.0", "shared-kit==3.1", "webframe==1.5"} <= set(caught.value.request.constraints)
    assert caught.value.request.python == "3.11"


def test_a_layer_above_installs_only_what_the_other_lacks_and_binds_nothing() -> None:
    outcome = lower(above({"deps.txt": "webframe\nclient\n"}, wheel("webframe", "1.5"), wheel("client", "1.0")))
    assert outcome.groups()["deps:pure"] == ("client",)
    assert "deps:venv" not in outcome.keys
    assert [placement.name for placement in outcome.lowered.placements] == ["deps:pure"]


def test_two_versions_of_one_package_in_one_environment_are_an_error_with_both() -> None:
    with pytest.raises(ConfigError) as caught:
        lower(above({"deps.txt": "webframe\n"}, wheel("webframe", "1.6")))
    assert "webframe 1.6" in caught.value.message
    assert "'app' below it has 1.5" in caught.value.message


def test_a_request_has_the_same_digest_for_every_layer_that_asks_it() -> None:
    asked = request(requirements(FILES))
    assert replace(asked, layer="other").digest == asked.digest
    assert replace(asked, python="3.12").digest != asked.digest
