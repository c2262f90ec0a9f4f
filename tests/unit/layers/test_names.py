"""Names that are not UTF-8 go through everything: disk, file set, its stored form, layer, disk again."""

from __future__ import annotations

import io
import os
from pathlib import Path

from lamella.graph.fileset import parse_fileset
from lamella.layers.content import directory_content
from lamella.layers.policy import MERGED_POLICY, UnpackMode
from lamella.layers.snapshot import scan_tree
from lamella.layers.tar import write_layer
from lamella.layers.unpack import unpack_layer


def test_a_name_in_latin_1_survives_the_whole_way(tmp_path: Path) -> None:
    name = os.fsdecode(b"gr\xfcn")
    for folder in ("from", "to"):
        (tmp_path / folder).mkdir()
    (tmp_path / "from" / name).write_bytes(b"x")
    found = scan_tree(tmp_path / "from")
    assert parse_fileset(found.to_bytes()) == found
    out = io.BytesIO()
    with directory_content(tmp_path / "from") as content:
        write_layer(found, content, out)
    out.seek(0)
    done = unpack_layer(out, tmp_path / "to", mode=UnpackMode.MERGED, policy=MERGED_POLICY)
    assert os.listdir(os.fsencode(tmp_path / "to")) == [b"gr\xfcn"]
    assert done.fileset == found
