"""What the kernel's overlay does and what our scan and unpacker make of it, as root with real mounts."""

from __future__ import annotations

import errno
import io
import os
import shutil
import socket
import stat
from pathlib import Path

import pytest

from lamella.errors import HostileInputError
from lamella.graph.facts import BaseFacts
from lamella.graph.fileset import EntryType, FileSet
from lamella.host.rooted import Rooted
from lamella.layers.content import directory_content
from lamella.layers.facts import changed_facts, extract_facts, outline_facts
from lamella.layers.policy import ROOT_POLICY, UnpackMode
from lamella.layers.snapshot import KEEP, hard_links, scan_tree, scan_upper
from lamella.layers.tar import write_layer
from lamella.layers.unpack import Unpacked, unpack_layer
from lamella.oci.config import RuntimeConfig
from tests.integration.components.presence import require_program, require_root
from tests.integration.components.tools import run_tool
from tests.integration.layers.overlays import OPTIONS, overlay
from tests.unit.layers.archives import tar_bytes, tar_device, tar_dir, tar_file
from tests.unit.layers.trees import make_tree

CAP_NET_BIND = "0100000200040000000000000000000000000000"


@pytest.fixture(autouse=True)
def as_root() -> None:
    require_root()


def base(tmp_path: Path) -> Path:
    lower = make_tree(
        tmp_path / "lower",
        {
            "etc/keep": b"keep",
            "etc/change": b"old",
            "etc/remove": b"old",
            "dir/a": b"a",
            "dir/sub/b": b"b",
            "whole/x": b"x",
            "whole/deep/y": b"y",
            "replaced/was-directory": b"",
            "link": "etc/keep",
            "tmp": None,
        },
    )
    (lower / "tmp").chmod(0o1777)
    os.chown(lower / "etc", 3, 4)
    return lower


def change(root: Path) -> None:
    """Everything that a step may do to its root file system."""
    (root / "etc/change").write_bytes(b"new")
    (root / "etc/remove").unlink()
    (root / "dir/a").unlink()
    (root / "dir/new").write_bytes(b"n")
    shutil.rmtree(root / "whole")
    (root / "whole").mkdir(mode=0o750)
    (root / "whole/z").write_bytes(b"z")
    shutil.rmtree(root / "replaced")
    (root / "replaced").write_bytes(b"a file now")
    (root / "link").unlink()
    (root / "link").mkdir()
    (root / "link/inside").write_bytes(b"i")
    (root / "fresh/deep").mkdir(parents=True)
    (root / "fresh/file").write_bytes(b"f")
    os.link(root / "fresh/file", root / "fresh/second")
    (root / "tmp/made").write_bytes(b"m")
    (root / "tmp/gone").write_bytes(b"g")
    (root / "tmp/gone").unlink()
    (root / "setuid").write_bytes(b"s")
    os.chown(root / "setuid", 1000, 1001)
    (root / "setuid").chmod(0o4711)
    os.mkfifo(root / "fifo", 0o600)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket"))


def expected_changes() -> list[tuple[str, EntryType]]:
    kind = EntryType
    return [
        ("dir", kind.DIRECTORY),
        ("dir/a", kind.WHITEOUT),
        ("dir/new", kind.FILE),
        ("etc", kind.DIRECTORY),
        ("etc/change", kind.FILE),
        ("etc/remove", kind.WHITEOUT),
        ("fifo", kind.FIFO),
        ("fresh", kind.DIRECTORY),
        ("fresh/deep", kind.DIRECTORY),
        ("fresh/file", kind.FILE),
        ("fresh/second", kind.FILE),
        ("link", kind.DIRECTORY),
        ("link/inside", kind.FILE),
        ("replaced", kind.FILE),
        ("setuid", kind.FILE),
        ("tmp", kind.DIRECTORY),
        ("tmp/made", kind.FILE),
        ("whole", kind.OPAQUE),
        ("whole/z", kind.FILE),
    ]


