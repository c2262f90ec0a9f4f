"""What a step sees, what it may do, what comes out."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from lamella.engines.local.values import Chain, SnapshotInput
from lamella.errors import ConfigError, HostileInputError, IntegrityError, StepError
from lamella.graph.fileset import EntryType
from lamella.graph.mount import BindMount, CacheMount, SecretMount, StateMount, TmpfsMount
from lamella.sources.staging import stable_time
from tests.integration.engine.steps import Steps, py, sh, source


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    (root / "src/main.txt").write_text("main\n", encoding="utf-8")
    (root / "run.sh").write_text("#!/bin/sh\necho ran\n", encoding="utf-8")
    (root / "run.sh").chmod(0o755)
    (root / "link").symlink_to("src/main.txt")
    return root


SRC = BindMount(0, "/lamella/src")


def test_a_step_without_outputs_gives_its_changes_to_the_root(steps: Steps) -> None:
    ran = steps.run(steps.spec("mkdir -m 750 /opt/x; echo 1 > /opt/x/f; rm /etc/issue; chown 7:8 /opt/x/f"))
    entries = {entry.path: entry for entry in ran.outcome.fileset}
    assert set(entries) == {"opt", "opt/x", "opt/x/f", "etc", "etc/issue"}
    assert entries["etc/issue"].type is EntryType.WHITEOUT
    assert (entries["opt/x"].mode, entries["opt/x/f"].uid, entries["opt/x/f"].gid) == (0o750, 7, 8)
    assert b"dpkg:dpkg:amd64" in ran.outcome.packages


def test_changes_stack_up_to_a_chain(steps: Steps) -> None:
    first = steps.run(steps.spec("echo one > /one; mkdir /d; echo x > /d/x"))
    chain = Chain((*steps.base.snapshots, first.outcome.snapshot))
    second = steps.run(steps.spec("cat /one; rm -r /d; mkdir /d; echo y > /d/y", rootfs=chain))
    chain = Chain((*chain.snapshots, second.outcome.snapshot))
    third = steps.run(steps.spec("ls /d; rm /one", rootfs=chain))
    assert (second.lines, third.lines) == (["one"], ["y"])
    assert [(e.path, e.type) for e in second.outcome.fileset if e.path == "d"] == [("d", EntryType.OPAQUE)]
    assert third.outcome.fileset.get("one") is not None


def test_products_are_the_same_whatever_the_step_did_to_modes_owners_and_times(steps: Steps) -> None:
    one = steps.run(steps.spec("umask 077; mkdir /o; echo a > /o/a; ln -s a /o/l", outputs=(("/o", ""),)))
    two = steps.run(steps.spec("umask 002; mkdir /o; echo a > /o/a; ln -s a /o/l; chown 5 /o/a", outputs=(("/o", ""),)))
    assert one.outcome.snapshot == two.outcome.snapshot == one.outcome.fileset.digest
    found = steps.store.snapshots.find(one.outcome.snapshot)
    assert found is not None
    assert (found.path / "a").read_text(encoding="utf-8") == "a\n"
    assert (found.path / "a").stat().st_mtime_ns == stable_time(one.outcome.fileset.entries[0].digest)


def test_outputs_are_placed_and_links_in_them_lead_nowhere_outside(steps: Steps) -> None:
    made = "mkdir -p /b/c; echo x > /b/c/x; ln -s /b/c/x /via; ln -s ../../../../etc/hostname /b/c/out"
    ran = steps.run(steps.spec(made, outputs=(("/b", "lib"), ("/via", "bin/tool"))))
    assert ran.paths == ["bin", "bin/tool", "lib", "lib/c", "lib/c/out", "lib/c/x"]
    kinds = {entry.path: entry.type for entry in ran.outcome.fileset}
    assert (kinds["bin/tool"], kinds["lib/c/out"]) == (EntryType.FILE, EntryType.SYMLINK)


def test_a_missing_output_is_named(steps: Steps) -> None:
    with pytest.raises(StepError, match="made no /nowhere/x"):
        steps.run(steps.spec("true", outputs=(("/nowhere/x", "x"),)))


def test_an_output_that_leads_out_of_the_root_is_not_found(steps: Steps, tmp_path: Path) -> None:
    secret = tmp_path / "host-secret"
    secret.write_text("host", encoding="utf-8")
    with pytest.raises(StepError, match="made no /escape"):
        steps.run(steps.spec(f"ln -s ../../../../../../../..{secret} /escape", outputs=(("/escape", "x"),)))


def test_the_project_is_a_copy_whose_changes_are_thrown_away_and_reported(steps: Steps, project: Path) -> None:
    script = (
        "./run.sh; cat link; echo more >> src/main.txt; touch run.sh; rm link; echo n > new; mkdir -p sc; echo > sc/a"
    )
    spec = steps.spec(
        script,
        cwd="/lamella/src",
        mounts=(SRC,),
        inputs={0: source(project)},
        scratch=("sc/**",),
        outputs=(("/etc", ""),),
    )
    ran = steps.run(spec)
    assert ran.lines == ["ran", "main"]
    assert ran.outcome.wrote_sources == ("/lamella/src/link", "/lamella/src/new", "/lamella/src/src/main.txt")
    assert (project / "src/main.txt").read_text(encoding="utf-8") == "main\n"
    assert (project / "link").is_symlink()
    assert not (project / "new").exists()


def test_a_chmod_in_the_step_does_not_reach_the_original(steps: Steps, project: Path) -> None:
    spec = steps.spec(
        "chmod 600 run.sh; touch -d 2001-01-01 src/main.txt",
        cwd="/lamella/src",
        mounts=(SRC,),
        inputs={0: source(project)},
    )
    before = (project / "src/main.txt").stat().st_mtime_ns
    steps.run(spec)
    assert (project / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (project / "src/main.txt").stat().st_mtime_ns == before


def test_only_what_was_selected_is_there(steps: Steps, project: Path) -> None:
    (project / "secret.env").write_text("x", encoding="utf-8")
    given = source(project)
    selected = type(given)(given.root, given.fileset.select(("src",)))
    ran = steps.run(steps.spec("find . -type f", cwd="/lamella/src", mounts=(SRC,), inputs={0: selected}))
    assert ran.lines == ["./src/main.txt"]


def test_a_source_that_is_gone_ends_the_step_before_it_starts(steps: Steps, project: Path) -> None:
    given = source(project)
    (project / "src/main.txt").unlink()
    with pytest.raises(ConfigError, match=r"src/main\.txt"):
        steps.run(steps.spec("echo started", mounts=(SRC,), inputs={0: given}))
    assert steps.lines == []


def test_products_are_inputs_with_sub_paths_and_inside_each_other(steps: Steps, project: Path) -> None:
    made = steps.run(steps.spec("mkdir -p /o/ui; echo ui > /o/ui/index; echo f > /o/file", outputs=(("/o", ""),)))
    product = SnapshotInput(made.outcome.snapshot)
    mounts = (SRC, BindMount(1, "/lamella/src/ui/dist", source="ui"), BindMount(1, "/opt/one", source="file"))
    ran = steps.run(
        steps.spec(
            "cat ui/dist/index /opt/one; echo w > ui/dist/w; echo changed > /opt/one",
            cwd="/lamella/src",
            mounts=mounts,
            inputs={0: source(project), 1: product},
        )
    )
    assert ran.lines == ["ui", "f"]
    assert ran.outcome.wrote_sources == ("/lamella/src/ui/dist/w",)
    again = steps.store.snapshots.find(made.outcome.snapshot)
    assert again is not None
    assert (again.path / "file").read_text(encoding="utf-8") == "f\n"
    assert ran.paths == []


def test_touched_sources_are_newer_than_anything_in_a_state(steps: Steps, project: Path) -> None:
    """Also when the clock was set back: the state's last use counts, not now."""
    state = f"touch-{os.getpid()}"
    mounts = (BindMount(0, "/lamella/src", touch=True), StateMount(state, "/state"))
    steps.run(steps.spec("touch /state/built", mounts=mounts, inputs={0: source(project)}))
    later = "test src/main.txt -nt /state/built && test run.sh -nt /state/built && echo newer"
    assert steps.run(steps.spec(later, cwd="/lamella/src", mounts=mounts, inputs={0: source(project)})).lines == [
        "newer"
    ]
    with steps.store.states.hold(state) as path:
        ahead = time.time() + 3600
        os.utime(path, (ahead, ahead))
    stat = "stat -c %Y src/main.txt"
    shown = steps.run(steps.spec(stat, cwd="/lamella/src", mounts=mounts, inputs={0: source(project)})).lines
    assert int(shown[0]) >= int(ahead)


