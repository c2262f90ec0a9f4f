"""Root file systems: bootstrapped, unpacked, written as layers, described."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import pytest

from lamella.canonical import FrozenMap, digest_bytes
from lamella.engines.local.runner import LocalRunner
from lamella.engines.local.values import BootstrapSpec, Chain, LayerBlob, RunnerSettings
from lamella.errors import ConfigError, StepError
from lamella.graph.op import BootstrapOp
from lamella.layers.facts import changed_facts
from lamella.oci.config import RuntimeConfig
from lamella.oci.media import LAYER_TAR
from lamella.store.store import Store
from tests.integration.components.presence import require_program
from tests.integration.engine.conftest import BASE_TAR, ENV
from tests.integration.engine.steps import Steps, sh

OP = BootstrapOp("debian", "bookworm", "amd64", include=("ca-certificates",))


def bootstrap(store: Store, name: str, *, umask: int) -> tuple[str, bytes]:
    """Digest of the file set and the package set of one bootstrap."""
    runner = LocalRunner(store, RunnerSettings(env=ENV))
    key = digest_bytes(f"{name} {os.getpid()}".encode())
    before = os.umask(umask)
    try:
        outcome = runner.bootstrap(BootstrapSpec(key, name, OP, "linux/amd64"), lambda *_: None)
        return outcome.fileset.digest, outcome.packages
    finally:
        os.umask(before)
        store.snapshots.remove(key)
        runner.close()


@pytest.mark.skipif(BASE_TAR in os.environ, reason="the run that started this one did it, at 20 s each")
def test_two_bootstraps_of_the_same_packages_are_the_same_bytes(store: Store, runner: LocalRunner) -> None:
    require_program("mmdebstrap")
    first, packages = bootstrap(store, "one", umask=0o022)
    second, again = bootstrap(store, "two", umask=0o077)
    assert packages == again
    assert first == second


def test_a_bootstrapped_base_holds_nothing_of_this_machine(steps: Steps) -> None:
    script = """
        cat /etc/machine-id 2>/dev/null
        ls -A /tmp /var/lib/apt/lists /var/log/apt /var/cache/apt/archives | grep -v -e : -e partial -e '^$'
        ls /etc/hostname /etc/resolv.conf /var/cache/ldconfig/aux-cache /var/log/*.log /var/lib/dpkg/*-old 2>/dev/null
        true
    """
    assert steps.run(steps.spec(sh(f"set +e; {script}"))).lines == []


def test_a_pin_without_a_snapshot_mirror_says_what_to_configure(steps: Steps) -> None:
    op = BootstrapOp("debian", "bookworm", "amd64", snapshot="20250101T000000Z")
    with pytest.raises(ConfigError, match="no snapshot mirror is configured"):
        steps.runner.bootstrap(BootstrapSpec("sha256:" + "1" * 64, "b", op, "linux/amd64"), lambda *_: None)


def test_a_bootstrap_that_fails_shows_what_was_said(steps: Steps) -> None:
    require_program("mmdebstrap")
    op = BootstrapOp("debian", "no-such-suite", "amd64", mirror="http://127.0.0.1:9/debian")
    said: list[str] = []
    with pytest.raises(StepError, match="mmdebstrap") as caught:
        steps.runner.bootstrap(
            BootstrapSpec("sha256:" + "2" * 64, "b", op, "linux/amd64"), lambda _, line: said.append(line)
        )
    assert said
    assert any(line.startswith("log: ") for line in caught.value.details)
    assert steps.store.snapshots.find("sha256:" + "2" * 64) is None


def test_a_layer_is_written_and_unpacked_again_without_loss(steps: Steps, tmp_path: Path) -> None:
    script = """
        mkdir -m 2770 /data; chown 1000:50 /data; echo x > /data/f; ln /data/f /data/hard; ln -s f /data/soft
        rm -r /usr/share/doc; mkdir /usr/share/doc; rm /etc/issue; chmod 4755 /data/f; mkfifo /data/p
    """
    ran = steps.run(steps.spec(script))
    layer = steps.runner.export_layer(ran.outcome.snapshot, steps.base, "none")
    blob = steps.store.blobs.path(layer.diff_id)
    with tarfile.open(blob) as archive:
        members = {member.name: member for member in archive}
    assert (members["data"].mode, members["data"].uid, members["data"].gid) == (0o2770, 1000, 50)
    assert members["data/hard"].islnk()
    assert {"usr/share/doc/.wh..wh..opq", "etc/.wh.issue"} <= set(members)
    with Store.open(tmp_path / "other") as other:
        runner = LocalRunner(other, RunnerSettings(env=ENV))
        if os.geteuid() != 0:
            other.set_remover(lambda path: runner.remove((path,)))
        digest, size = other.blobs.put_file(blob)
        (unpacked,) = runner.unpack_layers((LayerBlob(digest, size, LAYER_TAR, digest),))
        assert unpacked.fileset == ran.outcome.fileset
        assert runner.export_layer(unpacked.diff_id, Chain()).diff_id == layer.diff_id
        runner.remove([tmp_path / "other" / "snapshots"])
        runner.close()


def test_facts_and_packages_of_a_chain(steps: Steps) -> None:
    ran = steps.run(steps.spec("useradd -u 1234 app; mkdir -m 750 /srv/app; chown app /srv/app"))
    chain = Chain((*steps.base.snapshots, ran.outcome.snapshot))
    facts = steps.runner.facts(chain, "linux/amd64", RuntimeConfig(env=("A=b",)))
    user = facts.user("app")
    assert user is not None
    assert (user.uid, facts.libc, facts.os_release["ID"], facts.runtime.env) == (1234, "glibc", "debian", ("A=b",))
    assert facts.directories["/srv/app"].mode == 0o750
    packages = json.loads(steps.runner.packages(chain))
    assert packages["packages"]["dpkg:libc6:amd64"]
    assert steps.runner.packages(steps.base) == ran.outcome.packages


def test_facts_follow_a_step_as_a_walk_would_find_them(steps: Steps) -> None:
    """A chain of steps on a real base: each one's facts from those below it and its changes."""
    chain = steps.base
    facts = steps.runner.facts(chain, "", RuntimeConfig())
    for commands in (
        "true",
        "useradd -u 1234 app; mkdir -m 750 /srv/app; chown app /srv/app; ln -s srv/app /shortcut",
        "rm -rf /usr/share /shortcut; mkdir -p /usr/share/new /shortcut; touch /shortcut/x; chmod 711 /usr",
        "dpkg --purge --force-all ca-certificates; mv /usr/bin/python3 /usr/bin/python; rm /etc/os-release",
        """python3.11 -c 'import socket; s = socket.socket(socket.AF_UNIX); s.bind("/srv/app/socket")'; chmod 700 /""",
        "rm -rf /srv /etc/group; ln -s /etc/passwd /etc/group; echo > /usr/share/new/file",
    ):
        outcome = steps.run(steps.spec(commands, rootfs=chain)).outcome
        chain = Chain((*chain.snapshots, outcome.snapshot))
        walked = steps.runner.facts(chain, "", RuntimeConfig())
        assert outcome.unchanged == (commands == "true")
        assert (outcome.outline is None, outcome.packages == b"") == (outcome.unchanged, outcome.unchanged)
        facts = changed_facts(facts, outcome.fileset, outcome.outline) if outcome.outline else facts
        assert facts == walked, commands


def test_a_new_mode_of_the_root_directory_is_a_change(steps: Steps) -> None:
    chained = steps.run(steps.spec("chmod 700 /")).outcome
    assert (len(chained.fileset), chained.unchanged) == (0, False)
    above = Chain((*steps.base.snapshots, chained.snapshot))
    assert not steps.run(steps.spec("true", rootfs=above)).outcome.unchanged  # its own root directory is 0755 again


def test_the_same_packages_installed_twice_are_the_same_layer(steps: Steps) -> None:
    from lamella.stacks.toolchain import apt_commands

    def install() -> str:
        spec = steps.spec(*apt_commands(("hello",)), network="host", env={"DEBIAN_FRONTEND": "noninteractive"})
        return steps.run(spec).outcome.fileset.digest

    assert install() == install()


def test_hosts_tools_run_read_only_and_show_nothing_else(steps: Steps, tmp_path: Path) -> None:
    tools = LocalRunner(steps.store, RunnerSettings(env=FrozenMap({**ENV, "HOME": str(tmp_path)}))).host_tools()
    script = "test -x /usr/bin/env; touch /usr/x 2>/dev/null && echo wrote; ls /; ls -A /root /tmp; echo > /tmp/own"
    ran = steps.run(steps.spec(script, rootfs=tools, env=dict(tools.env), outputs=(("/tmp/own", "own"),)))
    assert not {"home", "work", "srv", "mnt", "wrote"} & set(ran.lines)
    assert ran.paths == ["own"]
    assert {"os-release", "packages"} <= set(tools.parts)
