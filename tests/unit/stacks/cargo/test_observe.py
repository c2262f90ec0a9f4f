"""The verdict over a step, from messages as Cargo prints them."""

from __future__ import annotations

import json

from lamella.canonical import FrozenMap
from lamella.stacks.base import Observation, StepOutputs
from lamella.stacks.cargo import CargoStack
from lamella.stacks.cargo.observe import parse_messages

REGISTRY = "registry+https://registry.example/index"
BINARY = "/lamella/target/debug/app"


def artifact(package: str, *, fresh: bool, kind: str = "lib", executable: str | None = None) -> str:
    name = package.rsplit("/", 1)[-1].split("#", maxsplit=1)[0]
    return json.dumps(
        {
            "reason": "compiler-artifact",
            "package_id": package,
            "target": {"kind": [kind], "name": name},
            "features": ["default"],
            "executable": executable,
            "fresh": fresh,
        },
        separators=(",", ":"),
    )


def third(name: str, *, fresh: bool) -> str:
    return artifact(f"{REGISTRY}#{name}@1.0.0", fresh=fresh)


def app(*, fresh: bool = False, executable: str | None = BINARY) -> str:
    return artifact("path+file:///lamella/src/app#0.1.0", fresh=fresh, kind="bin", executable=executable)


def seen(*lines: str, step: str = "build", kept: str = "") -> Observation:
    observed = FrozenMap({"step": step, "kept": kept, "binary": BINARY if step == "build" else ""})
    return CargoStack().observe(StepOutputs({"cargo": "\n".join(lines).encode()}, None, observed))


def test_a_good_final_step() -> None:
    found = seen(third("itoa", fresh=True), app())
    assert (found.integrity, found.warnings) == ((), ())
    assert found.evidence.numbers == FrozenMap({"compiled_third_party": 0, "fresh_third_party": 1, "compiled_own": 1})
    assert found.evidence.lines == ("third-party: 0 compiled, 1 reused; own: 1 compiled",)


def test_the_dependency_step_counts_and_judges_nothing() -> None:
    found = seen(third("itoa", fresh=False), third("log", fresh=True), app(fresh=True), step="deps")
    assert (found.integrity, found.warnings) == ((), ())
    assert found.evidence.numbers == FrozenMap({"compiled_third_party": 1, "fresh_third_party": 1, "compiled_own": 0})


def test_an_own_package_that_cargo_calls_fresh_is_an_integrity_finding() -> None:
    own = artifact("path+file:///lamella/src/lib#shop-core@0.1.0", fresh=True)
    found = seen(own, app())
    assert found.integrity == ("Cargo called shop-core 0.1.0 (lib) fresh although its sources were staged anew",)


def test_the_older_form_of_package_ids_is_understood() -> None:
    own = artifact("shop-core 0.1.0 (path+file:///lamella/src/lib)", fresh=True)
    other = artifact(f"itoa 1.0.0 ({REGISTRY})", fresh=False)
    found = seen(own, other, third("log", fresh=True), app())
    assert "shop-core 0.1.0" in found.integrity[0]
    assert "itoa 1.0.0" in found.warnings[0]


def test_a_kept_path_package_is_third_party() -> None:
    kept = artifact("path+file:///lamella/src/vendor/fork#1.0.0", fresh=True)
    assert seen(kept, app(), kept="/lamella/src/vendor/fork").integrity == ()
    assert seen(kept, app()).integrity != ()


def test_third_party_packages_compiled_again_are_named_with_a_reason() -> None:
    found = seen(third("itoa", fresh=False), third("log", fresh=True), app())
    assert found.integrity == ()
    assert (
        "compiled again in the final step: itoa 1.0.0; the dependency step compiled them otherwise" in found.warnings[0]
    )


def test_a_long_list_is_cut() -> None:
    lines = [third(f"crate-{number:02}", fresh=False) for number in range(12)]
    assert "crate-07 1.0.0 and 4 more" in seen(*lines, third("log", fresh=True), app()).warnings[0]


def test_an_empty_target_directory_is_the_reason_when_all_was_compiled() -> None:
    assert "held no third-party package: 1 were compiled" in seen(third("itoa", fresh=False), app()).warnings[0]


def test_a_binary_that_is_not_the_reported_one_is_an_integrity_finding() -> None:
    found = seen(app(executable="/lamella/target/release/app"))
    assert found.integrity == (f"Cargo did not report the binary {BINARY}; it reported: /lamella/target/release/app",)
    assert seen(app(executable=None)).integrity[0].endswith("it reported: none")


def test_no_message_at_all_is_an_integrity_finding() -> None:
    assert seen("warning: nothing here").integrity == ("Cargo reported no artefact although it ended well",)


def test_lines_of_other_programs_and_torn_messages_are_passed_over() -> None:
    data = b'hello\n{"reason":"build-finished","success":true}\n{"reason":"compiler-artifact","package_id":\n\xff\xfe\n'
    assert parse_messages(data) == ()