def test_times_of_sources_without_touch_follow_from_their_content(steps: Steps, project: Path) -> None:
    def seen() -> dict[str, str]:
        look = "stat -c '%n %Y' run.sh src/main.txt"
        ran = steps.run(steps.spec(look, cwd=SRC.target, mounts=(SRC,), inputs={0: source(project)}))
        return dict(line.split() for line in ran.lines)

    before = seen()
    (project / "run.sh").write_text("#!/bin/sh\necho new\n", encoding="utf-8")
    after = seen()
    assert after["src/main.txt"] == before["src/main.txt"]
    assert after["run.sh"] != before["run.sh"]


def test_a_touched_product_is_newer_than_a_state_too(steps: Steps) -> None:
    made = steps.run(steps.spec("mkdir -p /o/d; echo x > /o/d/x", outputs=(("/o", ""),)))
    mounts = (BindMount(0, "/p", touch=True, source="d"), StateMount(f"tp-{os.getpid()}", "/state"))
    product = {0: SnapshotInput(made.outcome.snapshot)}
    steps.run(steps.spec("touch /state/built", mounts=mounts, inputs=product))
    ran = steps.run(
        steps.spec("test /p/x -nt /state/built && echo newer; echo w > /p/w", mounts=mounts, inputs=product)
    )
    assert (ran.lines, ran.outcome.wrote_sources) == (["newer"], ("/p/w",))


