"""A foreign layer is unpacked by a process that can do nothing else (RELIABILITY X2)."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamella.engines.local.runner import LocalRunner
from lamella.engines.local.values import LayerBlob, RunnerSettings
from lamella.errors import HostileInputError, IntegrityError, LamellaError
from lamella.layers.policy import ROOT_POLICY, UnpackMode
from lamella.layers.unpack import unpack_layer
from lamella.oci.media import LAYER_GZIP, LAYER_TAR
from lamella.store.store import Store
from tests.integration.components.presence import missing
from tests.integration.engine.conftest import ENV

TRY = """
import json, os, socket, subprocess, sys, threading
from lamella.engines.local.confinement import Limits, confine
inside, outside = sys.argv[1:]
confine(inside, Limits(memory=1 << 30, file=1 << 20, seconds=60, handles=64))
def act(what):
    try:
        what()
        return "done"
    except (OSError, MemoryError) as error:
        return type(error).__name__
def thread():
    one = threading.Thread(target=len, args=("",))
    one.start()
    one.join()
acts = {
    "write": lambda: open(f"{inside}/file", "w").write("x"),
    "rename": lambda: os.rename(f"{inside}/file", f"{inside}/other"),
    "link": lambda: os.link(f"{inside}/other", f"{inside}/file"),
    "folder": lambda: os.mkdir(f"{inside}/folder"),
    "fifo": lambda: os.mkfifo(f"{inside}/fifo"),
    "remove": lambda: os.unlink(f"{inside}/file"),
    "read": lambda: open(f"{outside}/canary").read(),
    "thread": thread,
    "write outside": lambda: open(f"{outside}/new", "w"),
    "change outside": lambda: open(f"{outside}/canary", "a"),
    "folder outside": lambda: os.mkdir(f"{outside}/folder"),
    "remove outside": lambda: os.unlink(f"{outside}/canary"),
    "move outside": lambda: os.rename(f"{inside}/other", f"{outside}/other"),
    "socket": socket.socket,
    "pair": socket.socketpair,
    "fork": os.fork,
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "program": lambda: subprocess.run(["/bin/true"]),
    "signal": lambda: os.kill(os.getppid(), 0),
    "large file": lambda: open(f"{inside}/large", "wb").write(bytes(2 << 20)),
    "memory": lambda: bytearray(2 << 30),
    "handles": lambda: [os.open("/", os.O_RDONLY) for _ in range(100)],
}
print(json.dumps({name: act(what) for name, what in acts.items()}))
"""

ALLOWED = ("write", "rename", "link", "folder", "fifo", "remove", "read", "thread")
OUTSIDE = ("write outside", "change outside", "folder outside", "remove outside", "move outside")
REFUSED = ("socket", "pair", "fork", "exec", "program", "signal")


def test_a_confined_process_writes_in_one_folder_and_does_nothing_else(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "canary").write_text("alive")
    done = subprocess.run(
        [sys.executable, "-c", TRY, inside, outside], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )  # fmt: skip
    found: dict[str, str] = json.loads(done.stdout)
    assert {name: found[name] for name in ALLOWED} == dict.fromkeys(ALLOWED, "done")
    assert {name: found[name] for name in REFUSED} == dict.fromkeys(REFUSED, "PermissionError")
    assert (found["large file"], found["memory"], found["handles"]) == ("OSError", "MemoryError", "OSError")
    if found["write outside"] == "done":
        missing("this kernel has no Landlock")
    assert {name: found[name] for name in OUTSIDE} == dict.fromkeys(OUTSIDE, "PermissionError")
    assert (sorted(os.listdir(outside)), (outside / "canary").read_text()) == (["canary"], "alive")


@pytest.fixture
def own(runner: LocalRunner, open_folder: Path) -> Iterator[LocalRunner]:
    """A runner with a store of its own, on a machine where runners work."""
    with Store.open(open_folder / "store") as store:
        made = LocalRunner(store, RunnerSettings(env=ENV))
        if os.geteuid() != 0:
            store.set_remover(lambda path: made.remove((path,)))
        yield made
        made.remove([open_folder / "store" / "snapshots"])
        made.close()


def tar(*members: tuple[str, dict[str, object], bytes]) -> bytes:
    """An archive with members by name, attributes and bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, attributes, data in members:
            member = tarfile.TarInfo(name)
            for key, value in attributes.items():
                setattr(member, key, value)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def layer(store: Store, data: bytes, diff_id: str = "", media_type: str = LAYER_TAR) -> LayerBlob:
    digest = store.blobs.put_bytes(data)
    return LayerBlob(digest, len(data), media_type, diff_id or digest)


