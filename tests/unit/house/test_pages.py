"""The pages of the documentation: links lead somewhere, examples can be read, settings are all there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from lamella.project.load import parse_project
from tests.unit.house.source_tree import ROOT

PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "examples").glob("*/README.md")])
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_TOML = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_inside_the_repository_lead_to_files(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = [link.partition("#")[0] for link in _LINK.findall(text) if "://" not in link and not link.startswith("#")]
    missing = [target for target in targets if not (page.parent / target).exists() and "NNNN" not in target]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_examples_of_project_files_can_be_read(page: Path) -> None:
    for text in _TOML.findall(page.read_text(encoding="utf-8")):
        tomllib.loads(text)
        if "[project]" in text and "[image." in text:
            parse_project(text.encode(), file=name(page))


def test_every_page_of_a_folder_is_in_its_list() -> None:
    for readme in (ROOT / "docs").glob("*/README.md"):
        listed = set(_LINK.findall(readme.read_text(encoding="utf-8")))
        pages = {page.name for page in readme.parent.glob("*.md")} - {"README.md"}
        assert pages - listed == set(), name(readme)


def test_every_variable_that_is_read_stands_on_its_page() -> None:
    sources = [ROOT / "src/lamella/cli/settings.py", ROOT / "src/lamella/api/network.py"]
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    names = set(re.findall(r'(?:env\.get\(|env\[|either\()"(\w+)"', text)) - {"HOME"}
    page = (ROOT / "docs/reference/environment.md").read_text(encoding="utf-8")
    assert {found for found in names if f"`{found}`" not in page and f"`{found}=" not in page} == set()
