"""A phase becomes a Dockerfile, scripts and a bake file: as written down, the same each time, or refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from lamella.canonical import FrozenMap
from lamella.engines.buildkit.levels import Level
from lamella.engines.buildkit.lower import lower, network_of, short_key
from lamella.engines.buildkit.mounts import cache_id
from lamella.engines.buildkit.phase import BaseRef, Lowered, LowerOptions, Phase
from lamella.errors import ConfigError, InternalError, SandboxError
from lamella.graph.definition import Definition, DefinitionBuilder
from lamella.graph.mount import BindMount, CacheMount, SecretMount, TmpfsMount
from lamella.graph.op import Command, ExecOp, HostOp, NewUser, OutputPath, ScratchOp, UsersOp
from lamella.graph.vertex import Input, RootfsOf, Vertex, VertexInfo
from tests.unit.engines.buildkit.goldens import GOLDEN, level_texts
from tests.unit.engines.buildkit.reader import read_flags, read_mount
from tests.unit.engines.buildkit.sample import AMD64, L0, L1, L4, LEVELS, PLAIN, Sample, command, one_step, two_steps

OUTPUT = (OutputPath("/out", ""),)


@pytest.mark.parametrize("level", LEVELS)
def test_each_level_is_given_what_is_written_down(level: str) -> None:
    for name, text in level_texts(level).items():
        assert text == (GOLDEN / name).read_text(encoding="utf-8"), name


# -- the same each time ------------------------------------------------------------------------------------------------


def _renamed(phase: Phase) -> Phase:
    """The same vertices as another project would have them: other names, advice and order of independent ones."""
    vertices = {
        key: replace(vertex, info=VertexInfo(f"other-{n}", freshness=n, advice="x"))
        for n, (key, vertex) in enumerate(phase.definition.vertices.items())
    }
    return replace(phase, definition=Definition(FrozenMap(vertices)), project="other")


@pytest.mark.parametrize("level", LEVELS.values(), ids=LEVELS.keys())
def test_equal_definitions_give_equal_bytes(level: Level) -> None:
    options = LowerOptions(allow_network=True)
    first, second = two_steps(), two_steps(name="renamed")
    assert first.phase.definition[first.product].info != second.phase.definition[second.product].info
    one = lower(first.phase, level, options)
    for other in (lower(second.phase, level, options), lower(_renamed(first.phase), level, options)):
        assert (other.dockerfile, other.files, other.bake) == (one.dockerfile, one.files, one.bake)


def test_where_a_build_runs_and_what_secrets_are_is_not_in_the_dockerfile() -> None:
    sample = two_steps()
    here = lower(sample.phase, L4, LowerOptions(context="a", exports="b", secret_files=FrozenMap({"token": "/tmp/x"})))
    there = lower(sample.phase, L4, LowerOptions(context="c", exports="d"))
    assert (here.dockerfile, here.files) == (there.dockerfile, there.files)
    assert "/tmp/x" in json.dumps(here.bake)


def test_the_order_of_mounts_and_variables_in_the_op_does_not_move_lines() -> None:
    mounts = (CacheMount("a", "/x/a"), CacheMount("b", "/x"), CacheMount("c", "/a"))
    env = {"B": "1", "A": "2"}
    one = one_step(ExecOp((command("true"),), env=FrozenMap(env), mounts=mounts, outputs=OUTPUT))
    two = one_step(
        ExecOp((command("true"),), env=FrozenMap(dict(reversed(env.items()))), mounts=mounts, outputs=OUTPUT)
    )
    assert one.product == two.product
    first, second = (lower(sample.phase, L4, PLAIN) for sample in (one, two))
    assert (first.dockerfile, first.files) == (second.dockerfile, second.files)
    targets = [mount["target"] for mount in _mounts(first, one.product)]
    assert targets == ["/lamella/step", "/a", "/x", "/x/a"]


def test_a_step_that_shall_run_again_differs_in_its_script_alone() -> None:
    sample = two_steps()
    again = replace(sample.phase, forced=frozenset({sample.product}), nonce="x\n'y'")
    one, two = lower(sample.phase, L4, PLAIN), lower(again, L4, PLAIN)
    assert one.dockerfile == two.dockerfile
    changed = {path for path in one.files if one.files[path] != two.files[path]}
    assert changed == {f"scripts/{short_key(sample.product)}"}


def _dockerfiles(lowered: Lowered) -> str:
    """All Dockerfiles of a call; those of bases are in targets of their own."""
    targets: Mapping[str, dict[str, str]] = lowered.bake["target"]
    return "".join(target["dockerfile-inline"] for target in targets.values())


def _exporting(lowered: Lowered) -> list[dict[str, Any]]:
    """The bake targets that give something back."""
    return [lowered.bake["target"][target.name] for target in lowered.targets]


# -- stages ------------------------------------------------------------------------------------------------------------


def test_stages_are_named_by_definition_keys() -> None:
    sample = two_steps()
    lowered = lower(sample.phase, L4, PLAIN)
    assert set(lowered.stages.values()) == {sample.base, sample.tools, sample.product, sample.packed, sample.sources}
    for name, key in lowered.stages.items():
        assert f" AS {name}\n" in _dockerfiles(lowered)
        assert name.endswith(key.removeprefix("sha256:")[:16])


def test_a_stage_stands_before_the_one_that_reads_it_whatever_the_order_of_steps() -> None:
    sample = two_steps()
    turned = replace(sample.phase, steps=tuple(reversed(sample.phase.steps)))
    seen = {"base-" + short_key(sample.base)}
    for line in lower(turned, L4, PLAIN).dockerfile.splitlines():
        words = line.split()
        if words[:1] == ["FROM"]:
            assert words[1] == "scratch" or words[1] in seen
            seen.add(words[3])
        elif words[:1] == ["RUN"]:
            assert all(mount["from"] in seen for mount in _read_mounts(line) if "from" in mount)


def test_bases_come_from_a_registry_a_tar_or_nothing() -> None:
    sample = one_step(ExecOp((command("true"),), outputs=OUTPUT))
    pinned = f"registry.example/base@sha256:{'a' * 64}"
    image = replace(sample.phase, bases=FrozenMap({sample.base: BaseRef("image", pinned)}))
    assert f"FROM {pinned} AS base-" in lower(image, L4, PLAIN).dockerfile
    assert 'ADD ["bases/base.tar","/"]' in lower(sample.phase, L0, PLAIN).dockerfile
    moving = replace(sample.phase, bases=FrozenMap({sample.base: BaseRef("image", "registry.example/base:1")}))
    with pytest.raises(InternalError, match="not pinned"):
        lower(moving, L4, PLAIN)


def test_a_base_is_sent_once_for_all_targets_where_the_level_can() -> None:
    sample = two_steps()
    own = replace(sample.phase, bases=FrozenMap({sample.base: BaseRef("tar", "bases/0123/base.tar")}))
    lowered = lower(own, L4, PLAIN)
    name = f"base-{short_key(sample.base)}"
    base = lowered.bake["target"][name]
    assert (base["context"], base["output"]) == ("context/bases/0123", ["type=cacheonly"])
    assert base["dockerfile-inline"].endswith(f'FROM scratch AS {name}\nADD ["base.tar","/"]\n')
    assert "bases/" not in lowered.dockerfile
    assert all(target["contexts"] == {name: f"target:{name}"} for target in _exporting(lowered))
    assert name not in lowered.bake["group"]["default"]["targets"]


def test_no_step_binds_the_context_writable_because_a_builder_would_want_it_anew() -> None:
    for level in LEVELS.values():
        lowered = lower(two_steps().phase, level, LowerOptions(allow_network=True, ca_bundle="ca.pem"))
        for line in lowered.dockerfile.splitlines():
            mounts = _read_mounts(line, words=level.mount_words) if line.startswith("RUN") else []
            binds = [mount for mount in mounts if mount["type"] == "bind"]
            assert all("from" in mount for mount in binds if "rw" in mount)
            assert all("rw" in mount for mount in binds) or level is not L0


def _chain(below: Vertex, phase: Mapping[str, object]) -> tuple[Phase, str, str]:
    """A phase of one step that stands on users added to ``below``."""
    builder = DefinitionBuilder()
    base = builder.add(below)
    op = UsersOp((NewUser("shop", 10001, 10001),))
    users = builder.add(Vertex(op, (Input(base, RootfsOf(), "base"),), AMD64, AMD64, VertexInfo("users")))
    step = builder.add(
        Vertex(ExecOp((command("true"),)), (Input(users, RootfsOf(), "rootfs"),), AMD64, AMD64, VertexInfo("step"))
    )
    made = Phase("p", builder.build(), (step,), added=FrozenMap({users: "added/users.tar"}), rootfs=frozenset({step}))
    return replace(made, **phase), base, users  # type: ignore[arg-type]  # names of Phase's own fields


def test_layers_of_a_chain_are_laid_on_what_is_below_them() -> None:
    phase, _, users = _chain(Vertex(ScratchOp(), (), AMD64, AMD64, VertexInfo("empty")), {})
    text = lower(phase, L4, PLAIN).dockerfile
    assert f'AS layer-{short_key(users)}\nADD ["added/users.tar","/"]\n' in text
    assert f"FROM layer-{short_key(users)} AS step-" in text


def test_tools_of_the_host_are_refused_with_the_reason() -> None:
    phase, _, _ = _chain(Vertex(HostOp("x"), (), AMD64, AMD64, VertexInfo("toolchain")), {})
    with pytest.raises(SandboxError, match="toolchain are the tools of this host") as caught:
        lower(phase, L4, PLAIN)
    assert "--engine local" in caught.value.hint


def test_what_was_not_handed_in_is_a_defect() -> None:
    sample = two_steps()
    with pytest.raises(InternalError, match="'base' is neither"):
        lower(replace(sample.phase, bases=FrozenMap()), L4, PLAIN)
    with pytest.raises(InternalError, match="'sources' is neither"):
        lower(replace(sample.phase, inputs=FrozenMap()), L4, PLAIN)
    with pytest.raises(InternalError, match="without steps"):
        lower(replace(sample.phase, steps=()), L4, PLAIN)
    with pytest.raises(InternalError, match="wanted back"):
        lower(replace(sample.phase, products=frozenset({sample.sources})), L4, PLAIN)


# -- mounts ------------------------------------------------------------------------------------------------------------


def _read_mounts(line: str, *, words: bool = True) -> list[dict[str, str]]:
    flags, _ = read_flags(line.removeprefix("RUN"))
    return [read_mount(flag, words=words) for flag in flags if flag.startswith("--mount=")]


def _mounts(lowered: Lowered, key: str, *, words: bool = True) -> list[dict[str, str]]:
    """Mounts of a step's own RUN."""
    lines = lowered.dockerfile.split(f" AS step-{short_key(key)}\n")[1].split("\nFROM")[0].splitlines()
    return _read_mounts(next(line for line in reversed(lines) if line.startswith("RUN")), words=words)