def test_a_stage_that_lasts_is_brought_up_to_date(steps: Steps, project: Path) -> None:
    look = "find . -type f | sort | xargs cat"
    first = steps.run(steps.spec(look, cwd=SRC.target, mounts=(SRC,), inputs={0: source(project)}))
    (project / "src/main.txt").unlink()
    (project / "src/other.txt").write_text("other\n", encoding="utf-8")
    (project / "link").unlink()
    second = steps.run(steps.spec(look, cwd=SRC.target, mounts=(SRC,), inputs={0: source(project)}))
    assert (first.lines[-1], second.lines[-1]) == ("main", "other")


def test_states_and_caches_outlive_a_step_unless_it_wants_fresh_ones(steps: Steps) -> None:
    mounts = (StateMount(f"s-{os.getpid()}", "/state"), CacheMount(f"c-{os.getpid()}", "/var/cache/x"))
    write = "echo s > /state/f; echo c > /var/cache/x/f"
    assert steps.run(steps.spec(write, mounts=mounts)).paths == []
    look = "cat /state/f /var/cache/x/f 2>/dev/null || echo nothing"
    assert steps.run(steps.spec(look, mounts=mounts)).lines == ["s", "c"]
    assert steps.run(steps.spec(look, mounts=mounts, fresh_states=True)).lines == ["nothing"]
    assert steps.run(steps.spec(look, mounts=mounts)).lines == ["s", "c"]


def test_a_state_has_one_user_at_a_time(steps: Steps) -> None:
    mounts = (StateMount(f"x-{os.getpid()}", "/state"),)
    script = "test ! -e /state/busy; touch /state/busy; sleep 0.3; rm /state/busy"
    errors: list[BaseException] = []

    def work() -> None:
        try:
            steps.runner.run_step(steps.spec(script, mounts=mounts), lambda *_: None)
        except BaseException as error:  # noqa: BLE001 - looked at below
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_secrets_are_files_in_memory_and_masked_in_the_output(steps: Steps) -> None:
    mounts = (SecretMount("token", "/run/secrets/token"), SecretMount("token", env="TOKEN"))
    script = """
        stat -c '%a %u %g' /run/secrets/token; stat -f -c %T /run/secrets/token; cat /run/secrets/token; echo
        echo "$TOKEN"; printf 'user:s3cr3t-value' | base64; base64 /run/secrets/token; echo s3cr3t-value >&2
        cp /run/secrets/token /kept 2>/dev/null; rm /kept
    """
    ran = steps.run(
        steps.spec(script, sh("cat /run/secrets/token", capture="e"), mounts=mounts, secrets={"token": b"s3cr3t-value"})
    )
    assert [line for line in ran.lines if "***" not in line] == ["400 0 0", "tmpfs"]  # the two streams mix freely
    assert "s3cr3t" not in ran.text
    assert "czNjcjN0" not in ran.text
    assert ran.text.count("***") >= 5
    assert ran.outcome.captured["e"] == b"***"
    assert ran.paths == []
    assert b"s3cr3t" not in steps.store.blobs.read(ran.outcome.log)


def test_a_secret_is_readable_by_the_user_of_the_step_only(steps: Steps) -> None:
    mounts = (SecretMount("t", "/run/secrets/t"),)
    ran = steps.run(
        steps.spec("id -u; cat /run/secrets/t | wc -c", mounts=mounts, secrets={"t": b"1234"}, user="daemon")
    )
    assert ran.lines == ["1", "4"]


def test_an_optional_secret_may_be_missing(steps: Steps) -> None:
    mounts = (SecretMount("none", "/run/secrets/none", optional=True),)
    assert steps.run(steps.spec("test -e /run/secrets/none || echo no", mounts=mounts)).lines == ["no"]
    with pytest.raises(ConfigError, match="needs secret 'none'"):
        steps.run(steps.spec("true", mounts=(SecretMount("none", "/x"),)))


