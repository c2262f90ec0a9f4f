"""The command line of bubblewrap."""

from __future__ import annotations

from lamella.engines.local.bubblewrap import CAPABILITIES, BubblewrapCall, ProcMasks, bubblewrap_argv

PROCFS = ProcMasks(("/proc/kcore",), ("/proc/acpi",), ("/proc/sys",))


def test_a_step_without_the_network() -> None:
    call = BubblewrapCall("/m", ("make", "-j2"), "/src", procfs=PROCFS, seccomp_fd=7, info_fd=8, block_fd=9)
    argv = bubblewrap_argv(call, "/usr/bin/bwrap")
    text = " ".join(argv)
    assert text.startswith("/usr/bin/bwrap --bind /m / --dev /dev --proc /proc ")
    for part in (
        "--ro-bind /proc/sys /proc/sys",
        "--ro-bind /dev/null /proc/kcore",
        "--tmpfs /proc/acpi --remount-ro /proc/acpi",
        "--unshare-pid --unshare-ipc --unshare-uts --unshare-cgroup-try",
        "--unshare-net",
        "--die-with-parent",
        "--new-session",
        "--seccomp 7 --info-fd 8 --block-fd 9",
    ):
        assert f" {part} " in text, part
    assert text.endswith("--chdir /src -- make -j2")


def test_all_capabilities_are_dropped_before_some_are_added() -> None:
    argv = bubblewrap_argv(BubblewrapCall("/m", ("true",)))
    assert [argv[n + 1] for n, word in enumerate(argv) if word == "--cap-drop"] == ["ALL"]
    added = [argv[n + 1] for n, word in enumerate(argv) if word == "--cap-add"]
    assert added == list(CAPABILITIES)
    assert argv.index("--cap-drop") < argv.index("--cap-add")
    assert not {"CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_MKNOD", "CAP_NET_RAW", "CAP_NET_ADMIN"} & set(added)


def test_the_network_and_a_terminal_only_when_asked_for() -> None:
    argv = bubblewrap_argv(BubblewrapCall("/m", ("sh",), network=True, terminal=True))
    assert "--unshare-net" not in argv
    assert "--new-session" not in argv
    assert "--seccomp" not in argv


def test_options_of_the_command_are_not_options_of_bubblewrap() -> None:
    argv = bubblewrap_argv(BubblewrapCall("/m", ("--share-net", "--bind", "/", "/")))
    assert argv[argv.index("--") + 1 :] == ("--share-net", "--bind", "/", "/")


def test_no_environment_stands_among_the_arguments() -> None:
    assert "--setenv" not in bubblewrap_argv(BubblewrapCall("/m", ("true",)))