def test_a_product_of_the_same_phase_is_bound_from_its_stage_and_one_made_before_from_the_context() -> None:
    sample = two_steps()
    lowered = lower(sample.phase, L4, PLAIN)
    (_, bind) = _mounts(lowered, sample.packed)
    stage = f"step-{short_key(sample.product)}"
    assert bind == {"type": "bind", "from": stage, "source": "/lamella/out/product", "target": "/in", "rw": ""}
    made = replace(sample.phase, inputs=sample.phase.inputs.with_items({sample.product: "inputs/app"}))
    (_, bind) = _mounts(lower(made, L4, PLAIN), sample.packed)
    assert bind == {"type": "bind", "from": f"input-{short_key(sample.product)}", "target": "/in", "rw": ""}
    text = lower(made, L4, PLAIN).dockerfile
    assert f'FROM scratch AS input-{short_key(sample.product)}\nCOPY ["inputs/app/","/"]\n' in text


def test_paths_with_odd_names_reach_the_mounts_at_both_kinds_of_front_end() -> None:
    odd = "a b/$HOME \"q\" 'r' \\n, c=d <<E"
    for level in (L0, L4):
        sample = two_steps(inner=odd, network="none", mounts=(CacheMount("x", f"/cache/{odd}"),))
        mounts = _mounts(
            lower(sample.phase, level, LowerOptions(allow_network=True)), sample.product, words=level is L4
        )
        assert {odd, f"/cache/{odd}"} <= {m.get("source", "") for m in mounts} | {m["target"] for m in mounts}


