"""How a page is found to reach its server."""

from __future__ import annotations

import pytest

from lamella.init.pages import PageUse, find_uses
from lamella.stacks.base import DetectedLayer, Detection
from lamella.testing.tree import MemoryTree

PAGE = Detection("node", "web/ui", (DetectedLayer("ui", ('node = { dir = "web/ui", output = "dist" }',), ()),))


def uses(stack: str, directory: str, files: dict[str, str]) -> tuple[PageUse, ...]:
    server = Detection(stack, directory, ())
    return find_uses(MemoryTree(files), (PAGE,), (server,))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("crates/web/src/lib.rs", '#[derive(RustEmbed)]\n#[folder = "../../web/ui/dist"]\nstruct Page;'),
        ("crates/web/src/lib.rs", '#[folder = "$CARGO_MANIFEST_DIR/../../web/ui/dist/"]'),
        ("crates/web/src/lib.rs", 'include_dir!("$CARGO_MANIFEST_DIR/../../web/ui/dist")'),
        ("crates/web/src/lib.rs", 'include_str!("../../../web/ui/dist/index.html")'),
        ("crates/web/src/lib.rs", 'include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/ui/dist/index.html"))'),
        ("crates/web/build.rs", 'fn main() { copy("../../web/ui/dist"); }'),
    ],
)
def test_compiled_in(path: str, text: str) -> None:
    (use,) = uses("cargo", "", {"crates/web/Cargo.toml": "", path: text})
    assert use.compiled
    assert use.where.startswith(path)


@pytest.mark.parametrize(
    ("path", "text", "target"),
    [
        ("src/main.rs", 'ServeDir::new("web/ui/dist")', "/app/web/ui/dist"),
        ("src/main.rs", 'ServeFile::new("./web/ui/dist/index.html")', "/app/web/ui/dist"),
    ],
)
def test_served_from_the_working_directory(path: str, text: str, target: str) -> None:
    (use,) = uses("cargo", "", {"Cargo.toml": "", path: text})
    assert (use.compiled, use.target) == (False, target)


@pytest.mark.parametrize(
    ("path", "text", "target"),
    [
        ("api/main.py", 'StaticFiles(directory="../web/ui/dist")', "/web/ui/dist"),
        ("api/main.py", 'ROOT = Path(__file__).parent.parent\nROOT / "web" / "ui" / "dist"', "/web/ui/dist"),
        ("api/app/main.py", 'os.path.join(os.path.dirname(__file__), "..", "..", "web/ui/dist")', "/web/ui/dist"),
        ("api/main.py", 'StaticFiles(directory="web/ui/dist")', "/app/web/ui/dist"),
    ],
)
def test_served_by_python(path: str, text: str, target: str) -> None:
    (use,) = uses("python", "api", {path: text})
    assert use.target == target


def test_served_by_node() -> None:
    text = 'app.use(express.static(path.join(__dirname, "../web/ui/dist")))'
    (use,) = uses("node", "api", {"api/server.js": text})
    assert use.target == "/web/ui/dist"


@pytest.mark.parametrize(
    "text",
    ['"dist"', '"other/dist"', '"/srv/web/ui/dist"', '"web/ui/distance"', "// web/ui/dist"],
)
def test_other_strings_lead_nowhere(text: str) -> None:
    assert uses("cargo", "", {"Cargo.toml": "", "src/main.rs": f"fn main() {{ open({text}) }}"}) == ()


def test_compiling_in_comes_before_serving() -> None:
    files = {"Cargo.toml": "", "src/main.rs": 'ServeDir::new("web/ui/dist")', "build.rs": 'f("web/ui/dist")'}
    (use,) = uses("cargo", "", files)
    assert use.compiled


def test_tests_and_the_page_itself_do_not_count() -> None:
    files = {"Cargo.toml": "", "tests/a.rs": 'f("web/ui/dist")', "web/ui/x.rs": 'f("dist")'}
    assert uses("cargo", "", files) == ()
