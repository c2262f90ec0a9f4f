"""What a hostile step tries (RELIABILITY rows 32, 33, 35, 36); each attempt is one small program."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from lamella.engines.local.runner import LocalRunner
from lamella.engines.local.values import Chain, RunnerSettings, SnapshotInput, StepSpec
from lamella.errors import HostileInputError, LamellaError, ResourceError, StepError
from lamella.graph.mount import BindMount, CacheMount, SecretMount, TmpfsMount
from tests.integration.engine.conftest import ENV
from tests.integration.engine.steps import Steps, py, sh

CALL = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    result = getattr(libc, name)(*arguments) if isinstance(name, str) else libc.syscall(name, *arguments)
    print(name, "done" if result >= 0 else errno.errorcode[ctypes.get_errno()], flush=True)
"""


def in_background(steps: Steps, spec: StepSpec, said: list[str]) -> threading.Thread:
    """A thread that runs a step and collects its lines."""
    thread = threading.Thread(target=lambda: steps.runner.run_step(spec, lambda _, line: said.append(line)))
    thread.start()
    return thread


REFUSED_CALLS = {
    "mount": 'call("mount", b"none", b"/mnt", b"tmpfs", 0, None)',
    "umount": 'call("umount2", b"/proc", 2)',
    "bind mount": 'call("mount", b"/etc", b"/mnt", None, 4096, None)',
    "open_tree": "call(428, -100, b'/', 1)",
    "fsopen": "call(430, b'tmpfs', 0)",
    "pivot_root": 'call(155, b"/mnt", b"/mnt")',
    "unshare user": 'call("unshare", 0x10000000)',
    "unshare mount": 'call("unshare", 0x00020000)',
    "clone user": "call(56, 0x10000000 | 17, 0, 0, 0, 0)",
    "setns": 'call("setns", os.open("/proc/self/ns/net", os.O_RDONLY), 0)',
    "ptrace": 'call("ptrace", 0, 0, 0, 0)',
    "process_vm_readv": "call(310, os.getpid(), 0, 0, 0, 0, 0)",
    "keyctl": "call(250, 0, -3, 1)",
    "add_key": 'call(248, b"user", b"x", b"y", 1, -3)',
    "request_key": 'call(249, b"user", b"x", 0, 0)',
    "bpf": "call(321, 0, 0, 0)",
    "perf_event_open": "call(298, 0, 0, -1, -1, 0)",
    "userfaultfd": "call(323, 0)",
    "init_module": 'call(175, b"x", 1, b"")',
    "finit_module": 'call(313, 0, b"", 0)',
    "delete_module": 'call(176, b"overlay", 0)',
    "kexec_load": "call(246, 0, 0, 0, 0)",
    "open_by_handle_at": "call(304, -100, 0, 0)",
    "swapon": 'call("swapon", b"/x", 0)',
    "reboot": "call(169, 0xfee1dead, 672274793, 0, 0)",
    "settimeofday": "call(164, 0, 0)",
    "syslog": "call(103, 3, 0, 0)",
    "TIOCSTI": "call('ioctl', 0, 0x5412, b'x')",
    "TIOCSTI, high bits": "call(16, 0, ctypes.c_ulong(0x100005412), b'x')",
}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="system call numbers of x86-64")
def test_calls_that_reach_beyond_the_sandbox_are_refused(steps: Steps) -> None:
    program = CALL + "\n".join(REFUSED_CALLS.values())
    ran = steps.run(steps.spec(py(program)))
    answers = dict(zip(REFUSED_CALLS, (line.rpartition(" ")[2] for line in ran.lines), strict=True))
    assert {name: answer for name, answer in answers.items() if answer != "EPERM"} == {}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="system call numbers of x86-64")
def test_calls_whose_arguments_a_filter_cannot_see_look_unknown(steps: Steps) -> None:
    ran = steps.run(steps.spec(py(CALL + "call(435, 0, 0)\ncall(425, 1, 0)\ncall(0x40000000 | 165, 0, 0, 0, 0, 0)")))
    assert [line.rpartition(" ")[2] for line in ran.lines] == ["ENOSYS"] * 3