def test_states_are_locked_and_their_ids_say_what_they_are_for() -> None:
    sample = two_steps()
    mounts = {mount["target"]: mount for mount in _mounts(lower(sample.phase, L4, PLAIN), sample.product)}
    assert mounts["/lamella/target"]["sharing"] == "locked"
    assert mounts["/lamella/target"]["id"] == cache_id("state", "target of app")
    assert mounts["/lamella/cache"] == {
        "type": "cache",
        "id": cache_id("cache", "downloads"),
        "target": "/lamella/cache",
        "sharing": "shared",
    }
    own = replace(sample.phase, states=FrozenMap({"target of app": "mine"}))
    mounts = {mount["target"]: mount for mount in _mounts(lower(own, L4, PLAIN), sample.product)}
    assert mounts["/lamella/target"]["id"] == "mine"


def test_a_tmpfs_is_bounded_where_the_level_can() -> None:
    op = ExecOp((command("true"),), mounts=(TmpfsMount("/t", 4096), TmpfsMount("/u")), outputs=OUTPUT)
    sample = one_step(op)
    young = _mounts(lower(sample.phase, L1, PLAIN), sample.product)[1:]
    assert young == [{"type": "tmpfs", "target": "/t", "size": "4096"}, {"type": "tmpfs", "target": "/u"}]
    old = _mounts(lower(sample.phase, L0, PLAIN), sample.product, words=False)[1:]
    assert old == [{"type": "tmpfs", "target": "/t"}, {"type": "tmpfs", "target": "/u"}]