def view(root: Path) -> FileSet:
    """A merged tree as anybody sees it."""
    return scan_tree(root, KEEP)


def layer_of(upper: Path, changes: FileSet) -> bytes:
    out = io.BytesIO()
    with directory_content(upper) as content:
        write_layer(changes, content, out, links=hard_links(upper, changes))
    return out.getvalue()


def unpack(archive: bytes, root: Path, mode: UnpackMode = UnpackMode.OVERLAY) -> Unpacked:
    root.mkdir(exist_ok=True)
    return unpack_layer(io.BytesIO(archive), root, mode=mode, policy=ROOT_POLICY)


def test_changes_become_a_layer_that_gives_the_same_view_again(tmp_path: Path) -> None:
    lower, upper = base(tmp_path), tmp_path / "upper"
    with overlay(tmp_path / "m1", [lower], upper) as merged:
        change(merged)
        (merged / "socket").unlink()
        before = view(merged)
    changes = scan_upper(upper, [lower])
    assert [(entry.path, entry.type) for entry in changes] == expected_changes()
    archive = layer_of(upper, changes)
    done = unpack(archive, tmp_path / "again")
    assert done.fileset == changes
    with overlay(tmp_path / "m2", [tmp_path / "again", lower]) as merged:
        assert view(merged) == before
    assert (tmp_path / "again/fresh/second").samefile(tmp_path / "again/fresh/file")
    flat = tmp_path / "flat"
    shutil.copytree(lower, flat, symlinks=True)
    os.chown(flat / "etc", 3, 4)
    unpack(archive, flat, UnpackMode.MERGED)
    assert view(flat) == before


def test_an_unpacked_layer_scans_as_the_same_layer(tmp_path: Path) -> None:
    lower, upper = base(tmp_path), tmp_path / "upper"
    with overlay(tmp_path / "m", [lower], upper) as merged:
        change(merged)
    changes = scan_upper(upper, [lower])
    archive = layer_of(upper, changes)
    unpack(archive, tmp_path / "again")
    again = scan_upper(tmp_path / "again", [lower])
    assert again == changes
    assert layer_of(tmp_path / "again", again) == archive


def test_owners_and_modes_are_what_the_image_shall_see(tmp_path: Path) -> None:
    lower, upper = base(tmp_path), tmp_path / "upper"
    with overlay(tmp_path / "m", [lower], upper) as merged:
        change(merged)
    rows = {entry.path: (entry.mode, entry.uid, entry.gid) for entry in scan_upper(upper, [lower])}
    assert rows["setuid"] == (0o4711, 1000, 1001)
    assert rows["tmp"] == (0o1777, 0, 0)
    assert rows["etc"] == (0o755, 3, 4)
    assert rows["whole"] == (0o750, 0, 0)


def test_row28_setuid_devices_and_capabilities_survive_as_root(tmp_path: Path) -> None:
    archive = tar_bytes(
        [
            tar_file("su", b"s", 0o6755),
            tar_file("cap", b"c", 0o755, pax={"SCHILY.xattr.security.capability": _raw(CAP_NET_BIND)}),
            tar_device("null", b"3", (1, 3), 0o666),
        ]
    )
    done = unpack(archive, tmp_path / "r")
    assert stat.S_IMODE((tmp_path / "r/su").stat().st_mode) == 0o6755
    assert os.getxattr(tmp_path / "r/cap", "security.capability").hex() == CAP_NET_BIND
    assert (tmp_path / "r/null").stat().st_rdev == os.makedev(1, 3)
    assert scan_tree(tmp_path / "r", KEEP) == done.fileset


