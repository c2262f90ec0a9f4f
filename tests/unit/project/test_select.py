"""Which cells a command means."""

from __future__ import annotations

import pytest

from lamella.errors import ConfigError
from lamella.project.cells import ImageCell
from lamella.project.select import select_cells
from tests.unit.project.project_files import HEAD, IMAGE, example, load

ARM = "linux/arm64"


def short(cells: tuple[ImageCell, ...]) -> list[str]:
    """``image value/value/...`` without the operating system."""
    return [f"{item.image} {' '.join(value.removeprefix('linux/') for _, value in item.cell)}" for item in cells]


def test_a_bare_command_takes_each_image_in_its_default_cell() -> None:
    assert short(select_cells(example("B"))) == [
        "desk cpu dev amd64",
        "multi-tenant cpu dev amd64",
        "app-binary cpu dev amd64",
    ]
    assert short(select_cells(example("B"), host=ARM))[0] == "desk cpu dev arm64"


def test_a_default_cell_that_is_not_legal_becomes_the_first_legal_one() -> None:
    assert short(select_cells(example("E"))) == ["base ubuntu prod amd64", "forge ubuntu dev amd64"]
    text = HEAD + '[axes]\na = ["x", "y", "z"]\nplatform = ["linux/amd64", "linux/arm64"]\n' + IMAGE
    text += 'tags = ["{a}"]\n[cells]\nexclude = [{ a = ["x", "y"], platform = "linux/arm64" }]\n'
    project = load(text.replace('tags = ["{a}"]\n', "").replace('["base"]\n', '["base"]\ntags = ["{a}"]\n'))
    assert short(select_cells(project, host=ARM)) == ["web x dev amd64"]
    assert short(select_cells(project, platforms=[ARM])) == ["web z dev arm64"]


def test_a_machine_that_the_project_does_not_name_takes_the_first_platform() -> None:
    assert short(select_cells(example("A"), host="linux/riscv64")) == ["desk cpu dev amd64"]


def test_a_project_without_platforms_takes_this_machines_or_the_one_asked_for() -> None:
    project = load(HEAD + IMAGE)
    assert short(select_cells(project, host=ARM)) == ["web dev arm64"]
    both = select_cells(project, platforms=["arm64", "amd64"], host="linux/amd64")
    assert short(both) == ["web dev arm64", "web dev amd64"]


def test_options_fix_axes_and_leave_the_others_at_their_default() -> None:
    project = example("A")
    assert short(select_cells(project, profile="prod")) == ["desk cpu prod amd64"]
    assert short(select_cells(project, only={"accelerator": ["rocm", "cpu"]})) == [
        "desk rocm dev amd64",
        "desk cpu dev amd64",
    ]
    assert short(
        select_cells(project, only={"profile": ["dev", "prod"]}, platforms=["linux/amd64", "linux/arm64"])
    ) == [
        "desk cpu dev amd64",
        "desk cpu dev arm64",
        "desk cpu prod amd64",
        "desk cpu prod arm64",
    ]


def test_combinations_that_do_not_exist_are_left_out() -> None:
    project = example("A")
    found = select_cells(project, only={"accelerator": ["cpu", "cuda"]}, platforms=[ARM])
    assert short(found) == ["desk cpu dev arm64"]


def test_all_takes_every_legal_cell_within_the_options() -> None:
    assert [len(select_cells(example(letter), all=True)) for letter in "ABCDE"] == [10, 26, 4, 24, 18]
    assert short(select_cells(example("D"), ["app"], profile="prod", all=True)) == [
        "app cpu prod amd64",
        "app cpu prod arm64",
        "app cuda prod amd64",
        "app rocm prod amd64",
    ]


def test_images_come_in_the_order_asked_for_and_once() -> None:
    assert short(select_cells(example("C"), ["ui", "api", "ui"])) == ["ui dev amd64", "api dev amd64"]


def test_allowed_failures_are_marked() -> None:
    marked = [str(cell) for cell in select_cells(example("D"), all=True) if cell.allow_failure]
    assert len(marked) == 6
    assert all("accelerator=rocm" in text for text in marked)


def test_images_that_were_not_asked_for_may_have_no_such_cell() -> None:
    assert short(select_cells(example("B"), only={"accelerator": ["cuda"]})) == ["desk cuda dev amd64"]


@pytest.mark.parametrize(
    ("letter", "images", "only", "platforms", "message", "hint"),
    [
        ("B", ["dsek"], {}, [], "there is no image 'dsek' in B-variants.toml", "did you mean 'desk'?"),
        ("B", [], {"acceleratr": ["cpu"]}, [], "there is no axis 'acceleratr'", "did you mean 'accelerator'?"),
        ("B", [], {"accelerator": ["cdua"]}, [], "axis accelerator has no value 'cdua'", "did you mean 'cuda'?"),
        ("B", [], {"profile": ["test"]}, [], "axis profile has no value 'test'", "known: dev, prod"),
        ("B", [], {}, ["linux/s390x"], "axis platform has no value 'linux/s390x'", "known: linux/amd64, linux/arm64"),
        ("B", [], {}, ["a/b/c/d"], "platform 'a/b/c/d' is not of the form", "write linux/amd64"),
        (
            "B",
            ["multi-tenant"],
            {"accelerator": ["cuda"]},
            [],
            "image multi-tenant has no cell with accelerator=cuda",
            "multi-tenant has accelerator=cpu",
        ),
        (
            "B",
            [],
            {"accelerator": ["cuda"]},
            [ARM],
            "no image has a cell with accelerator=cuda platform=linux/arm64",
            "look at axes",
        ),
    ],
)
def test_what_cannot_be_selected(
    letter: str, images: list[str], only: dict[str, list[str]], platforms: list[str], message: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        select_cells(example(letter), images, only=only, platforms=platforms)
    assert str(caught.value).startswith(message)
    assert caught.value.hint.startswith(hint)


def test_a_project_without_images_has_no_cells() -> None:
    assert select_cells(load(HEAD)) == ()