def test_a_step_cannot_write_its_script_in_the_builders_copy() -> None:
    sample = one_step(ExecOp((command("true"),), outputs=OUTPUT))
    assert "rw" in _mounts(lower(sample.phase, L0, PLAIN), sample.product, words=False)[0]
    assert "rw" not in _mounts(lower(sample.phase, L1, PLAIN), sample.product)[0]


@pytest.mark.parametrize(
    ("user", "owner"),
    [
        ("0:0", {}),
        ("root", {}),
        ("7:8", {"mode": "0755", "uid": "7", "gid": "8"}),
        ("7", {"mode": "0755", "uid": "7", "gid": "7"}),
        ("shop", {"mode": "0777"}),
    ],
)
def test_caches_belong_to_the_user_of_the_step(user: str, owner: dict[str, str]) -> None:
    sample = one_step(ExecOp((command("true"),), user=user, mounts=(CacheMount("c", "/c"),), outputs=OUTPUT))
    lowered = lower(sample.phase, L4, PLAIN)
    mount = _mounts(lowered, sample.product)[1]
    assert {name: mount[name] for name in ("mode", "uid", "gid") if name in mount} == owner
    assert f"USER {user}\nWORKDIR /\nRUN --network=none --mount=type=bind,source=scripts/" in lowered.dockerfile
    assert ('chown \\"$0\\" /lamella/out' in lowered.dockerfile) == bool(owner)


# -- secrets -----------------------------------------------------------------------------------------------------------