def test_the_environment_is_built_from_nothing(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAK", "from the host")
    ran = steps.run(steps.spec("env | sort", env={"OWN": "x", "LANG": "C"}))
    names = {line.partition("=")[0] for line in ran.lines}
    assert names == {"HOME", "LANG", "OWN", "PATH", "PWD", "SOURCE_DATE_EPOCH"}
    assert "LANG=C" in ran.lines


def test_a_tmpfs_is_empty_memory_and_leaves_nothing(steps: Steps) -> None:
    ran = steps.run(steps.spec("stat -f -c %T /fast; echo > /fast/x", mounts=(TmpfsMount("/fast", 1 << 20),)))
    assert (ran.lines, ran.paths) == (["tmpfs"], [])


def test_streams_of_evidence_are_kept_apart_from_the_log(steps: Steps) -> None:
    ran = steps.run(steps.spec(sh("echo json; echo talk >&2", capture="messages"), sh("echo more", capture="messages")))
    assert dict(ran.outcome.captured) == {"messages": b"json\nmore\n"}
    assert ran.lines == ["talk"]
    assert steps.store.blobs.read(ran.outcome.log) == b"talk\n"


def test_a_command_is_skipped_when_its_condition_holds(steps: Steps) -> None:
    ran = steps.run(steps.spec(sh("echo no", unless=("true",)), sh("echo yes", unless=("test", "-e", "/nope"))))
    assert ran.lines == ["yes"]


def test_a_failure_says_what_where_and_how_to_look(steps: Steps) -> None:
    spec = steps.spec("echo before", "echo the reason >&2; exit 42", "echo never")
    with pytest.raises(StepError, match="exit status 42") as caught:
        steps.run(spec)
    details = "\n".join(caught.value.details)
    assert "the reason" in details
    assert spec.key in details
    log = Path(details.partition("log: ")[2])
    assert log.read_text(encoding="utf-8") == "before\nthe reason\n"
    assert "lamella shell test" in caught.value.hint
    assert steps.lines == ["before", "the reason"]
    assert steps.store.snapshots.find(spec.key) is None


def test_a_program_that_is_not_there_is_named(steps: Steps) -> None:
    spec = steps.spec(type(sh(""))(("no-such-program", "x")))
    with pytest.raises(StepError, match="no-such-program x ended with exit status 127"):
        steps.run(spec)


def test_a_missing_working_directory_is_named(steps: Steps) -> None:
    with pytest.raises(StepError, match="working directory /nope is not there"):
        steps.run(steps.spec("true", cwd="/nope"))


def test_a_missing_snapshot_is_an_integrity_error(steps: Steps) -> None:
    with pytest.raises(IntegrityError, match="not in the store any more"):
        steps.run(steps.spec("true", rootfs=Chain(("sha256:" + "0" * 64,))))


def test_mounts_leave_no_trace_in_the_layer(steps: Steps, project: Path) -> None:
    mounts = (
        SRC,
        CacheMount(f"t-{os.getpid()}", "/var/cache/none/here"),
        TmpfsMount("/new/tmp"),
        SecretMount("s", "/etc/app/secret"),
    )
    noise = "find / -xdev -type d -exec chmod o-t {} + 2>/dev/null || true; echo 127.1 x >> /etc/hosts || true; ls /new"
    ran = steps.run(
        steps.spec(sh(noise, network=True), mounts=mounts, inputs={0: source(project)}, secrets={"s": b"1234"})
    )
    stubs = ("lamella", "var/cache/none", "new", "etc/app", "etc/resolv.conf", "etc/hosts", "dev/", "proc/")
    assert [path for path in ran.paths if path.startswith(stubs)] == []


def test_two_mounts_at_one_place_are_refused(steps: Steps) -> None:
    with pytest.raises(HostileInputError, match="two mounts have the target /a"):
        steps.run(steps.spec("true", mounts=(TmpfsMount("/a"), TmpfsMount("/a/"))))


def test_a_step_on_an_empty_root_has_nothing_to_run(steps: Steps) -> None:
    with pytest.raises(StepError, match="exit status 127"):
        steps.run(steps.spec("true", rootfs=Chain()))


def test_many_steps_run_side_by_side(steps: Steps) -> None:
    specs = [steps.spec(py(f"import time; time.sleep(0.2); print({number})", capture="n")) for number in range(6)]
    found: dict[int, bytes] = {}

    def work(number: int) -> None:
        found[number] = steps.runner.run_step(specs[number], lambda *_: None).captured["n"]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: b"%d\n" % number for number in range(6)}