def test_what_is_unpacked_is_what_the_unpacker_makes(own: LocalRunner, tmp_path: Path) -> None:
    data = tar(
        ("etc", {"type": tarfile.DIRTYPE, "mode": 0o750, "uid": 3, "gid": 4}, b""),
        ("etc/file", {"mode": 0o4755, "mtime": 7}, b"text"),
        ("etc/link", {"type": tarfile.SYMTYPE, "linkname": "file"}, b""),
        ("etc/second", {"type": tarfile.LNKTYPE, "linkname": "etc/file"}, b""),
        ("etc/.wh.gone", {}, b""),
        ("opt/.wh..wh..opq", {}, b""),
        ("fifo", {"type": tarfile.FIFOTYPE}, b""),
    )
    store = own._store
    (made,) = own.unpack_layers((layer(store, data),))
    if os.geteuid() == 0:  # who may set owners
        (tmp_path / "here").mkdir()
        here = unpack_layer(io.BytesIO(data), tmp_path / "here", mode=UnpackMode.OVERLAY, policy=ROOT_POLICY)
        assert made.fileset == here.fileset
    found = store.snapshots.find(made.diff_id)
    assert found is not None
    assert sorted(os.listdir(found.path / "etc")) == ["file", "gone", "link", "second"]
    assert (found.path / "etc/second").read_bytes() == b"text"


def test_layers_that_are_unpacked_beside_each_other_come_in_the_images_order(own: LocalRunner) -> None:
    """One may stand in an image twice."""
    blobs = [layer(own._store, tar((f"file-{number}", {}, bytes(1000 * number)))) for number in range(4)]
    made = own.unpack_layers((*blobs, blobs[1]))
    assert [[entry.path for entry in one.fileset if entry.path] for one in made] == [
        ["file-0"], ["file-1"], ["file-2"], ["file-3"], ["file-1"],
    ]  # fmt: skip
    assert own.unpack_layers(tuple(reversed(blobs))) == tuple(reversed(made[:4]))


def test_of_several_layers_the_hostile_one_ends_all(own: LocalRunner) -> None:
    blobs = [layer(own._store, tar((name, {}, b"x"))) for name in ("fine", "../out", "also-fine")]
    with pytest.raises(HostileInputError, match="out"):
        own.unpack_layers(tuple(blobs))
    assert not os.listdir(own._store.layout.staging)


@pytest.mark.parametrize(
    ("data", "media_type", "diff_id", "kind", "said"),
    [
        (tar(("../out", {}, b"x")), LAYER_TAR, "", HostileInputError, "out"),
        (
            tar(("a", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"}, b"")),
            LAYER_TAR,
            "",
            HostileInputError,
            "link",
        ),
        (b"\x1f\x8b\x08 and then nothing", LAYER_GZIP, "", HostileInputError, "gzip"),
        (tar(("a", {}, b"x")), LAYER_TAR, "sha256:" + "0" * 64, IntegrityError, "promises"),
    ],
    ids=["path", "link", "cut", "other bytes"],
)
def test_what_is_wrong_with_a_layer_is_said_by_whom_it_concerns(
    own: LocalRunner, data: bytes, media_type: str, diff_id: str, kind: type[LamellaError], said: str
) -> None:
    with pytest.raises(kind, match=said) as caught:
        own.unpack_layers((layer(own._store, data, diff_id, media_type),))
    assert caught.value.exit_code == kind.exit_code
    assert not list(own._store.snapshots.all())
    assert not os.listdir(own._store.layout.staging)
    own.unpack_layers((layer(own._store, tar(("fine", {}, b"x"))),))