def test_secrets_reach_buildx_by_variables_or_files_and_never_by_their_own_ids() -> None:
    op = ExecOp(
        (command("true"),), mounts=(SecretMount("a,id=b", target="/s/a"), SecretMount("f", env="F")), outputs=OUTPUT
    )
    phase = replace(one_step(op).phase, secrets=frozenset({"a,id=b", "f"}))
    lowered = lower(phase, L4, LowerOptions(secret_files=FrozenMap({"f": "/run/x,y"})))
    (target,) = _exporting(lowered)
    ids = {variable.rsplit("_", 1)[1].lower(): variable for variable in lowered.secrets.values()}
    assert set(lowered.secrets) == {"a,id=b", "f"}
    assert len(target["secret"]) == 2
    for line in target["secret"]:
        identity = line.split(",")[0].removeprefix("id=")
        assert line in (f"id={identity},env={ids[identity]}", f'id={identity},"src=/run/x,y"')
        assert f"id={identity}," in lowered.dockerfile
    assert "a,id=b" not in lowered.dockerfile


def test_a_secret_without_a_value_is_refused_unless_it_is_optional() -> None:
    needed = one_step(ExecOp((command("true"),), mounts=(SecretMount("t", env="T"),), outputs=OUTPUT))
    with pytest.raises(ConfigError, match="app needs secret 't'"):
        lower(needed.phase, L4, PLAIN)
    optional = SecretMount("t", env="T", optional=True)
    lowered = lower(one_step(ExecOp((command("true"),), mounts=(optional,), outputs=OUTPUT)).phase, L4, PLAIN)
    assert "secret" not in lowered.dockerfile
    assert not lowered.secrets


# -- network -----------------------------------------------------------------------------------------------------------


def _network(lowered: Lowered, key: str) -> str:
    line = next(x for x in lowered.dockerfile.splitlines() if f"source=scripts/{short_key(key)}," in x)
    return next((flag for flag in read_flags(line.removeprefix("RUN"))[0] if flag.startswith("--network=")), "")


def test_each_step_has_the_network_that_it_asks_for() -> None:
    sample = two_steps(network="host")
    lowered = lower(sample.phase, L4, LowerOptions(network="host"))
    assert [_network(lowered, key) for key in sample.phase.steps] == ["", "--network=none", "--network=none"]
    assert {target["network"] for target in _exporting(lowered)} == {"host"}
    assert lowered.allow == ("network.host",)
    assert lowered.open_network == frozenset()
    assert lowered.notes == ()
    default = lower(sample.phase, L4, PLAIN)
    assert not any("network" in target for target in default.bake["target"].values())
    assert default.allow == ()


def test_the_host_network_is_not_asked_for_when_no_step_needs_any() -> None:
    lowered = lower(two_steps(network="none").phase, L4, LowerOptions(network="host"))
    assert {target["network"] for target in _exporting(lowered)} == {"none"}
    assert lowered.allow == ()


def test_the_oldest_level_closes_the_network_of_a_whole_phase() -> None:
    lowered = lower(two_steps(network="none").phase, L0, PLAIN)
    assert {target["network"] for target in _exporting(lowered)} == {"none"}
    assert lowered.open_network == frozenset()
    assert "--network" not in lowered.dockerfile


def test_the_oldest_level_refuses_what_it_cannot_close_and_says_what_allows_it() -> None:
    sample = two_steps(network="host")
    with pytest.raises(SandboxError, match="app, packed must run without it") as caught:
        lower(sample.phase, L0, PLAIN)
    assert caught.value.exit_code == 8
    assert "--allow-network" in caught.value.hint
    lowered = lower(sample.phase, L0, LowerOptions(allow_network=True))
    assert lowered.open_network == {sample.product, sample.packed}
    assert lowered.notes == (
        "L0 (BuildKit 0.8) cannot close the network of single steps, so these have it too: app, packed",
    )


def test_one_command_with_the_network_opens_it_for_the_step_which_is_said_once() -> None:
    op = ExecOp((Command(("fetch",), network=True), command("build")), outputs=OUTPUT)
    assert network_of(op) == "open"
    lowered = lower(one_step(op).phase, L4, PLAIN)
    assert _network(lowered, one_step(op).product) == ""
    assert lowered.open_network == frozenset()
    assert len(lowered.notes) == 1
    assert "all commands of these have it: app" in lowered.notes[0]


