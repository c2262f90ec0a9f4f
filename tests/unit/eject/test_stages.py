"""Equal stages are one; names say what tells the others apart."""

from __future__ import annotations

from lamella.canonical import FrozenMap
from lamella.eject.dockerfile_text import stage_lines
from lamella.eject.stages import Stages, needed_stages, unified
from lamella.eject.values import ArchSwitch, Arg, Copy, Mount, Run, Stage, Workdir


def cell(**axes: str) -> FrozenMap[str, str]:
    return FrozenMap(axes)


def names(stages: Stages, *targets: int, images: dict[int, str] | None = None) -> dict[int, str]:
    return stages.names(needed_stages(stages, targets), images or {})


def test_an_equal_stage_is_the_same_whatever_its_remark() -> None:
    stages = Stages()
    first = stages.add("base", Stage("debian", remark="one"), cell(profile="dev"))
    assert stages.add("base", Stage("debian", remark="two"), cell(profile="prod")) == first
    assert names(stages, first) == {first: "base"}


def test_a_stage_of_some_cells_is_named_after_them() -> None:
    stages = Stages()
    found = [
        stages.add("app", Stage("a", (Arg(profile), Arg(gpu))), cell(gpu=gpu, profile=profile, arch="amd64"))
        for profile in ("dev", "prod")
        for gpu in ("cpu", "cuda")
    ]
    assert list(names(stages, *found).values()) == ["app-cpu-dev", "app-cuda-dev", "app-cpu-prod", "app-cuda-prod"]


def test_only_what_tells_stages_apart_is_in_their_names() -> None:
    stages = Stages()
    shared = stages.add("base", Stage("a"), cell(gpu="cpu", arch="amd64"))
    stages.add("base", Stage("a"), cell(gpu="rocm", arch="arm64"))
    cuda = stages.add("base", Stage("b"), cell(gpu="cuda", arch="amd64"))
    assert names(stages, shared, cuda) == {shared: "base", cuda: "base-cuda"}


def test_names_that_nothing_tells_apart_are_numbered() -> None:
    stages = Stages()
    found = [stages.add("uv", Stage(base), cell(profile="dev")) for base in ("a", "b")]
    assert list(names(stages, *found).values()) == ["uv", "uv-2"]


def test_a_layer_steps_back_for_an_image_of_its_name() -> None:
    stages = Stages()
    layer = stages.add("base", Stage("debian"), cell())
    image = stages.add("base", Stage(layer, (Workdir("/a"),)), cell())
    assert names(stages, image, images={image: "base"}) == {layer: "base-layer", image: "base"}


def test_names_are_ones_that_buildkit_takes() -> None:
    stages = Stages()
    found = [stages.add(hint, Stage(hint), cell()) for hint in ("My Layer", "9lives", "scratch", "é", "context")]
    assert list(names(stages, *found).values()) == ["my-layer", "lives", "scratch-stage", "stage", "context-stage"]


def test_what_a_stage_uses_comes_before_it() -> None:
    stages = Stages()
    base = stages.add("base", Stage("debian"), cell())
    tool = stages.add("tool", Stage("golang"), cell())
    data = stages.add("data", Stage("alpine"), cell())
    stages.add("unused", Stage("busybox"), cell())
    mount = Mount((("type", "bind"), ("target", "/d")), data)
    app = stages.add("app", Stage(base, (Copy(("/a",), "/a", tool), Run((("x",),), (mount,)))), cell())
    assert needed_stages(stages, [app]) == (base, tool, data, app)


def test_architectures_that_differ_in_one_stage_share_the_rest() -> None:
    stages = Stages()
    base = stages.add("base", Stage("debian"), cell())
    bodies = {}
    for arch in ("amd64", "arm64"):
        tool = stages.add("tool", Stage("x", (Arg(arch),)), cell(arch=arch))
        bodies[arch] = Stage(base, (Copy(("/t",), "/t", tool), Workdir("/w")))
    one = unified(stages, bodies, cell())
    assert one is not None
    image = stages.add("app", one, cell())
    found = names(stages, image, images={image: "app"})
    assert set(found.values()) == {"base", "tool-amd64", "tool-arm64", "tool", "app"}
    switch = next(number for number, name in found.items() if name == "tool")
    assert isinstance(stages.bodies[switch].base, ArchSwitch)
    assert stage_lines(stages.bodies[switch], "tool", found)[-1] == "FROM tool-${TARGETARCH} AS tool"


def test_architectures_that_differ_elsewhere_stay_apart() -> None:
    stages = Stages()
    assert (
        unified(stages, {"amd64": Stage("a", (Workdir("/a"),)), "arm64": Stage("a", (Workdir("/b"),))}, cell()) is None
    )
    assert unified(stages, {"amd64": Stage("a"), "arm64": Stage("a", (Workdir("/b"),))}, cell()) is None


def test_a_stage_that_two_switches_choose_gets_a_second_name() -> None:
    stages = Stages()
    shared = stages.add("t", Stage("a"), cell(gpu="cpu", arch="amd64"))
    cpu = stages.switch(
        "t", {"amd64": shared, "arm64": stages.add("t", Stage("b"), cell(arch="arm64"))}, cell(gpu="cpu")
    )
    cuda = stages.switch(
        "t", {"amd64": shared, "arm64": stages.add("t", Stage("c"), cell(arch="arm64"))}, cell(gpu="cuda")
    )
    found = names(stages, cpu, cuda)
    assert len(set(found.values())) == len(found)
    for number in (cpu, cuda):
        lines = [line for line in stage_lines(stages.bodies[number], found[number], found) if line.startswith("FROM")]
        made = {line.rpartition(" AS ")[2] for line in lines} | set(found.values())
        assert {f"{found[number]}-amd64", f"{found[number]}-arm64"} <= made


def test_a_first_part_is_joined_where_one_stage_alone_builds_on_it() -> None:
    stages = Stages()
    part = stages.add_first_part("src", Stage("rust", (Workdir("/s"),)), cell())
    only = stages.add("build", Stage(part, (Arg("A"),)), cell())
    stages.fold([only])
    assert stages.bodies[only] == Stage("rust", (Workdir("/s"), Arg("A")))
    assert needed_stages(stages, [only]) == (only,)


def test_a_first_part_stays_where_two_stages_build_on_it() -> None:
    stages = Stages()
    part = stages.add_first_part("src", Stage("rust", (Workdir("/s"),)), cell())
    both = [stages.add("build", Stage(part, (Arg(name),)), cell(profile=name)) for name in ("dev", "prod")]
    stages.fold(both)
    assert needed_stages(stages, both) == (part, *both)
