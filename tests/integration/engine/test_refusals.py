"""What a machine lacks is named with its remedy, exit code 8, and nothing weaker is done instead (row 37)."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from lamella.process import Completed, run, which
from tests.integration.components.presence import missing, require_program, require_root

PROBE = """
import sys
from pathlib import Path
from lamella.canonical import FrozenMap
from lamella.engines.local.runner import LocalRunner
from lamella.engines.local.values import RunnerSettings
from lamella.errors import LamellaError
from lamella.store.store import Store
{prelude}
store = Store.open(Path({root!r}))
runner = LocalRunner(store, RunnerSettings(env=FrozenMap({{"PATH": "/usr/bin:/bin"}})))
try:
    runner.probe()
    print("works")
except LamellaError as error:
    print(error.exit_code, error.message, "|", error.hint)
finally:
    runner.close()
"""

DENY = """
import ctypes, struct
def deny(*numbers, answer):
    code = [(0x20, 0, 0, 0)]
    for number in numbers:
        code += [(0x15, 0, 1, number), (0x06, 0, 0, 0x00050000 | answer)]
    code.append((0x06, 0, 0, 0x7FFF0000))
    data = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *one) for one in code))
    class Program(ctypes.Structure):
        _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
    program = Program(len(code), ctypes.addressof(data))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0, ctypes.get_errno()
"""

x86 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="system call numbers of x86-64")


def probe(root: Path, *, before: tuple[str, ...] = (), prelude: str = "", python: str = sys.executable) -> str:
    """What a runner on a store at ``root`` says when it is asked whether it works."""
    env = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PATH": "/usr/bin:/bin:/usr/sbin"}
    argv = (*before, python, "-c", PROBE.format(prelude=prelude, root=str(root)))
    done: Completed = run(argv, env=env, check=False)
    return done.text or done.stderr.decode("utf-8", "replace")


def test_the_machine_itself_can(tmp_path: Path) -> None:
    require_program("bwrap", "bubblewrap")
    assert probe(tmp_path / "s") == "works"


def test_bubblewrap_that_is_not_there_is_named(tmp_path: Path) -> None:
    require_root()
    found = which("bwrap") or missing("bubblewrap is not installed")
    hide = ("unshare", "-m", "sh", "-c", f'mount --bind /dev/null {found} && exec "$@"', "sh")
    said = probe(tmp_path / "s", before=hide)
    assert said == "8 bubblewrap (bwrap) is not installed | as root: apt-get install bubblewrap"


def test_root_without_the_right_to_mount(tmp_path: Path) -> None:
    require_root()
    said = probe(tmp_path / "s", before=("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "--"))
    assert said.startswith(
        "8 steps need mount and process namespaces: the kernel says: Operation not permitted | in a container:"
    )


@x86
def test_a_filter_that_forbids_namespaces(tmp_path: Path) -> None:
    said = probe(tmp_path / "s", prelude=f"{DENY}\ndeny(272, answer=1)")
    assert said.startswith("8 steps need")
    assert "Operation not permitted" in said


@x86
def test_a_kernel_without_mounts_by_handle(tmp_path: Path) -> None:
    require_root()  # an ordinary user's filter forbids newuidmap to be setuid
    said = probe(tmp_path / "s", prelude=f"{DENY}\ndeny(442, answer=38)")
    assert said.startswith("8 this kernel cannot make mounts read-only by handle")
    assert "Linux 5.12" in said


@x86
def test_a_filter_that_blocks_openat2_changes_nothing_but_the_way(tmp_path: Path) -> None:
    require_root()  # an ordinary user's filter forbids newuidmap to be setuid
    assert probe(tmp_path / "s", prelude=f"{DENY}\ndeny(437, answer=38)") == "works"
    assert probe(tmp_path / "t", prelude=f"{DENY}\ndeny(437, answer=1)") == "works"


@x86
def test_a_kernel_without_overlayfs(tmp_path: Path) -> None:
    require_root()  # an ordinary user's filter forbids newuidmap to be setuid
    said = probe(tmp_path / "s", prelude=f"{DENY}\ndeny(165, answer=19)")
    assert said.startswith("8 ")
    assert "modprobe overlay" in said or "mount" in said


def test_a_store_on_a_file_system_that_cannot_hold_changes(tmp_path: Path) -> None:
    require_root()
    for name in ("lower", "upper", "work", "store"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    mounted = f'mount -t overlay overlay -o {options} {tmp_path}/store && exec "$@"'
    said = probe(tmp_path / "store", before=("unshare", "-m", "sh", "-c", mounted, "sh"))
    assert said.startswith(f"8 the file system of {tmp_path}/store/tmp")
    assert "cannot hold an overlay's changes" in said
    assert said.endswith("set XDG_CACHE_HOME")


def as_nobody(root: Path) -> tuple[str, ...]:
    """Arguments that make what follows an ordinary user without subordinate ids."""
    root.mkdir()
    shutil.chown(root, 65534, 65534)
    root.parent.chmod(0o755)
    for folder in root.parents:
        if folder.stat().st_mode & 0o005 != 0o005:
            missing(f"{folder} is closed to other users")
    return ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--")


def test_a_user_without_subordinate_ids(open_folder: Path, open_python: str) -> None:
    require_root()
    before = as_nobody(open_folder / "s")
    said = probe(open_folder / "s", before=before, python=open_python)
    assert "has no range of 65536 subordinate ids" in said
    assert "usermod --add-subuids" in said
    assert said.startswith("8 ")


FORBID = """
import os, sys
from lamella.engines.local import kernel
ready, go = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS)
    os.write(ready[1], b"x"); os.read(go[0], 1)
    with open("range", "w") as file: file.write("nobody:100000:65536")
    for name in ("/etc/subuid", "/etc/subgid"):
        kernel.mount("range", name, "", 4096)
    with open("/proc/sys/user/max_user_namespaces", "w") as file: file.write("0")
    os.execvp("setpriv", ["setpriv", *sys.argv[1:]])
os.read(ready[0], 1)
for name in ("uid_map", "gid_map"):
    with open(f"/proc/{child}/{name}", "w") as file: file.write("0 0 200000")
os.write(go[1], b"x")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_machine_that_forbids_user_namespaces(open_folder: Path, open_python: str) -> None:
    """The limit is set in a user namespace of the test's own, where it binds whoever is inside."""
    require_root()
    user = as_nobody(open_folder / "s")
    before = ("sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(open_folder), sys.executable, "-c", FORBID)
    said = probe(open_folder / "s", before=(*before, *user[1:]), python=open_python)
    assert said.startswith(
        "8 steps need user, mount and process namespaces: user.max_user_namespaces is 0 | as root: sysctl"
    )
