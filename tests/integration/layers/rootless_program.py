"""Runs as root of a new user namespace: unpack, mount, change, scan, write, unpack again, compare. Prints JSON."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from lamella.layers.content import directory_content
from lamella.layers.overlay import is_opaque
from lamella.layers.policy import ROOT_POLICY, ROOTLESS_POLICY, UnpackMode
from lamella.layers.snapshot import KEEP, scan_tree, scan_upper
from lamella.layers.tar import write_layer
from lamella.layers.unpack import unpack_layer
from tests.unit.layers.archives import tar_bytes, tar_device, tar_dir, tar_file, tar_symlink


def base_layer() -> bytes:
    return tar_bytes(
        [
            tar_dir("dir", 0o1777),
            tar_file("dir/a", b"a"),
            tar_file("dir/b", b"b", 0o4755),
            tar_dir("whole"),
            tar_file("whole/x", b"x"),
            tar_symlink("dir/a", "link"),
            tar_device("null", b"3", (1, 3)),
        ]
    )


def mount(point: Path, lowers: list[Path], upper: Path | None = None, *, rootless: bool) -> None:
    point.mkdir()
    options = f"lowerdir={':'.join(map(str, lowers))}{',userxattr' if rootless else ''}"
    if upper is not None:
        upper.mkdir()
        work = upper.with_name("work")
        work.mkdir()
        options += f",upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", str(point)], check=True)


def change(root: Path) -> None:
    (root / "dir/a").unlink()
    (root / "dir/new").write_bytes(b"n")
    shutil.rmtree(root / "whole")
    (root / "whole").mkdir()
    (root / "whole/y").write_bytes(b"y")
    (root / "link").unlink()
    (root / "server").write_bytes(b"#!")
    subprocess.run(["setcap", "cap_net_bind_service=ep", str(root / "server")], check=True)


def main() -> None:
    home, rootless = Path(sys.argv[1]), sys.argv[2] == "rootless"
    policy = ROOTLESS_POLICY if rootless else ROOT_POLICY
    lower, again = home / "lower", home / "again"
    lower.mkdir()
    again.mkdir()
    base = unpack_layer(io.BytesIO(base_layer()), lower, mode=UnpackMode.OVERLAY, policy=policy)
    (home / "bottom").mkdir()
    mount(home / "m1", [lower, home / "bottom"], home / "upper", rootless=rootless)
    change(home / "m1")
    seen = scan_tree(home / "m1", KEEP)
    changes = scan_upper(home / "upper", [lower])
    layer = io.BytesIO()
    with directory_content(home / "upper") as content:
        result = write_layer(changes, content, layer)
    layer.seek(0)
    unpack_layer(layer, again, mode=UnpackMode.OVERLAY, policy=policy, diff_id=result.diff_id)
    mount(home / "m2", [again, lower], rootless=rootless)
    answer = {
        "diff_id": result.diff_id,
        "changes": [(entry.path, entry.type.name) for entry in changes],
        "same": scan_tree(home / "m2", KEEP) == seen,
        "opaque": is_opaque(str(again / "whole")),
        "warnings": base.warnings,
        "capability": os.getxattr(again / "server", "security.capability").hex(),
    }
    print(json.dumps(answer))  # noqa: T201 - what this program is for


if __name__ == "__main__":
    main()