def test_a_socket_in_place_of_a_file_removes_the_file(tmp_path: Path) -> None:
    lower, upper = make_tree(tmp_path / "lower", {"run/held": b"", "run/other": b""}), tmp_path / "upper"
    with overlay(tmp_path / "m", [lower], upper) as merged, socket.socket(socket.AF_UNIX) as listener:
        (merged / "run/held").unlink()
        listener.bind(str(merged / "run/held"))
    rows = [(entry.path, entry.type) for entry in scan_upper(upper, [lower])]
    assert rows == [("run", EntryType.DIRECTORY), ("run/held", EntryType.WHITEOUT)]


def test_facts_follow_what_an_overlay_caught(tmp_path: Path) -> None:
    lower, upper, more = base(tmp_path), tmp_path / "upper", tmp_path / "more"
    below = extract_facts(lower, platform="", runtime=RuntimeConfig())
    with overlay(tmp_path / "m1", [lower], upper) as merged:
        change(merged)
    below = followed(below, upper, [lower], tmp_path / "m2")
    with overlay(tmp_path / "m3", [upper, lower], more) as merged:
        (merged / "whole/z").unlink()
        (merged / "whole/z").mkdir()
        shutil.rmtree(merged / "fresh")
        (merged / "etc/passwd").write_text("app:x:7:7::/:\n")
        merged.chmod(0o711)
    facts = followed(below, more, [upper, lower], tmp_path / "m4")
    assert facts.directories["/"].mode == 0o711
    assert facts.user("app") is not None


def followed(below: BaseFacts, upper: Path, lowers: list[Path], point: Path) -> BaseFacts:
    """The facts of a chain by its topmost layer's changes, which a walk of the chain has to find too."""
    with overlay(point, [upper, *lowers]) as merged:
        walked = extract_facts(merged, platform="", runtime=RuntimeConfig())
        with Rooted(merged) as rooted:
            outline = outline_facts(rooted, runtime=RuntimeConfig())
    facts = changed_facts(below, scan_upper(upper, lowers), outline)
    assert facts == walked
    return facts


def _raw(value: str) -> str:
    return bytes.fromhex(value).decode("utf-8", "surrogateescape")


def test_capabilities_of_a_step_are_in_its_layer(tmp_path: Path) -> None:
    setcap = require_program("setcap", "libcap2-bin")
    lower, upper = base(tmp_path), tmp_path / "upper"
    with overlay(tmp_path / "m", [lower], upper) as merged:
        (merged / "server").write_bytes(b"#!")
        run_tool([setcap, "cap_net_bind_service=ep", str(merged / "server")])
    entry = scan_upper(upper, [lower]).get("server")
    assert entry is not None
    assert dict(entry.xattrs) == {"security.capability": CAP_NET_BIND}


@pytest.mark.parametrize("option", ["redirect_dir=on", "metacopy=on,redirect_dir=on"])
def test_content_that_is_elsewhere_is_refused(tmp_path: Path, option: str) -> None:
    lower, upper = base(tmp_path), tmp_path / "upper"
    with overlay(tmp_path / "m", [lower], upper, f"index=off,{option}") as merged:
        if "metacopy" in option:
            (merged / "etc/change").chmod(0o600)
        else:
            (merged / "whole").rename(merged / "renamed")
    with pytest.raises(HostileInputError, match=r"overlay\.(redirect|metacopy)"):
        scan_upper(upper, [lower])


def test_without_redirects_a_directory_is_copied_by_who_renames_it(tmp_path: Path) -> None:
    with overlay(tmp_path / "m", [base(tmp_path)], tmp_path / "upper", OPTIONS) as merged:
        with pytest.raises(OSError, match="cross-device") as caught:
            (merged / "whole").rename(merged / "renamed")
        assert caught.value.errno == errno.EXDEV


