"""A step's script under dash, BusyBox and bash: what the commands see, what comes out, how it fails."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from lamella.canonical import FrozenMap
from lamella.engines.buildkit.script import StepScript, packages_script, quote, step_script
from lamella.engines.local.certificates import BUNDLE_PLACES
from lamella.engines.local.environment import STEP_BASE
from lamella.errors import ConfigError, HostileInputError
from lamella.graph.mount import BindMount, CacheMount, SecretMount
from lamella.graph.op import Command, ExecOp, OutputPath
from tests.unit.engines.buildkit.goldens import GOLDEN
from tests.unit.engines.buildkit.sample import command
from tests.unit.engines.buildkit.shells import MARK, SHELLS, Ran, Shell, open_shell

ODD = (
    "", " ", "it's", '"', "$HOME", "`id`", "$(id)", "\\", "a\\nb", "a\nb\n", "*", "-n", "--", "%s", "~", "#x", "!",
    ";x", "größe", "a\tb", "'''", "é\udcff",
)  # fmt: skip


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    return open_shell(request.param, tmp_path)


def op_of(shell: Shell, *commands: Command, out: str = "", **more: object) -> ExecOp:
    """Commands in the sources' folder; with ``out`` as output path, which becomes the product's root."""
    outputs = (OutputPath(shell.inside(out), ""),) if out else ()
    fields: dict[str, object] = {"cwd": shell.inside("/lamella/src"), "outputs": outputs, **more}
    return ExecOp(commands, **fields)  # type: ignore[arg-type]  # names of ExecOp's own fields


def run(shell: Shell, op: ExecOp, **more: object) -> Ran:
    return shell.run(StepScript(op, MARK, **more))  # type: ignore[arg-type]  # names of StepScript's own fields


def evidence(shell: Shell, number: int = 0) -> bytes:
    return shell.at(f"/lamella/out/evidence/{number}").read_bytes()


def product(shell: Shell) -> Path:
    return shell.at("/lamella/out/product")


# -- what commands see -------------------------------------------------------------------------------------------------


def test_the_environment_is_made_from_nothing(shell: Shell) -> None:
    env = FrozenMap({"OWN": "1", "LANG": "de", "DOTTED.name-x": "2"})
    ran = run(shell, op_of(shell, command("env"), env=env), step_env=FrozenMap({"http_proxy": "p"}))
    seen = dict(line.split("=", 1) for line in ran.out.decode().splitlines())
    path = str(shell.root / "tools") if shell.name == "busybox" else STEP_BASE["PATH"]
    assert seen == {**STEP_BASE, **env, "PATH": path, "PWD": shell.inside("/lamella/src")}


def test_variables_hold_any_text(shell: Shell) -> None:
    env = FrozenMap({f"ODD{number}": value for number, value in enumerate(ODD)})
    text = "; ".join(f"printf '%s|' \"$ODD{number}\"" for number in range(len(ODD)))
    ran = run(shell, op_of(shell, command("sh", "-c", text), env=env))
    assert ran.out.decode("utf-8", "surrogateescape") == "".join(f"{value}|" for value in ODD)


def test_arguments_arrive_as_they_are(shell: Shell) -> None:
    ran = run(shell, op_of(shell, command("printf", "%s\\0", *ODD)))
    assert ran.out.decode("utf-8", "surrogateescape").split("\0")[:-1] == list(ODD)
    assert ran.code == 0


def test_a_program_may_have_an_equals_sign_in_its_name(shell: Shell) -> None:
    place = shell.at("/opt/a=b")
    place.mkdir(parents=True)
    (place / "tool").write_text('#!/bin/sh\nprintf "%s|" "$OWN" "$@"\n')
    (place / "tool").chmod(0o755)
    ran = run(shell, op_of(shell, command(str(place / "tool"), "x=y", ""), env=FrozenMap({"OWN": "1"})))
    assert (ran.code, ran.out) == (0, b"1|x=y||")


def test_proxies_of_the_builder_reach_only_commands_with_the_network(shell: Shell) -> None:
    show = ("sh", "-c", 'printf "%s," "${http_proxy-none}" "${HTTPS_PROXY-none}" "${no_proxy-none}"')
    op = op_of(shell, Command(show), Command(show, network=True), env=FrozenMap({"no_proxy": "own"}))
    script = StepScript(op, MARK, step_env=FrozenMap({"HTTPS_PROXY": "set"}))
    ran = shell.run(script, http_proxy="http://u:p@x y", HTTPS_PROXY="builder", no_proxy="builder")
    assert ran.out == b"none,none,own," + b"http://u:p@x y,set,own,"


def test_commands_run_where_they_say_with_a_plain_umask_and_no_input(shell: Shell) -> None:
    shell.at("/lamella/src/a b").mkdir()
    commands = (command("sh", "-c", "pwd; umask; cat", cwd=shell.inside("/lamella/src/a b")), command("pwd"))
    ran = run(shell, op_of(shell, *commands))
    one, umask, two = ran.out.decode().splitlines()
    assert (one, two) == (shell.inside("/lamella/src/a b"), shell.inside("/lamella/src"))
    assert int(umask, 8) == 0o22


def test_unless_skips_a_command_and_is_silent(shell: Shell) -> None:
    noisy = ("sh", "-c", "echo loud; echo loud >&2; test -e there -a $OWN = 1")
    shell.at("/lamella/src/there").touch()
    commands = (
        Command(("echo", "skipped"), unless=noisy),
        Command(("echo", "ran"), unless=("test", "-e", "absent")),
        Command(("echo", "ran too"), unless=("no-such-program",)),
    )
    ran = run(shell, op_of(shell, *commands, env=FrozenMap({"OWN": "1"})))
    assert (ran.code, ran.out, ran.err) == (0, b"ran\nran too\n", "")
    assert [mark[:2] for mark in ran.marks[:4]] == [("begin", "0"), ("skip", "0"), ("begin", "1"), ("end", "1")]


# -- secrets -----------------------------------------------------------------------------------------------------------


def test_secrets_become_variables_and_stand_in_no_argument(shell: Shell) -> None:
    mounts = (SecretMount("a", target="/x"), SecretMount("b", env="TOKEN"), SecretMount("c", env="GONE", optional=True))
    op = op_of(
        shell, command("sh", "-c", 'printf "%s|" "$TOKEN" "${GONE-unset}"; cat /proc/$$/cmdline; :'), mounts=mounts
    )
    shell.at("/lamella/secret-0").write_text("it's $HOME\nhunter2\n\n")
    ran = run(shell, op, secrets=frozenset({"b"}))
    value, gone, arguments = ran.out.split(b"|", 2)
    assert (value, gone) == (b"it's $HOME\nhunter2", b"unset")
    assert b"TOKEN" in arguments
    assert b"hunter2" not in arguments


def test_a_secret_that_an_old_builder_left_out_ends_the_step(shell: Shell) -> None:
    op = op_of(shell, command("echo", "no"), mounts=(SecretMount("b", env="TOKEN"),))
    ran = run(shell, op, secrets=frozenset({"b"}))
    assert (ran.code, ran.out, ran.marks) == (1, b"", (("secret", "0"),))


def test_a_secret_needs_a_name_that_shells_know() -> None:
    op = ExecOp((command("true"),), mounts=(SecretMount("b", env="a-b"),))
    with pytest.raises(ConfigError, match="cannot become the variable 'a-b'"):
        step_script(StepScript(op, MARK, frozenset({"b"})))


@pytest.mark.parametrize("op", [ExecOp((command("a\0b"),)), ExecOp((command("a"),), env=FrozenMap({"A=B": "1"}))])
def test_what_no_program_can_be_given_is_refused(op: ExecOp) -> None:
    with pytest.raises(HostileInputError):
        step_script(StepScript(op, MARK))


# -- how it ends -------------------------------------------------------------------------------------------------------


def test_the_first_failure_ends_the_step_with_its_code_and_number(shell: Shell) -> None:
    ran = run(shell, op_of(shell, command("true"), command("sh", "-c", "exit 37"), command("echo", "never")))
    assert (ran.code, ran.out) == (37, b"")
    assert [mark for mark in ran.marks if mark[0] == "end"][-1][1::2] == ("1", "37")
    assert ("done",) not in ran.marks


@pytest.mark.parametrize(("argv", "code"), [(("no-such-program",), 127), (("sh", "-c", "kill -9 $$"), 137)])
def test_a_program_that_is_not_there_and_one_that_is_killed(shell: Shell, argv: tuple[str, ...], code: int) -> None:
    ran = run(shell, op_of(shell, Command(argv)))
    assert ran.code == code
    assert ran.marks[-1][-1] == str(code)


def test_a_directory_that_is_not_there_is_named(shell: Shell) -> None:
    ran = run(shell, op_of(shell, command("true"), command("true", cwd=shell.inside("/absent"))))
    assert (ran.code, ran.marks[-1]) == (1, ("cwd", "1"))


def test_seconds_of_commands_are_noted(shell: Shell) -> None:
    ran = run(shell, op_of(shell, command("sleep", "0.2"), command("true")))
    times = {mark[:2]: float(mark[2]) for mark in ran.marks if mark[0] in ("begin", "end")}
    assert times["end", "0"] - times["begin", "0"] >= 0.19
    assert times["begin", "1"] >= times["end", "0"]
    assert ran.marks[-1] == ("done",)


# -- what comes out ----------------------------------------------------------------------------------------------------


def test_captured_output_is_evidence_and_the_rest_is_log(shell: Shell) -> None:
    commands = (
        Command(("sh", "-c", "echo one; echo err >&2"), capture="a/b c"),
        Command(("echo", "log")),
        Command(("printf", "two"), capture="other"),
        Command(("printf", "more"), capture="a/b c"),
    )
    ran = run(shell, op_of(shell, *commands, out="/lamella/src"))
    assert (ran.code, ran.out, ran.err) == (0, b"log\n", "err")
    assert (evidence(shell, 0), evidence(shell, 1)) == (b"one\nmore", b"two")


def test_a_product_keeps_links_modes_times_and_owners(shell: Shell) -> None:
    text = """
        mkdir -p made/deep made/empty; echo x >made/deep/file; chmod 640 made/deep/file; ln made/deep/file made/hard
        ln -s deep/file made/link; ln -s /absolute made/dangling; chmod 1777 made/empty
        touch -d '2001-02-03 04:05:06' made/hard
    """
    owned = "chown 12:34 made/deep/file" if os.geteuid() == 0 else ":"
    ran = run(shell, op_of(shell, command("sh", "-c", f"{text}\n{owned}"), out="/lamella/src/made"))
    assert (ran.code, ran.err) == (0, "")
    status = (product(shell) / "deep/file").stat()
    assert stat.S_IMODE(status.st_mode) == 0o640
    assert status.st_ino == (product(shell) / "hard").stat().st_ino
    assert status.st_mtime < 1_000_000_000
    assert stat.S_IMODE((product(shell) / "empty").stat().st_mode) == 0o1777
    assert [os.readlink(product(shell) / name) for name in ("link", "dangling")] == ["deep/file", "/absolute"]
    if os.geteuid() == 0:
        assert (status.st_uid, status.st_gid) == (12, 34)


def test_outputs_are_laid_where_they_belong(shell: Shell) -> None:
    source = shell.at("/lamella/src")
    (source / "tree/sub").mkdir(parents=True)
    (source / "tree/sub/one").write_text("1")
    (source / "other/sub").mkdir(parents=True)
    (source / "other/sub/two").write_text("2")
    (source / "it's a $file").write_text("3")
    (source / "to tree").symlink_to("tree")
    (source / "to file").symlink_to("tree/sub/one")
    places = {"tree": "", "other": "", "it's a $file": "bin/renamed it's", "to tree": "linked", "to file": ""}
    outputs = tuple(OutputPath(f"{source}/{name}", target) for name, target in places.items())
    ran = run(shell, op_of(shell, command("true"), outputs=outputs))
    assert ran.code == 0, ran.marks
    found = {str(p.relative_to(product(shell))): p.read_text() for p in product(shell).rglob("*") if p.is_file()}
    assert found == {"sub/one": "1", "sub/two": "2", "bin/renamed it's": "3", "linked/sub/one": "1", "to file": "1"}
    assert not (product(shell) / "to file").is_symlink()


def test_an_output_that_was_not_made_is_named(shell: Shell) -> None:
    outputs = tuple(OutputPath(shell.inside(f"/lamella/src/{name}"), name) for name in ("made", "not made"))
    ran = run(shell, op_of(shell, command("touch", "made"), outputs=outputs))
    assert (ran.code, ran.marks[-1]) == (1, ("missing", "1"))
    ran = run(shell, op_of(shell, command("mkfifo", "pipe"), out="/lamella/src/pipe"))
    assert (ran.code, ran.marks[-1]) == (1, ("kind", "0"))


def test_sockets_are_no_product(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    made = shell.at("/lamella/src/made")
    made.mkdir()
    (made / "file").touch()
    monkeypatch.chdir(made)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        ran = run(shell, op_of(shell, command("true"), out="/lamella/src/made"))
    assert ran.code == 0
    assert [path.name for path in product(shell).iterdir()] == ["file"]


def test_a_root_file_system_step_leaves_nothing_of_ours(shell: Shell) -> None:
    before = sorted(shell.root.rglob("*"))
    ran = run(shell, op_of(shell, command("touch", "theirs")))
    assert ran.code == 0
    made = set(shell.root.rglob("*")) - set(before)
    assert {path.name for path in made} == {"script", "theirs"}


# -- sources -----------------------------------------------------------------------------------------------------------


def test_sources_get_new_times_and_what_is_mounted_in_them_keeps_its_own(shell: Shell) -> None:
    source = shell.at("/lamella/src")
    files = ["a", "deep/b c", "ui*/dist/old", "ui2/dist/new", "target/state"]
    for name in files:
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        for one in (path, path.parent):
            os.utime(one, (1, 1))
    inside = shell.inside("/lamella/src")
    mounts = (
        BindMount(1, inside, touch=True),
        BindMount(2, f"{inside}/ui*/dist"),
        CacheMount("c", f"{inside}/target"),
    )
    assert run(shell, op_of(shell, command("true"), mounts=mounts)).code == 0
    new = {name for name in files if (source / name).stat().st_mtime > 1}
    assert new == {"a", "deep/b c", "ui2/dist/new"}
    assert (source / "deep").stat().st_mtime > 1


def test_a_bind_of_one_file_gets_a_new_time_too(shell: Shell) -> None:
    file = shell.at("/lamella/src/one")
    file.touch()
    os.utime(file, (1, 1))
    assert run(shell, op_of(shell, command("true"), mounts=(BindMount(1, str(file), touch=True),))).code == 0
    assert file.stat().st_mtime > 1


def test_what_a_step_wrote_into_its_sources_is_told(shell: Shell) -> None:
    source = shell.at("/lamella/src")
    for name in ("same", "changed", "cache/x"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text("before")
    wait = 1.1 if shell.name == "busybox" else 0.05  # its find(1) compares whole seconds
    text = f"sleep {wait}; echo after >changed; mkdir new; echo x >'new/a\nb'; ln -s x link; echo y >cache/x"
    mounts = (BindMount(1, str(source), touch=True), CacheMount("c", f"{source}/cache"))
    assert run(shell, op_of(shell, command("sh", "-c", text), mounts=mounts, out="/lamella/src/new")).code == 0
    wrote = shell.at("/lamella/out/wrote").read_bytes().split(b"\0")[:-1]
    assert {path.decode().removeprefix(f"{source}/") for path in wrote} == {"changed", "new/a\nb", "link"}
    assert not shell.at("/lamella/out/stamp").exists()


# -- certificates ------------------------------------------------------------------------------------------------------


def test_a_bundle_is_trusted_while_the_step_runs_and_leaves_no_trace(shell: Shell) -> None:
    place = shell.at(BUNDLE_PLACES[0])
    place.parent.mkdir(parents=True)
    place.write_text("own\n")
    os.utime(place, (1, 1))
    shell.at("/lamella/ca.pem").write_text("company\n")
    show = f'cat "$SSL_CERT_FILE" {place}; echo "$CURL_CA_BUNDLE"'
    op = op_of(shell, Command(("sh", "-c", show), network=True), Command(("sh", "-c", "echo ${SSL_CERT_FILE-none}")))
    ran = run(shell, op, ca_bundle=True)
    assert ran.code == 0, ran.marks
    assert ran.out.decode() == f"own\ncompany\nown\ncompany\n{shell.inside('/run/lamella/ca-bundle.pem')}\nnone\n"
    assert (place.read_text(), place.stat().st_mtime) == ("own\n", 1)


def test_a_bundle_that_the_step_itself_renewed_stays(shell: Shell) -> None:
    place = shell.at(BUNDLE_PLACES[0])
    place.parent.mkdir(parents=True)
    place.write_text("own\n")
    shell.at("/lamella/ca.pem").write_text("company\n")
    op = op_of(shell, Command(("sh", "-c", f"echo renewed >{place}"), network=True))
    assert run(shell, op, ca_bundle=True).code == 0
    assert place.read_text() == "renewed\n"


# -- others ------------------------------------------------------------------------------------------------------------


def test_package_databases_are_laid_out(shell: Shell) -> None:
    for path in ("var/lib/dpkg/status", "var/lib/dpkg/status.d/base", "lib/apk/db/installed"):
        place = shell.at(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(path)
    data = packages_script()
    for folder in ("/var/lib/dpkg", "/lib/apk", "/usr/lib/sysimage", "/var/lib/rpm"):
        data = data.replace(folder.encode(), shell.inside(folder).encode())
    assert shell.execute(data).code == 0
    out = shell.at("/lamella/out/packages")
    found = {str(path.relative_to(out)): path.read_text() for path in out.rglob("*") if path.is_file()}
    assert found == {
        "dpkg-status": "var/lib/dpkg/status",
        "dpkg-status.d/base": "var/lib/dpkg/status.d/base",
        "apk-installed": "lib/apk/db/installed",
    }


def test_quoted_words_are_words(shell: Shell) -> None:
    for text in ODD:
        ran = shell.execute(f"printf '%s' {quote(text)}\n".encode("utf-8", "surrogateescape"), PATH=os.environ["PATH"])
        assert ran.out.decode("utf-8", "surrogateescape") == text


@pytest.mark.parametrize("name", sorted(path.name for path in (GOLDEN / "scripts").iterdir()))
def test_every_golden_script_is_one_that_shells_read(shell: Shell, name: str) -> None:
    assert shell.execute(b"set -n\n" + (GOLDEN / "scripts" / name).read_bytes()).code == 0
