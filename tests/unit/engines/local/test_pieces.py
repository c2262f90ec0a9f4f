"""Small pure parts: environments, package sets, sources of a bootstrap, limits, accounts, bundles."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lamella.engines.local.accounts import Account, user_groups, user_ids
from lamella.engines.local.bootstrap import (
    ArchiveLine,
    bootstrap_arguments,
    bootstrap_hint,
    normalise_debian,
    parse_index_targets,
    source_lines,
)
from lamella.engines.local.certificates import CA_TARGET, joined_bundle, real_bundles, take_back
from lamella.engines.local.environment import STEP_BASE, command_environment
from lamella.engines.local.hosttools import ToolMemo, module_version, path_directories
from lamella.engines.local.identity import Identity, parse_libraries, take_on
from lamella.engines.local.limits import limit_argv, sweep_groups
from lamella.engines.local.packages import apk_packages, dpkg_packages, dpkg_set
from lamella.errors import ConfigError
from lamella.graph.op import BootstrapOp
from lamella.host.rooted import Rooted
from lamella.process import which

NOTHING: dict[str, dict[str, str]] = {"step_env": {}, "secrets": {}}
DEBIAN = BootstrapOp("debian", "trixie", "arm64", include=("b", "a"))


def test_an_environment_starts_from_the_same_few_variables() -> None:
    assert command_environment({}, network=False, with_bundle=True, **NOTHING) == STEP_BASE
    assert command_environment({"HOME": "/h", "X": "1"}, network=False, with_bundle=False, **NOTHING) == {
        **STEP_BASE,
        "HOME": "/h",
        "X": "1",
    }


def test_proxies_and_bundle_are_there_with_the_network_only_and_give_way_to_the_op() -> None:
    env = command_environment(
        {"SSL_CERT_FILE": "/own"}, network=True, step_env={"http_proxy": "p"}, with_bundle=True, secrets={"T": "v"}
    )
    assert (env["http_proxy"], env["CURL_CA_BUNDLE"], env["SSL_CERT_FILE"], env["T"]) == ("p", CA_TARGET, "/own", "v")
    quiet = command_environment({}, network=False, step_env={"http_proxy": "p"}, with_bundle=True, secrets={})
    assert quiet == STEP_BASE


def test_installed_packages_of_dpkg() -> None:
    status = (
        "Package: a\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:2-3\nDescription: x\n Package: n\n\n"
        "Package: b\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\n\n"
        "Package: a\nStatus: install ok installed\nArchitecture: i386\nVersion: 1:2-3\n"
    )
    assert dpkg_packages(status) == {"a:amd64": "1:2-3", "a:i386": "1:2-3"}


def test_installed_packages_of_apk() -> None:
    assert apk_packages("C:Q1\nP:musl\nV:1.2.5-r0\nA:x86_64\n\nP:x\nV:1\n\n") == {"musl:x86_64": "1.2.5-r0", "x:": "1"}


def test_a_package_set_is_canonical(tmp_path: Path) -> None:
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text("Package: z\nArchitecture: all\nVersion: 1\n", encoding="utf-8")
    with Rooted(tmp_path) as root:
        data = dpkg_set(root)
    assert json.loads(data) == {"format": 1, "packages": {"dpkg:z:all": "1"}}


HOST = parse_index_targets(
    "http://m/debian/ bookworm main\nhttp://m/debian/ bookworm main\nhttp://m/debian/ bookworm-updates main\n"
    "http://m/debian-security/ bookworm-security main\nhttp://m/debian/ bookworm contrib\n"
    "http://other/tool stable main\nhttps://x/debian nodistro main\nbroken\n"
)


def lines(op: BootstrapOp, *, mirror: str = "", codename: str = "bookworm") -> tuple[str, ...]:
    return source_lines(op, snapshot_mirror=mirror, host=HOST, host_codename=codename)


def test_the_hosts_archives_serve_another_suite_of_the_same_distribution() -> None:
    assert ArchiveLine("http://m/debian/", "bookworm", "main") in HOST
    assert lines(DEBIAN) == (
        "deb http://m/debian trixie main",
        "deb http://m/debian trixie-updates main",
        "deb http://m/debian-security trixie-security main",
    )
    assert lines(BootstrapOp("debian", "sid", "amd64")) == ("deb http://m/debian sid main",)
    assert lines(BootstrapOp("ubuntu", "noble", "amd64")) == ()
    assert lines(DEBIAN, codename="") == ()


def test_a_mirror_of_its_own_is_taken_as_it_is() -> None:
    op = BootstrapOp("debian", "trixie", "amd64", mirror="https://mine/debian")
    assert lines(op) == ("deb https://mine/debian trixie main",)


def test_a_snapshot_needs_a_configured_mirror() -> None:
    op = BootstrapOp("debian", "trixie", "amd64", snapshot="20250601T000000Z")
    assert lines(op, mirror="https://snap/archive/") == (
        "deb [check-valid-until=no] https://snap/archive/debian/20250601T000000Z trixie main",
        "deb [check-valid-until=no] https://snap/archive/debian/20250601T000000Z trixie-updates main",
        "deb [check-valid-until=no] https://snap/archive/debian-security/20250601T000000Z trixie-security main",
    )
    with pytest.raises(ConfigError, match="no snapshot mirror is configured"):
        lines(op)


def test_arguments_of_a_bootstrap() -> None:
    argv = bootstrap_arguments(DEBIAN, ("deb http://m/debian trixie main",), "/t")
    assert argv[argv.index("--") :] == ("--", "trixie", "/t", "deb http://m/debian trixie main")
    assert {"--variant=minbase", "--architectures=arm64", "--include=b,a", "--mode=root"} <= set(argv)


def test_what_differs_between_machines_and_hours_is_taken_out(tmp_path: Path) -> None:
    gone = (
        "etc/hostname",
        "var/log/dpkg.log",
        "var/log/apt/term.log",
        "var/lib/apt/lists/x",
        "etc/passwd-",
        "dev/null",
    )
    kept = ("etc/passwd", "var/log/btmp", "var/lib/dpkg/status", "run/lock/x")
    for name in (*gone, *kept, "etc/machine-id"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x", encoding="utf-8")
    (tmp_path / "etc/resolv.conf").symlink_to("/etc/passwd")
    with Rooted(tmp_path, links=False) as root:
        normalise_debian(root)
    assert [name for name in gone if (tmp_path / name).exists()] == []
    assert [name for name in kept if not (tmp_path / name).exists()] == []
    assert (tmp_path / "etc/machine-id").read_bytes() == b""
    assert not (tmp_path / "etc/resolv.conf").is_symlink()
    assert (tmp_path / "var/lib/apt/lists").is_dir()


def test_limits_of_each_process_where_there_is_no_group() -> None:
    assert limit_argv(0, 0, "/usr/bin/prlimit") == ()
    assert limit_argv(5, 0, None) == ()
    assert limit_argv(1 << 20, 7, "prlimit") == ("prlimit", "--core=0", "--data=1048576", "--nproc=7", "--")


def test_groups_of_killed_runs_are_swept(tmp_path: Path) -> None:
    for name in ("lamella-1", "memory/lamella-2", "pids/lamella-3", "memory/other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "memory/lamella-2/busy").touch()
    sweep_groups(tmp_path)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_dir()}
    assert left == {"memory", "memory/lamella-2", "memory/other", "pids"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(
        "root:x:0:0::/root:/bin/sh\napp:x:1000:1001:A:/home/app:/bin/sh\nbroken\n", encoding="utf-8"
    )
    (tmp_path / "etc/group").write_text("app:x:1001:\nvideo:x:44:app,root\nbad:x:y:app\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("user", "account"),
    [
        ("0:0", Account(0, 0, "/root")),
        ("app", Account(1000, 1001, "/home/app")),
        ("1000", Account(1000, 1001, "/home/app")),
        ("app:video", Account(1000, 44, "/home/app")),
        ("7", Account(7, 7, "/")),
        ("7:8", Account(7, 8, "/")),
    ],
)
def test_users_by_name_and_number(root: Path, user: str, account: Account) -> None:
    assert user_ids(str(root), user) == account


@pytest.mark.parametrize("user", ["nobody-here", "app:nogroup", "bad:bad"])
def test_an_unknown_name_is_an_error(root: Path, user: str) -> None:
    with pytest.raises(ConfigError, match="is not in the root file system"):
        user_ids(str(root), user)


def test_further_groups_of_a_user(root: Path) -> None:
    assert user_groups(str(root), "app") == (44,)
    assert user_groups(str(root), "app:app") == ()


def test_libraries_of_a_program_and_its_loader() -> None:
    text = (
        "\tlinux-vdso.so.1 (0x0)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x1)\n"
        "\t/lib64/ld-linux-x86-64.so.2 (0x2)\n"
    )
    loader = "/lib64/ld-linux-x86-64.so.2"
    assert parse_libraries(text) == (loader, ("/lib/x86_64-linux-gnu/libc.so.6", loader))
    musl = "\t/lib/ld-musl-x86_64.so.1 (0x1)\n\tlibc.musl-x86_64.so.1 => /lib/ld-musl-x86_64.so.1 (0x1)\n"
    assert parse_libraries(musl)[0] == "/lib/ld-musl-x86_64.so.1"
    assert parse_libraries("\tnot a dynamic executable\n") == ("", ())


def test_root_takes_nothing_on_and_others_lose_every_right() -> None:
    assert take_on(Account(0, 0, "/")) == Identity()
    taken = take_on(Account(5, 6, "/"))
    assert {"--reuid=5", "--regid=6", "--clear-groups", "--inh-caps=-all", "--ambient-caps=-all"} <= set(taken.prefix)
    assert all(inside.startswith("/dev/.lamella/") for _, inside in taken.shown)
    assert "--groups=7,8" in take_on(Account(5, 6, "/"), (7, 8)).prefix


def test_bundles_are_found_once_by_their_real_path(tmp_path: Path) -> None:
    (tmp_path / "etc/ssl/certs").mkdir(parents=True)
    (tmp_path / "etc/ssl/certs/ca-certificates.crt").write_bytes(b"own")
    (tmp_path / "etc/ssl/cert.pem").symlink_to("/etc/ssl/certs/ca-certificates.crt")
    assert real_bundles(str(tmp_path)) == {"/etc/ssl/certs/ca-certificates.crt": b"own"}


def test_bundles_are_joined() -> None:
    assert joined_bundle(b"\nextra\n", b"own\n\n") == b"own\nextra\n"
    assert joined_bundle(b"extra", b"") == b"extra"


def test_only_our_own_copy_of_a_bundle_is_taken_back(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"bundle")
    (tmp_path / "b").write_bytes(b"made by the step")
    (tmp_path / "c").symlink_to("a")
    assert take_back(str(tmp_path), ("/a", "/b", "/c", "/d"), b"bundle") == ("/a",)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c"]


def test_the_version_of_a_node_program_comes_from_its_package(tmp_path: Path) -> None:
    program = tmp_path / "lib/npm/bin/npm-cli.js"
    program.parent.mkdir(parents=True)
    program.touch()
    (tmp_path / "lib/package.json").write_text('{"name": "other", "version": "9"}', encoding="utf-8")
    assert module_version("npm", str(program)) == ""
    (tmp_path / "lib/npm/package.json").write_text('{"name": "npm", "version": "10.1.0"}', encoding="utf-8")
    assert module_version("npm", str(program)) == "10.1.0"


def test_directories_of_tools_come_before_the_systems() -> None:
    assert path_directories(["/t/bin", "", "/t/bin", "/usr/bin"])[:3] == ("/t/bin", "/usr/bin", "/usr/local/sbin")


def test_a_program_is_asked_again_only_when_its_file_is_another_one(tmp_path: Path) -> None:
    program, memo = tmp_path / "tool", tmp_path / "memo.json"
    shutil.copy(which("echo") or "/bin/echo", program)
    with ToolMemo(memo) as first:
        assert first.ask((str(program), "one"), {}) == "one"
    known = json.loads(memo.read_bytes())
    assert list(known["answers"].values()) == ["one"]
    memo.write_text(json.dumps({"answers": dict.fromkeys(known["answers"], "remembered")}), encoding="utf-8")
    with ToolMemo(memo) as second:
        assert second.ask((str(program), "one"), {}) == "remembered"
        assert second.ask((str(program), "two"), {}) == "two"
    program.touch()
    with ToolMemo(memo) as third:
        assert third.ask((str(program), "one"), {}) == "one"


def test_scripts_are_asked_each_time_and_a_broken_memo_is_no_harm(tmp_path: Path) -> None:
    program, memo = tmp_path / "tool", tmp_path / "memo.json"
    memo.write_text("[", encoding="utf-8")
    for word in ("one", "two"):
        (tmp_path / "version").write_text(word, encoding="utf-8")
        program.write_text(f"#!/bin/sh\ncat {tmp_path}/version\n", encoding="utf-8")
        program.chmod(0o755)
        with ToolMemo(memo) as asked:
            assert asked.ask((str(program),), {}) == word


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("E: Release file for x is expired (invalid since 15d 8h). Updates", "clock is ahead"),
        ("E: Release file for x is not valid yet (invalid for another 1h)", "clock is behind"),
        ("W: Failed to fetch x  Temporary failure resolving 'deb'", "cannot be reached"),
        ("E: The repository 'x nonsuch Release' does not have a Release file.", "check its name"),
        ("The following signatures couldn't be verified: NO_PUBKEY 6ED0", "debian-archive-keyring"),
        ("E: something else", ""),
    ],
)
def test_a_failed_bootstrap_says_what_helps(said: str, hint: str) -> None:
    found = bootstrap_hint(said)
    assert hint in found
    assert bool(found) == bool(hint)