def test_the_host_is_not_there(steps: Steps, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_text("host", encoding="utf-8")
    script = f"""
        import os
        print(os.path.exists({str(canary)!r}), os.path.exists({str(steps.store.root)!r}))
        try:
            os.makedirs({str(tmp_path)!r}); open({str(canary)!r}, "w").write("mine")
        except OSError as error:
            print(error)
        os.mkdir("/jail"); os.chroot("/jail"); os.chdir("/")
        for _ in range(64): os.chdir("..")
        os.chroot(".")
        print(os.path.exists({str(canary)!r}) and open({str(canary)!r}).read())
    """
    ran = steps.run(steps.spec(py(script)))
    assert ran.lines[0] == "False False"
    assert "host" not in ran.text
    assert canary.read_text(encoding="utf-8") == "host"


def test_procfs_and_sysfs_give_no_power(steps: Steps) -> None:
    script = """
        import os
        paths = ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/net/ipv4/ip_forward",
                 "/proc/sys/vm/drop_caches", "/proc/sysrq-trigger", "/proc/mtrr", "/proc/irq/default_smp_affinity",
                 "/proc/1/oom_score_adj", "/sys/power/state", "/dev/mem", "/dev/kmsg", "/proc/kcore"]
        for path in paths:
            try:
                os.close(os.open(path, os.O_WRONLY)); print(path)
            except OSError:
                pass
        for path in ("/proc/keys", "/proc/kmsg", "/proc/timer_list"):
            try: print(path, "says", open(path).read())
            except OSError: pass
        print(sorted(os.listdir("/dev")))
    """
    ran = steps.run(steps.spec(py(script)))
    assert [line for line in ran.lines[:-1] if line != "/proc/1/oom_score_adj"] == []  # its own first process
    assert not {"mem", "kmsg", "sda", "vda", "kvm", "fuse"} & set(ran.lines[-1].replace("'", " ").split())


def test_device_nodes_cannot_be_made_or_do_not_open(steps: Steps) -> None:
    script = """
        import os, stat
        try:
            os.mknod("/node", stat.S_IFBLK | 0o666, os.makedev(254, 0)); os.open("/node", os.O_RDONLY); print("open")
        except OSError as error:
            print(error.strerror)
    """
    assert steps.run(steps.spec(py(script))).lines[0] in ("Operation not permitted", "Permission denied")


def test_processes_of_the_host_cannot_be_seen_or_killed(steps: Steps) -> None:
    script = f"""
        import os
        print(len([n for n in os.listdir("/proc") if n.isdigit()]) < 6)
        try:
            os.kill({os.getpid()}, 0); print("reached")
        except OSError as error:
            print(error.strerror)
        try:
            os.kill(-1, 9)
        except OSError as error:
            print(error.strerror)
    """
    ran = steps.run(steps.spec(py(script)))
    assert ran.lines[:2] == ["True", "No such process"]


def test_nothing_is_inherited_but_the_three_streams(steps: Steps) -> None:
    ran = steps.run(steps.spec(py("import os; print(sorted(os.listdir('/proc/self/fd'), key=int)[:-1])")))
    assert ran.lines == ["['0', '1', '2']"]


def test_no_program_gains_rights(steps: Steps) -> None:
    ran = steps.run(
        steps.spec("grep -E '^(NoNewPrivs|Seccomp|CapEff)' /proc/self/status; cat /proc/self/attr/current || :")
    )
    status = dict(line.split(":\t") for line in ran.lines if ":\t" in line)
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert (
        int(status["CapEff"], 16) & (1 << 21 | 1 << 12 | 1 << 16 | 1 << 19) == 0
    )  # SYS_ADMIN, NET_ADMIN, MODULE, PTRACE


def test_a_step_as_a_user_has_no_rights_at_all(steps: Steps) -> None:
    ran = steps.run(steps.spec("grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status; id", user="1000:1000"))
    assert {line.split("\t")[1] for line in ran.lines[:4]} == {"0" * 16}
    assert ran.lines[4] == "uid=1000 gid=1000 groups=1000"


def test_without_the_network_there_is_only_a_loopback(steps: Steps) -> None:
    script = """
        import socket
        print(sorted(name for _, name in socket.if_nameindex()))
        server = socket.create_server(("127.0.0.1", 0))
        socket.create_connection(server.getsockname()); print("loopback")
        try:
            socket.create_connection(("192.0.2.1", 80), timeout=2)
        except OSError as error:
            print(error.strerror)
    """
    ran = steps.run(steps.spec(py(script)))
    assert ran.lines == ["['lo']", "loopback", "Network is unreachable"]
    assert ran.outcome.hermetic


def test_the_network_is_open_for_the_command_that_asks_for_it_alone(steps: Steps) -> None:
    look = "import os; print(os.readlink('/proc/self/ns/net'))"
    ran = steps.run(steps.spec(py(look), py(look, network=True), py(look)))
    host = os.readlink("/proc/self/ns/net")
    assert ran.lines[1] == host
    assert host not in (ran.lines[0], ran.lines[2])
    assert not steps.run(steps.spec("true", network="host")).outcome.hermetic


def test_twin_steps_do_not_meet_on_an_abstract_socket(steps: Steps) -> None:
    """Collusion as in Nix CVE-2024-27297: a descriptor passed to a twin would change a result after its commit."""
    listen = """
        import socket
        server = socket.socket(socket.AF_UNIX); server.bind("\\0lamella-twin"); server.listen(); server.settimeout(1.5)
        try:
            server.accept(); print("met")
        except TimeoutError:
            print("alone")
    """
    reach = """
        import socket, time
        for _ in range(10):
            try:
                socket.socket(socket.AF_UNIX).connect("\\0lamella-twin"); print("met"); break
            except OSError:
                time.sleep(0.1)
        else:
            print("alone")
    """
    said: list[str] = []
    threads = [in_background(steps, steps.spec(py(text)), said) for text in (listen, reach)]
    for thread in threads:
        thread.join()
    assert said == ["alone", "alone"]


def test_a_step_does_not_see_the_secrets_of_another(steps: Steps) -> None:
    mounts = (SecretMount("mine", "/run/secrets/mine"),)
    first = steps.spec("sleep 1; cat /run/secrets/mine >/dev/null", mounts=mounts, secrets={"mine": b"top-secret"})
    thread = in_background(steps, first, [])
    ran = steps.run(steps.spec("grep -r top-secret / -s -l --exclude-dir=proc --exclude-dir=usr || echo none"))
    thread.join()
    assert ran.lines[0] == "none"


def test_all_processes_are_dead_before_the_result_is_read(steps: Steps) -> None:
    daemon = """
        import os, sys, time
        for _ in range(3):
            if os.fork() == 0:
                os.setsid()
                while True:
                    open("/late", "a").write("x"); time.sleep(0.001)
        time.sleep(0.05)
    """
    ran = steps.run(
        steps.spec(py(daemon), "stat -c %s /late > /size; sleep 0.1; stat -c %s /late > /size2; cmp /size /size2")
    )
    late = ran.outcome.fileset.get("late")
    snapshot = steps.store.snapshots.find(ran.outcome.snapshot)
    assert late is not None
    assert snapshot is not None
    assert (snapshot.path / "late").stat().st_size == late.size


# -- row 33 and 35: hostile root file systems and places for mounts ----------------------------------------------------


def made_by(steps: Steps, script: str) -> Chain:
    """A chain on top of the base, changed by a script."""
    return Chain((*steps.base.snapshots, steps.run(steps.spec(script)).outcome.snapshot))


@pytest.mark.parametrize("place", ["proc", "dev"])
def test_a_root_whose_own_places_are_links_is_refused(steps: Steps, place: str) -> None:
    made = steps.run(steps.spec(f"mkdir -p /o/etc; ln -s ../../../../etc /o/{place}", outputs=(("/o", ""),)))
    hostile = steps.spec("echo ran", rootfs=Chain((made.outcome.snapshot,)))
    with pytest.raises(HostileInputError, match=f"/{place} in the root file system is a link"):
        steps.run(hostile)


def test_mount_targets_behind_links_stay_inside(steps: Steps, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    chain = made_by(
        steps, f"mkdir /real; ln -s real /inner; ln -s ../../../../../..{outside} /outer; ln -s /real/x/y /dangling"
    )
    ran = steps.run(steps.spec("touch /inner/t/f; ls -d /real/t", mounts=(TmpfsMount("/inner/t"),), rootfs=chain))
    assert ran.lines == ["/real/t"]
    for target in ("/outer/t", "/dangling/t", "/dangling"):
        with pytest.raises(HostileInputError, match="dangling link"):
            steps.run(steps.spec("true", mounts=(TmpfsMount(target),), rootfs=chain))
    with pytest.raises(HostileInputError, match="is no directory"):
        steps.run(steps.spec("true", mounts=(TmpfsMount("/etc/passwd/x"),), rootfs=chain))
    assert list(outside.iterdir()) == []


def test_name_service_files_that_are_links_do_not_reach_the_host(steps: Steps, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    script = f"mkdir /o; ln -s ../../../../../..{victim} /o/resolv.conf; ln -s /nowhere /o/hosts; cp -a /etc/passwd /o"
    links = steps.run(steps.spec(script, outputs=(("/o", "etc"),)))
    chain = Chain((*steps.base.snapshots, links.outcome.snapshot))
    ran = steps.run(
        steps.spec(sh("grep -c localhost /etc/hosts; test -f /etc/resolv.conf", network=True), rootfs=chain)
    )
    assert ran.lines != ["0"]
    assert ran.paths == []
    assert not victim.exists()


@pytest.mark.parametrize("cwd", ["/proc/self/fd/7", "/proc/self/cwd", "/proc/1/root", "/workdir"])
def test_a_working_directory_in_procfs_is_refused(steps: Steps, cwd: str) -> None:
    """As in CVE-2024-21626 of runc."""
    chain = made_by(steps, "ln -s /proc/self/fd/8 /workdir")
    with pytest.raises(StepError, match="working directory"):
        steps.run(steps.spec("pwd; ls -la", cwd=cwd, rootfs=chain))


def test_a_place_for_a_mount_that_is_swapped_for_a_link_harms_nobody(steps: Steps, tmp_path: Path) -> None:
    """BuildKit CVE-2024-23652: the stub's removal followed what the step had put there."""
    canary = tmp_path / "canary"
    canary.write_text("alive", encoding="utf-8")
    attack = f"""
        import os
        for number, path in enumerate(("/etc/app/secret", "/etc/app", "/etc/hosts", "/lamella/src", "/lamella")):
            for attempt in (os.unlink, os.rmdir, lambda path: os.rename(path, f"/moved{{number}}")):
                try:
                    attempt(path)
                except OSError:
                    continue
                os.symlink({str(tmp_path)!r}, path); print("swapped", path)
    """
    mounts = (SecretMount("s", "/etc/app/secret"), TmpfsMount("/lamella/src"))
    ran = steps.run(steps.spec(py(attack), "ls /lamella/src; echo still", mounts=mounts, secrets={"s": b"1234567"}))
    assert ran.lines == ["still"]
    assert canary.read_text(encoding="utf-8") == "alive"
    assert os.listdir(tmp_path) == ["canary"]
    assert ran.paths == []


def test_two_steps_that_swap_a_directory_of_a_shared_cache_never_see_the_host(steps: Steps, tmp_path: Path) -> None:
    """Row 34 in small: mounts are made by handle before anything runs, so there is no name left to race for."""
    cache = (CacheMount(f"race-{os.getpid()}", "/cache"),)
    (tmp_path / "host").write_text("host", encoding="utf-8")
    swap = f"""
        import os
        for number in range(3000):
            try:
                os.symlink({str(tmp_path)!r}, "/cache/d"); os.unlink("/cache/d")
                os.mkdir("/cache/d"); os.rmdir("/cache/d")
            except OSError: pass
    """
    look = """
        import os
        seen = set()
        for number in range(3000):
            try: seen.update(os.listdir("/cache/d"))
            except OSError: pass
        print(sorted(seen))
    """
    said: list[str] = []
    threads = [in_background(steps, steps.spec(py(text), mounts=cache), said) for text in (swap, look)]
    for _ in range(10):
        nested = (*cache, TmpfsMount("/cache/d"))
        try:
            steps.run(steps.spec("echo x > /cache/d/x", mounts=nested))
        except LamellaError:
            continue
    for thread in threads:
        thread.join()
    assert "[]" in said or "['x']" in said
    assert os.listdir(tmp_path) == ["host"]


# -- row 36: limits ----------------------------------------------------------------------------------------------------


@pytest.fixture
def small(steps: Steps) -> Steps:
    """Steps of at most 200 MiB and 64 processes."""
    runner = LocalRunner(steps.store, RunnerSettings(env=ENV, memory=200 << 20, processes=64))
    return Steps(steps.store, runner, steps.base)


def test_a_step_that_fills_memory_is_ended(small: Steps) -> None:
    try:
        with pytest.raises((ResourceError, StepError)) as caught:
            small.run(
                small.spec(py("x = bytearray(800 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\nprint('kept')"))
            )
        assert "kept" not in small.lines
        assert "memory" in str(caught.value).lower() or "MemoryError" in "\n".join(small.lines)
    finally:
        small.runner.close()


def test_a_fork_bomb_is_held_and_then_gone(small: Steps) -> None:
    bomb = """
        import os, time
        made = 0
        try:
            for _ in range(5000):
                if os.fork() == 0:
                    time.sleep(300)
                made += 1
        except OSError:
            print("held at", made < 100)
            raise SystemExit(9)
    """
    try:
        with pytest.raises((ResourceError, StepError)):
            small.run(small.spec(py(bomb)))
        assert small.lines[:1] == ["held at True"]
        small.run(small.spec("true"))
    finally:
        small.runner.close()


def test_a_product_cannot_bring_devices_or_leave_through_its_path(steps: Steps) -> None:
    with pytest.raises(StepError, match="device or FIFO"):
        steps.run(steps.spec("mkdir /o; mkfifo /o/f", outputs=(("/o", ""),)))
    made = steps.run(steps.spec("mkdir /o; ln -s ../../../.. /o/up; echo x > /o/x", outputs=(("/o", ""),)))
    product = {0: SnapshotInput(made.outcome.snapshot)}
    with pytest.raises((HostileInputError, StepError)):
        steps.run(steps.spec("ls /p", mounts=(BindMount(0, "/p", source="up/etc"),), inputs=product))