# -- what comes back ---------------------------------------------------------------------------------------------------


def test_only_what_is_wanted_comes_back() -> None:
    sample = two_steps()
    lowered = lower(sample.phase, L4, PLAIN)
    kinds = [(target.kind, target.vertex) for target in lowered.targets]
    assert kinds == [
        ("packages", sample.tools),
        ("rootfs", sample.tools),
        ("product", sample.product),
        ("product", sample.packed),
    ]
    bake = lowered.bake
    assert bake["group"]["default"]["targets"] == [target.name for target in lowered.targets]
    for target in lowered.targets:
        assert bake["target"][target.name]["output"] == [f"type=tar,dest=exports/{target.file}"]
        assert bake["target"][target.name]["target"] in lowered.dockerfile
    alone = lower(
        replace(sample.phase, products=frozenset({sample.packed}), rootfs=frozenset(), identities=frozenset()),
        L4,
        PLAIN,
    )
    assert [target.vertex for target in alone.targets] == [sample.packed]


def test_evidence_is_found_by_its_name_and_stubs_by_their_paths() -> None:
    sample = two_steps()
    targets = {(target.kind, target.vertex): target for target in lower(sample.phase, L4, PLAIN).targets}
    assert targets["product", sample.product].evidence == FrozenMap({"seen": "evidence/0"})
    mounts = (CacheMount("c", "/var/cache/odd"), BindMount(1, "/mnt/src"))
    rootfs = one_step(ExecOp((command("true"),), mounts=mounts))
    (target,) = lower(rootfs.phase, L4, PLAIN).targets
    assert target.stubs == (
        "/dev",
        "/etc/hosts",
        "/etc/resolv.conf",
        "/lamella",
        "/mnt/src",
        "/proc",
        "/sys",
        "/var/cache/odd",
    )


def test_a_bundle_goes_only_to_steps_with_the_network() -> None:
    sample = two_steps(network="host")
    lowered = lower(sample.phase, L4, LowerOptions(ca_bundle="ca.pem"))
    with_bundle = [mount["target"] for mount in _mounts(lowered, sample.tools)]
    assert with_bundle == ["/lamella/step", "/lamella/ca.pem", "/run/lamella"]
    assert "/lamella/ca.pem" not in [mount["target"] for mount in _mounts(lowered, sample.product)]
    rootfs = next(target for target in lowered.targets if target.kind == "rootfs")
    assert "/run/lamella" in rootfs.stubs


def test_proxies_are_build_arguments_and_no_lines() -> None:
    lowered = lower(two_steps().phase, L4, LowerOptions(proxies=FrozenMap({"http_proxy": "http://proxy.example:3128"})))
    assert all(target["args"] == {"http_proxy": "http://proxy.example:3128"} for target in _exporting(lowered))
    assert "proxy.example" not in lowered.dockerfile
    assert not any(b"proxy.example" in data for data in lowered.files.values())


# -- what cannot be done -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "reason"),
    [
        (ExecOp((Command(("true",), capture="log"),)), "has no product to carry it"),
        (ExecOp((command("true"),), user="7:7", mounts=(BindMount(1, "/s", touch=True),), outputs=OUTPUT), "new times"),
    ],
    ids=["evidence-of-a-rootfs", "touch-by-a-user"],
)
def test_what_no_level_can_do_is_refused(op: ExecOp, reason: str) -> None:
    with pytest.raises(SandboxError, match=reason) as caught:
        lower(one_step(op).phase, L4, PLAIN)
    assert "--engine local" in caught.value.hint


def test_steps_of_two_platforms_are_two_phases() -> None:
    sample: Sample = two_steps()
    vertices = dict(sample.phase.definition.vertices)
    vertices[sample.packed] = replace(vertices[sample.packed], execution="linux/arm64")
    with pytest.raises(InternalError, match="one execution platform"):
        lower(replace(sample.phase, definition=Definition(FrozenMap(vertices))), L4, PLAIN)
