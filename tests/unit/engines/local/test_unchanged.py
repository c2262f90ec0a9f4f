"""What a step only touched is no change of its root file system."""

from __future__ import annotations

import os
from pathlib import Path

from lamella.engines.local.unchanged import drop_unchanged
from lamella.engines.local.writes import written_paths


def lay(folder: Path, files: dict[str, str]) -> Path:
    """Files below a folder; an empty name makes just the folder."""
    folder.mkdir()
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def left(folder: Path) -> list[str]:
    """All paths below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_what_equals_the_tree_below_goes_with_the_directories_that_held_it(tmp_path: Path) -> None:
    below = lay(tmp_path / "below", {"var/log/old": "x", "etc/same": "1", "etc/changed": "1", "opt/mode": "m"})
    upper = lay(
        tmp_path / "upper", {"var/log/old": "x", "etc/same": "1", "etc/changed": "2", "opt/mode": "m", "new/a": ""}
    )
    os.utime(upper / "etc/same", (1, 1))
    (upper / "opt/mode").chmod(0o600)
    for root, target in ((below, "old"), (upper, "old")):
        (root / "etc/link").symlink_to(target)
        (root / "etc/moved").symlink_to(root.name)
    drop_unchanged(str(upper), str(below))
    assert left(upper) == ["etc", "etc/changed", "etc/moved", "new", "new/a", "opt", "opt/mode"]


def test_an_empty_directory_stays_when_it_is_new_or_has_another_mode(tmp_path: Path) -> None:
    below, upper = lay(tmp_path / "below", {}), lay(tmp_path / "upper", {})
    for name in ("same", "mode"):
        (below / name).mkdir()
        (upper / name).mkdir()
    (upper / "mode").chmod(0o700)
    (upper / "new").mkdir()
    drop_unchanged(str(upper), str(below))
    assert left(upper) == ["mode", "new"]


def test_another_kind_of_object_is_a_change(tmp_path: Path) -> None:
    below, upper = lay(tmp_path / "below", {"a": "x", "b/c": "x"}), lay(tmp_path / "upper", {"a/c": "x", "b": "x"})
    drop_unchanged(str(upper), str(below))
    assert left(upper) == ["a", "a/c", "b"]


def test_a_directory_in_place_of_a_link_is_a_change_with_all_that_is_in_it(tmp_path: Path) -> None:
    below, upper = lay(tmp_path / "below", {"real/file": "x"}), lay(tmp_path / "upper", {"link/file": "x"})
    (below / "link").symlink_to("real")
    drop_unchanged(str(upper), str(below))
    assert left(upper) == ["link", "link/file"]
    assert written_paths(str(upper), str(below), lambda path: False) == ("link", "link/file")