def test_whiteouts_hide_over_several_lower_directories(tmp_path: Path) -> None:
    bottom = make_tree(tmp_path / "bottom", {"d/one": b"1", "d/two": b"2", "e/x": b"x", "gone": b"g"})
    middle = tmp_path / "middle"
    unpack(tar_bytes([tar_file(".wh.gone"), tar_dir("e"), tar_file("e/.wh..wh..opq"), tar_file("e/y", b"y")]), middle)
    upper = tmp_path / "upper"
    with overlay(tmp_path / "m", [middle, bottom], upper) as merged:
        assert not (merged / "gone").exists()
        assert [path.name for path in (merged / "e").iterdir()] == ["y"]
        (merged / "d/one").unlink()
        (merged / "gone").write_bytes(b"back")
        (merged / "gone").unlink()
        (merged / "e/x").write_bytes(b"back")
        (merged / "e/x").unlink()
    changes = scan_upper(upper, [middle, bottom])
    assert [(e.path, e.type.name) for e in changes] == [("d", "DIRECTORY"), ("d/one", "WHITEOUT"), ("e", "DIRECTORY")]


@pytest.mark.parametrize("under", ["mount", "bind"])
def test_x3_removal_never_crosses_a_mount(tmp_path: Path, under: str) -> None:
    outside = make_tree(tmp_path / "outside", {"precious": b"p"})
    root = make_tree(tmp_path / "root", {"a/point": None, "a/file": b"f"})
    kind = ["--bind", str(outside)] if under == "bind" else ["-t", "tmpfs", "tmpfs"]
    run_tool(["mount", *kind, str(root / "a/point")])
    try:
        (root / "a/point/mine").write_bytes(b"m")
        with Rooted(root) as rooted, pytest.raises(OSError) as caught:  # noqa: PT011 - the number below says which
            rooted.remove_tree("a")
        assert caught.value.errno in (errno.EXDEV, errno.EBUSY)
        assert (root / "a/point/mine").read_bytes() == b"m"
    finally:
        run_tool(["umount", str(root / "a/point")])
    assert (outside / "precious").read_bytes() == b"p"
    with Rooted(root) as rooted:
        rooted.remove_tree("a")


def test_the_missing_parents_trap(tmp_path: Path) -> None:
    """MECHANICS G: a layer without entries for its parents resets them; ours is refused before it is written."""
    lower = base(tmp_path)
    broken = tar_bytes([tar_file("tmp/new", b"n")])
    unpack(broken, tmp_path / "broken")
    with overlay(tmp_path / "m1", [tmp_path / "broken", lower]) as merged:
        assert stat.S_IMODE((merged / "tmp").stat().st_mode) == 0o755
    right = tmp_path / "right"
    with overlay(tmp_path / "m2", [lower], right) as merged:
        (merged / "tmp/new").write_bytes(b"n")
    archive = layer_of(right, scan_upper(right, [lower]))
    unpack(archive, tmp_path / "unpacked")
    with overlay(tmp_path / "m3", [tmp_path / "unpacked", lower]) as merged:
        assert stat.S_IMODE((merged / "tmp").stat().st_mode) == 0o1777


def _with_umask(umask: int, root: Path) -> None:
    before = os.umask(umask)
    try:
        make_tree(root, {"app/run": b"#!", "app/lib/data": b"d" * 5000, "app/l": "run"})
    finally:
        os.umask(before)
    (root / "app/run").chmod(0o777 & ~umask | 0o100)


@pytest.mark.parametrize("user", [0, 12345])
@pytest.mark.parametrize("umask", [0o077, 0o022, 0o000])
@pytest.mark.parametrize("time", [7, 2_000_000_000])
def test_a_product_gives_the_same_layer_for_all_users_umasks_and_times(
    tmp_path: Path, user: int, umask: int, time: int
) -> None:
    root = tmp_path / "product"
    _with_umask(umask, root)
    for path in (root, *root.rglob("*")):
        os.chown(path, user, user, follow_symlinks=False)
        os.utime(path, (time, time), follow_symlinks=False)
    out = io.BytesIO()
    product = scan_tree(root)
    with directory_content(root) as content:
        result = write_layer(product, content, out)
    assert result.diff_id == "sha256:1020780c527d4b66faa7344aae80c69d8a814ee1b70d89c6042799dbb3d4baa4"
