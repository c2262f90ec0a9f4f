"""Hand-made phases on Docker Engine 20.10 and 28 and on a buildkitd of its own: they build, and outputs come back."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from lamella.canonical import FrozenMap
from lamella.engines.buildkit.levels import buildkit_of_engine, level_of
from lamella.engines.buildkit.phase import BaseRef, LowerOptions, Phase
from lamella.graph.definition import DefinitionBuilder
from lamella.graph.events import VertexLog
from lamella.graph.mount import BindMount, CacheMount, SecretMount, TmpfsMount
from lamella.graph.op import Command, ExecOp, ImageOp, NewUser, OutputPath, UsersOp
from lamella.graph.vertex import Input, RootfsOf, Vertex, VertexInfo
from tests.integration.buildkit.phases import CAPABILITY, Built, RealBuilder, add_file, build, busybox_tar
from tests.integration.components.presence import require_program
from tests.integration.components.tools import BuildKit, DockerEngine, run_tool
from tests.unit.engines.buildkit.sample import AMD64, Sample, command, one_step, two_steps

CLOSED = LowerOptions()


@pytest.fixture(params=["docker20", "docker28", "docker28_containerd", "buildkitd"])
def builder(request: pytest.FixtureRequest, tmp_path: Path) -> RealBuilder:
    found: DockerEngine | BuildKit = request.getfixturevalue(request.param)
    if isinstance(found, DockerEngine):
        version = found.cli("version", "--format", "{{.Server.Version}}")
        return RealBuilder(found.buildx_path, found.env, "default", level_of(buildkit_of_engine(version)))
    env = {"DOCKER_CONFIG": str(tmp_path / "docker"), "BUILDX_CONFIG": str(tmp_path / "buildx")}
    run_tool([found.buildx_path, "create", "--name", "own", "--driver", "remote", found.address], env=env)
    version = next(
        line.split()[-1]
        for line in run_tool([found.buildx_path, "inspect", "own"], env=env).splitlines()
        if line.startswith("BuildKit version:")
    )
    return RealBuilder(found.buildx_path, env, "own", level_of(version), network="default")


@pytest.fixture(scope="session")
def small_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base") / "base.tar"
    busybox_tar(require_program("busybox", "busybox-static"), path, {"etc/gone": b"gone\n"})
    return path


def run(
    builder: RealBuilder, folder: Path, base: Path, sample: Sample, options: LowerOptions, main: bytes = b"main\n"
) -> Built:
    """Builds with sources that no other test has: BuildKit 0.13 and newer would find its result under any state."""
    name = f"context-{folder.name}"  # builders know a context by the name of its folder
    own = {"inputs/sources/main.txt": main, "inputs/sources/whose": bytes(folder)}
    files: dict[str, bytes | Path] = {"bases/base.tar": base, **own}
    return build(builder, folder, sample.phase, files, replace(options, context=name))


def with_own_states(sample: Sample, folder: Path) -> Sample:
    """The sample with caches that no other test has."""
    names = FrozenMap({name: f"{name}-{folder.name}".replace(" ", "-") for name in ("target of app", "downloads")})
    return replace(sample, phase=replace(sample.phase, states=names))


def test_outputs_come_back_with_owners_modes_and_links(builder: RealBuilder, tmp_path: Path, small_base: Path) -> None:
    sample = with_own_states(two_steps(network="host"), tmp_path)
    built = run(builder, tmp_path, small_base, sample, builder.open)
    assert built.code == 0, built.said
    product = built.exports["product", sample.product]
    assert (product["product/bin/app"].data, product["product/bin/app"].uid) == (b"tool\nmain\n", 5)
    assert product["product/bin/app"].gid == 6
    assert (product["product/greeting"].mode, product["product/link"].link) == (0o700, "greeting")
    assert product["product/greeting"].data.decode() == 'it\'s $HOME, "quoted" \\ and\nmore\n'
    assert product["evidence/0"].data.split() == [b"1", b"7", b"7"], "one run, two secrets of seven letters"
    packed = built.exports["product", sample.packed]["product/packed"]
    assert (packed.data, packed.uid, packed.gid) == (b"tool\nmain\n", 5, 6)


def test_a_root_file_system_comes_back_whole_and_without_anything_of_ours(
    builder: RealBuilder, tmp_path: Path, small_base: Path
) -> None:
    sample = with_own_states(two_steps(network="host"), tmp_path)
    built = run(builder, tmp_path, small_base, sample, builder.open)
    assert built.code == 0, built.said
    tree = built.exports["rootfs", sample.tools]
    tool = tree["opt/tool/run"]
    assert (tool.mode, tool.uid, tool.gid, tool.data) == (0o750, 7, 8, b"tool\n")
    assert tree["opt/tool/link"].link == "run"
    assert (tree["odd"].uid, tree["odd"].gid, tree["tmp"].mode) == (1234, 2345, 0o1777)
    assert "etc/gone" not in tree
    (target,) = (target for target in built.lowered.targets if target.kind == "rootfs")
    with tarfile.open(small_base) as archive:
        known = {*archive.getnames(), "opt", "opt/tool", "opt/tool/run", "opt/tool/link"}
    assert {f"/{name}" for name in tree.keys() - known} <= set(target.stubs)
    assert built.exports["packages", sample.tools].keys() == {"packages"}


def test_a_change_of_sources_runs_what_reads_them_with_a_warm_state(
    builder: RealBuilder, tmp_path: Path, small_base: Path
) -> None:
    sample = with_own_states(two_steps(network="host"), tmp_path)
    first = run(builder, tmp_path, small_base, sample, builder.open)
    again = run(builder, tmp_path, small_base, sample, builder.open, main=b"changed\n")
    same = run(builder, tmp_path, small_base, sample, builder.open, main=b"changed\n")
    assert (first.code, again.code, same.code) == (0, 0, 0), again.said
    steps = [again.progress.step(key) for key in sample.phase.steps]
    assert [(step.ran, step.cached) for step in steps] == [(False, True), (True, False), (True, False)]
    assert again.exports["product", sample.product]["evidence/0"].data.split()[0] == b"2"
    assert again.exports["product", sample.packed]["product/packed"].data == b"tool\nchanged\n"
    assert not any(same.progress.step(key).ran for key in sample.phase.steps)
    assert same.exports.keys() == first.exports.keys()


def test_a_forced_step_runs_again_and_no_other(builder: RealBuilder, tmp_path: Path, small_base: Path) -> None:
    sample = with_own_states(two_steps(network="host"), tmp_path)
    assert run(builder, tmp_path, small_base, sample, builder.open).code == 0
    forced = replace(sample.phase, forced=frozenset({sample.product}), nonce="once more")
    built = run(builder, tmp_path, small_base, replace(sample, phase=forced), builder.open)
    assert [built.progress.step(key).ran for key in sample.phase.steps] == [False, True, False], (
        "the product is the same, so what reads it has its result already"
    )


def _links_op(*, network: str) -> ExecOp:
    text = "cut -d: -f1 -s /proc/net/dev | tr -d ' ' | sort >/names"
    return ExecOp((Command(("sh", "-c", text)),), network=network, outputs=(OutputPath("/names", ""),))


def test_a_step_without_the_network_has_none(builder: RealBuilder, tmp_path: Path, small_base: Path) -> None:
    for network, options in (("none", CLOSED), ("host", builder.open)):
        sample = one_step(_links_op(network=network))
        built = run(builder, tmp_path, small_base, sample, options)
        assert built.code == 0, built.said
        names = built.exports["product", sample.product]["product/names"].data.split()
        assert (names == [b"lo"]) == (network == "none"), names


def test_mounts_reach_paths_with_odd_names(builder: RealBuilder, tmp_path: Path, small_base: Path) -> None:
    odd = "a b/$HOME \"q\" 'r' \\n, c=d <<E #"
    mounts = (
        BindMount(1, f"/in/{odd}", source=odd, touch=True),
        CacheMount("odd", f"/cache/{odd}"),
        TmpfsMount(f"/tmpfs/{odd}", 1 << 20),
    )
    text = 'cat "$0/file"; for p in /in /cache /tmpfs; do test -d "$p/$1" && touch "$p/$1/x" && printf %s "$p"; done'
    commands = (Command(("sh", "-c", text, f"/in/{odd}", odd), capture="out"),)
    sample = one_step(ExecOp(commands, mounts=mounts, outputs=(OutputPath(f"/in/{odd}/file", odd),)))
    files: dict[str, bytes | Path] = {"bases/base.tar": small_base, f"inputs/sources/{odd}/file": b"odd\n"}
    built = build(builder, tmp_path, sample.phase, files, replace(CLOSED, context=f"context-{tmp_path.name}"))
    assert built.code == 0, built.said
    members = built.exports["product", sample.product]
    assert members["evidence/0"].data == b"odd\n/in/cache/tmpfs"
    assert members[f"product/{odd}"].data == b"odd\n"


@pytest.mark.parametrize(
    ("commands", "command_number", "code", "trouble"),
    [
        ((command("true"), command("sh", "-c", "printf 'last words' >&2; exit 3")), 1, 3, ""),
        ((command("no-such-program"),), 0, 127, ""),
        ((command("true"),), -1, 1, "missing 0"),
        ((command("true", cwd="/absent"),), -1, 1, "cwd 0"),
    ],
    ids=["exit", "program", "output", "cwd"],
)
def test_a_failed_step_is_named_with_its_command(
    builder: RealBuilder,
    tmp_path: Path,
    small_base: Path,
    commands: tuple[Command, ...],
    command_number: int,
    code: int,
    trouble: str,
) -> None:
    sample = one_step(ExecOp(commands, outputs=(OutputPath("/out", ""),)))
    built = run(builder, tmp_path, small_base, sample, CLOSED)
    assert built.code != 0
    assert built.progress.failed() == (sample.product,)
    end = built.progress.step(sample.product)
    assert (end.command, end.code, end.trouble) == (command_number, code, trouble)
    words = [event.data for event in built.events if isinstance(event, VertexLog)]
    assert not any("lamella-step:" in line for line in words)
    assert ("last words" in words) == (code == 3)


def test_a_user_other_than_root_owns_what_it_makes(builder: RealBuilder, tmp_path: Path, small_base: Path) -> None:
    text = "id -u; id -g; echo x >/cache/made; mkdir /tmp/made; echo y >/tmp/made/file; cat /run/secrets/token"
    op = ExecOp(
        (Command(("sh", "-c", text), capture="out"),),
        user="77:88",
        mounts=(CacheMount("of 77", "/cache"), SecretMount("token", target="/run/secrets/token")),
        outputs=(OutputPath("/tmp/made", ""),),
    )
    sample = one_step(op)
    sample = replace(sample, phase=replace(sample.phase, secrets=frozenset({"token"})))
    built = run(builder, tmp_path, small_base, sample, CLOSED)
    assert built.code == 0, built.said
    members = built.exports["product", sample.product]
    assert members["evidence/0"].data == b"77\n88\nhunter2"
    assert (members["product/file"].uid, members["product/file"].gid) == (77, 88)


def test_layers_of_a_chain_are_laid_on_the_base(builder: RealBuilder, tmp_path: Path, small_base: Path) -> None:
    vertices = DefinitionBuilder()
    base = vertices.add(Vertex(ImageOp("base", f"sha256:{'b' * 64}"), (), AMD64, AMD64, VertexInfo("base")))
    below = (Input(base, RootfsOf(), "below"),)
    users = vertices.add(Vertex(UsersOp((NewUser("shop", 91, 92),)), below, AMD64, AMD64, VertexInfo("users")))
    op = ExecOp((Command(("id", "-un"), capture="out"),), user="shop", outputs=(OutputPath("/etc/passwd", ""),))
    step = vertices.add(Vertex(op, (Input(users, RootfsOf(), "rootfs"),), AMD64, AMD64, VertexInfo("who")))
    phase = Phase(
        "sample",
        vertices.build(),
        (step,),
        bases=FrozenMap({base: BaseRef("tar", "bases/base.tar")}),
        added=FrozenMap({users: "added/users.tar"}),
        products=frozenset({step}),
    )
    with tarfile.open(tmp_path / "users.tar", "w") as archive:
        add_file(archive, "etc/passwd", b"root:x:0:0::/root:/bin/sh\nshop:x:91:92::/:/bin/sh\n")
        add_file(archive, "etc/group", b"root:x:0:\nshop:x:92:\n")
    files = {"bases/base.tar": small_base, "added/users.tar": tmp_path / "users.tar"}
    built = build(builder, tmp_path, phase, files, replace(CLOSED, context=f"context-{tmp_path.name}"))
    assert built.code == 0, built.said
    members = built.exports["product", step]
    assert members["evidence/0"].data == b"shop\n"
    assert members["product/passwd"].uid == 91, "a user other than root copies as itself"


def test_what_a_tree_has_besides_bytes_survives_the_way_in_and_out(
    builder: RealBuilder, tmp_path: Path, small_base: Path
) -> None:
    """Capabilities (capabilities(7), revision 2 with CAP_NET_BIND_SERVICE), setuid bits, devices, pipes, hard links."""
    capability = "\1\0\0\2\0\4\0\0" + "\0" * 12
    base = tmp_path / "base.tar"
    base.write_bytes(small_base.read_bytes())
    with tarfile.open(base, "a", format=tarfile.PAX_FORMAT) as archive:
        for name, kind, mode in (("dev", tarfile.DIRTYPE, 0o755), ("dev/odd", tarfile.CHRTYPE, 0o600)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.devmajor, entry.devminor = kind, mode, 1, 3
            archive.addfile(entry)
        for name, kind, link in (
            ("opt", tarfile.DIRTYPE, ""),
            ("opt/able", tarfile.REGTYPE, ""),
            ("opt/hard", tarfile.LNKTYPE, "opt/able"),
            ("opt/pipe", tarfile.FIFOTYPE, ""),
        ):
            entry = tarfile.TarInfo(name)
            is_file = kind in (tarfile.REGTYPE, tarfile.LNKTYPE)
            entry.type, entry.mode, entry.linkname = kind, 0o4755 if is_file else 0o755, link
            entry.pax_headers = {CAPABILITY: capability} if is_file else {}
            archive.addfile(entry)
    sample = one_step(ExecOp((command("sh", "-c", "mkdir /made && chmod 2775 /made && chown 3:4 /made"),)))
    files = {"bases/base.tar": base}
    built = build(builder, tmp_path, sample.phase, files, replace(CLOSED, context=f"context-{tmp_path.name}"))
    assert built.code == 0, built.said
    tree = built.exports["rootfs", sample.product]
    first, other = sorted(("opt/able", "opt/hard"), key=lambda name: tree[name].kind == tarfile.LNKTYPE)
    assert (tree[first].mode, tree[first].capability) == (0o4755, capability)
    assert (tree[other].kind, tree[other].link) == (tarfile.LNKTYPE, first)
    assert tree["opt/pipe"].kind == tarfile.FIFOTYPE
    assert (tree["made"].mode, tree["made"].uid, tree["made"].gid) == (0o2775, 3, 4)


def test_packages_of_a_debian_are_told(builder: RealBuilder, tmp_path: Path, base_rootfs_tar: Path) -> None:
    sample = one_step(ExecOp((command("sh", "-c", "dpkg-query -W -f '${Package}\\n' dpkg; id"),)))
    phase = replace(
        sample.phase,
        bases=FrozenMap({sample.base: BaseRef("tar", "bases/debian.tar")}),
        rootfs=frozenset(),
        identities=frozenset({sample.product}),
    )
    files = {"bases/debian.tar": base_rootfs_tar}
    built = build(builder, tmp_path, phase, files, replace(CLOSED, context=f"context-{tmp_path.name}"))
    assert built.code == 0, built.said
    members = built.exports["packages", sample.product]
    assert b"\nPackage: dpkg\n" in members["packages/dpkg-status"].data
    words = [event.data for event in built.events if isinstance(event, VertexLog)]
    assert words[0] == "dpkg"
