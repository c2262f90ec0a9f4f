"""No stale binary: each trap once with the rule (sources get new times) and once without it, where Cargo falls for it.

Without the rule the adapter must notice: an own package that Cargo calls fresh is an integrity finding.
"""

from __future__ import annotations

import pytest

from tests.integration.stacks_cargo.bench import StepFailedError
from tests.integration.stacks_cargo.conftest import MakeBench
from tests.integration.stacks_cargo.trees import FOLDER_MACRO, PATCHED, TINY, WATCHED_FOLDER


@pytest.mark.parametrize(
    ("path", "text", "says"),
    [
        ("app/assets/a.txt", "two", "a.txt=two\n"),
        ("app/assets/b.txt", "more", "a.txt=one,b.txt=more\n"),
        ("app/assets/a.txt", None, "\n"),
    ],
    ids=["edited", "added", "removed"],
)
def test_a_folder_that_a_macro_reads(make_bench: MakeBench, path: str, text: str | None, says: str) -> None:
    bench = make_bench({**FOLDER_MACRO, "app/assets/.keep": ""})
    bench.build()
    bench.touch = False
    bench.app()  # gives the staged files the old times that the trap needs
    bench.files.pop(path, None)
    if text is not None:
        bench.write(path, text)
    caught = bench.app()
    assert caught.output() == ".keep=,a.txt=one\n", "Cargo noticed the edit by itself: this is no trap any more"
    assert any("app 0.1.0 (bin) fresh" in line for line in caught.observation.integrity)
    bench.touch = True
    cured = bench.app()
    assert cured.output() == f".keep=,{says}".replace(",\n", "\n")
    assert cured.observation.integrity == ()


def test_a_file_deleted_below_a_watched_folder(make_bench: MakeBench) -> None:
    bench = make_bench(WATCHED_FOLDER)
    assert bench.build().output() == "2\n"
    bench.touch = False
    bench.app()
    bench.remove("app/watched/b")
    caught = bench.app()
    assert caught.output() == "2\n", "Cargo noticed the deletion by itself: this is no trap any more"
    assert caught.observation.integrity
    bench.touch = True
    assert bench.app().output() == "1\n"


def test_a_revert_to_a_file_with_an_older_time(make_bench: MakeBench) -> None:
    bench = make_bench(TINY)
    bench.build()
    bench.write("lib/src/lib.rs", "pub fn number() -> u32 { 2 }\n")
    assert bench.app().output() == "2 0.1.0\n"
    bench.write("lib/src/lib.rs", TINY["lib/src/lib.rs"])
    bench.touch = False
    caught = bench.app()
    assert caught.output() == "2 0.1.0\n", "Cargo noticed the revert by itself: this is no trap any more"
    assert any("lib 0.1.0 (lib) fresh" in line for line in caught.observation.integrity)
    bench.touch = True
    assert bench.app().output() == "1 0.1.0\n"


def test_a_patched_crate_is_compiled_by_the_dependency_step_and_stays_fresh(make_bench: MakeBench) -> None:
    bench = make_bench(PATCHED)
    deps = bench.deps()
    assert {"itoa 1.0.99", "serde_json"} <= {a.package if a.place else a.package.split()[0] for a in deps.artifacts}
    app = bench.app()
    assert app.output() == "A7 A1\n"
    assert [a.package for a in app.artifacts if not a.fresh and a.package.startswith(("itoa", "serde"))] == []


def test_a_patched_crate_that_goes_back_is_not_left_as_it_was(make_bench: MakeBench) -> None:
    """The dependency step of the first state is recorded, so only the final step runs, over the second one's work."""
    bench = make_bench(PATCHED)
    bench.build()
    bench.write("vendor/itoa/src/lib.rs", PATCHED["vendor/itoa/src/lib.rs"].replace("A{i}", "B{i}"))
    assert bench.build().output() == "B7 B1\n"
    bench.write("vendor/itoa/src/lib.rs", PATCHED["vendor/itoa/src/lib.rs"])
    assert bench.app().output() == "A7 A1\n"


def test_a_step_that_died_before_its_mark_is_not_trusted(make_bench: MakeBench) -> None:
    bench = make_bench(PATCHED)
    bench.build()
    bench.write("vendor/itoa/src/lib.rs", PATCHED["vendor/itoa/src/lib.rs"].replace("A{i}", "B{i}"))
    bench.write("app/src/main.rs", "this does not compile")
    with pytest.raises(StepFailedError):
        bench.app()
    bench.write("vendor/itoa/src/lib.rs", PATCHED["vendor/itoa/src/lib.rs"])
    bench.write("app/src/main.rs", PATCHED["app/src/main.rs"])
    assert bench.app().output() == "A7 A1\n"


def test_a_binary_with_a_stub_in_it_ends_the_step(make_bench: MakeBench) -> None:
    stub = 'fn main() { println!("lamella-stub-6f1c0a52d9e84b37"); let _ = (itoa::Buffer::new(), lib::number()); }\n'
    bench = make_bench({**TINY, "app/src/main.rs": stub})
    bench.deps()
    with pytest.raises(StepFailedError, match="holds a stub of the dependency step"):
        bench.app()


def test_a_lock_that_cargo_would_have_to_extend_ends_the_step(make_bench: MakeBench) -> None:
    files = {**TINY, "app/Cargo.toml": TINY["app/Cargo.toml"] + 'serde_json = "1"\n'}
    bench = make_bench(files)
    text = bytes(bench.files["Cargo.lock"]).decode() if isinstance(bench.files["Cargo.lock"], bytes) else ""
    blocks = [block for block in text.split("\n\n") if 'name = "memchr"' not in block]
    bench.write("Cargo.lock", "\n\n".join(blocks).replace(' "memchr",\n', ""))
    with pytest.raises(StepFailedError, match=r"Cargo wants packages that Cargo\.lock does not hold"):
        bench.deps()
