"""Small wheels made on the spot, honest and hostile."""

from __future__ import annotations

import base64
import hashlib
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path


def record_row(path: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
    return f"{path},sha256={digest},{len(data)}\n"


def make_wheel(
    folder: Path,
    name: str,
    files: Mapping[str, bytes],
    *,
    version: str = "1.0",
    entry_points: str = "",
    executables: tuple[str, ...] = (),
    pure: bool = True,
    overrides: Mapping[str, bytes] | None = None,
) -> Path:
    """A wheel of ``files``; ``overrides`` replace or add metadata, after RECORD was made."""
    info = f"{name}-{version}.dist-info"
    content = dict(files)
    content[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    content[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nRoot-Is-Purelib: {str(pure).lower()}\nTag: py3-none-any\n".encode()
    if entry_points:
        content[f"{info}/entry_points.txt"] = entry_points.encode()
    rows = "".join(record_row(path, data) for path, data in content.items())
    content[f"{info}/RECORD"] = f"{rows}{info}/RECORD,,\n".encode()
    content |= overrides or {}
    place = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in content.items():
            member = zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0))
            member.external_attr = (stat.S_IFREG | (0o755 if path in executables else 0o644)) << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, data)
    return place


def rich_wheel(folder: Path) -> Path:
    """A wheel that uses every scheme of the format."""
    return make_wheel(
        folder,
        "demo",
        {
            "demo/__init__.py": b"def main():\n    return 0\n",
            "demo/data.bin": bytes(range(256)) * 2000,
            "demo/tool": b"#!/bin/sh\n",
            "demo.pth": b"import demo\n",
            "space/part_a/__init__.py": b"",
            "demo-1.0.data/scripts/script-py": b"#!python\nprint('hi')\n",
            "demo-1.0.data/scripts/script-pyw": b"#!pythonw -E\nprint('hi')\n",
            "demo-1.0.data/scripts/script-sh": b"#!/bin/sh\necho hi\n",
            "demo-1.0.data/data/share/demo/readme.txt": b"read me",
            "demo-1.0.data/headers/demo.h": b"#define DEMO\n",
            "demo-1.0.data/purelib/extra_pure.py": b"",
            "demo-1.0.data/platlib/extra_plat.py": b"",
            "demo-1.0.dist-info/licenses/LICENSE": b"free",
        },
        entry_points="[console_scripts]\ndemo = demo:main\ndemo-x = demo.sub:Class.run [extra]\n\n"
        "[gui_scripts]\ndemo-gui = demo:main\n\n[other]\nx = y\n",
        executables=("demo/tool",),
    )
