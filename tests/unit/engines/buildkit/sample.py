"""Hand-made phases: definitions of a few vertices, and what a phase of their steps is handed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from lamella.canonical import FrozenMap
from lamella.engines.buildkit.levels import Level, level_of
from lamella.engines.buildkit.phase import BaseRef, LowerOptions, Phase
from lamella.graph.definition import DefinitionBuilder
from lamella.graph.mount import BindMount, CacheMount, Mount, SecretMount, StateMount
from lamella.graph.op import Command, ExecOp, ImageOp, OutputPath, SourceOp
from lamella.graph.vertex import AllPaths, Input, RootfsOf, Vertex, VertexInfo

AMD64 = "linux/amd64"
L0, L1, L2, L3, L4 = (level_of(version) for version in ((0, 8), (0, 10), (0, 12), (0, 13), (0, 25)))
LEVELS: Mapping[str, Level] = {"L0": L0, "L1": L1, "L2": L2, "L3": L3, "L4": L4}
PLAIN = LowerOptions()


@dataclass(frozen=True, slots=True)
class Sample:
    """A phase with the definition keys of its vertices."""

    phase: Phase
    base: str
    sources: str
    tools: str
    product: str
    packed: str


def command(*argv: str, **more: object) -> Command:
    return replace(Command(argv), **more)  # type: ignore[arg-type]  # names of Command's own fields


def two_steps(*, name: str = "app", network: str = "host", inner: str = "", mounts: tuple[Mount, ...] = ()) -> Sample:
    """A root file system step, a product step on it with every kind of mount, and a step that reads that product."""
    builder = DefinitionBuilder()
    base = builder.add(_vertex(ImageOp("base", f"sha256:{'b' * 64}"), (), "base"))
    sources = builder.add(Vertex(SourceOp(("**",)), (), info=VertexInfo("sources")))
    tools = builder.add(_vertex(_tools_op(network), (_rootfs(base),), "tools"))
    op = _product_op(inner, mounts)
    product = builder.add(_vertex(op, (_rootfs(tools), Input(sources, AllPaths(), "sources")), name))
    packed = builder.add(_vertex(_pack_op(), (_rootfs(base), Input(product, AllPaths(), "app")), "packed"))
    phase = Phase(
        project="sample",
        definition=builder.build(),
        steps=(tools, product, packed),
        bases=FrozenMap({base: BaseRef("tar", "bases/base.tar")}),
        inputs=FrozenMap({sources: "inputs/sources"}),
        products=frozenset({product, packed}),
        rootfs=frozenset({tools}),
        identities=frozenset({tools}),
        secrets=frozenset({"token"}),
    )
    return Sample(phase, base, sources, tools, product, packed)


def one_step(op: ExecOp, *, name: str = "app") -> Sample:
    """A single product step on a base, with one source tree as input 1."""
    builder = DefinitionBuilder()
    base = builder.add(_vertex(ImageOp("base", f"sha256:{'b' * 64}"), (), "base"))
    sources = builder.add(Vertex(SourceOp(("**",)), (), info=VertexInfo("sources")))
    step = builder.add(_vertex(op, (_rootfs(base), Input(sources, AllPaths(), "sources")), name))
    phase = Phase(
        project="sample",
        definition=builder.build(),
        steps=(step,),
        bases=FrozenMap({base: BaseRef("tar", "bases/base.tar")}),
        inputs=FrozenMap({sources: "inputs/sources"}),
        products=frozenset({step} if op.outputs else ()),
        rootfs=frozenset(() if op.outputs else {step}),
    )
    return Sample(phase, base, sources, step, step, step)


def _vertex(op: ExecOp | ImageOp, inputs: tuple[Input, ...], name: str) -> Vertex:
    return Vertex(op, inputs, AMD64, AMD64, VertexInfo(name))


def _rootfs(key: str) -> Input:
    return Input(key, RootfsOf(), "rootfs")


def _tools_op(network: str) -> ExecOp:
    """What apt does in small: files with owners, modes, a link; and something of the base goes away."""
    text = "mkdir -p /opt/tool && echo tool >/opt/tool/run && chmod 750 /opt/tool/run && chown 7:8 /opt/tool/run"
    link = "ln -s run /opt/tool/link && rm /etc/gone"
    return ExecOp((command("sh", "-c", text), command("sh", "-c", link)), network=network)


def _product_op(inner: str, mounts: tuple[Mount, ...]) -> ExecOp:
    own: tuple[Mount, ...] = (
        BindMount(1, "/lamella/src", source=inner, touch=True),
        StateMount("target of app", "/lamella/target"),
        CacheMount("downloads", "/lamella/cache"),
        SecretMount("token", target="/run/secrets/token"),
        SecretMount("token", env="TOKEN"),
        SecretMount("absent", env="ABSENT", optional=True),
    )
    build = """
        cat /opt/tool/run main.txt >/lamella/target/app; chown 5:6 /lamella/target/app
        echo run >>/lamella/target/runs; echo made >made.txt
        mkdir out; echo "$GREETING" >out/greeting; ln -s greeting out/link; chmod 700 out/greeting
    """
    return ExecOp(
        commands=(
            command("sh", "-c", build),
            command(
                "sh", "-c", "wc -l </lamella/target/runs; wc -c </run/secrets/token; echo ${#TOKEN}", capture="seen"
            ),
            command("false", unless=("test", "-f", "made.txt")),
        ),
        env=FrozenMap({"GREETING": 'it\'s $HOME, "quoted" \\ and\nmore'}),
        cwd="/lamella/src",
        mounts=(*own, *mounts),
        outputs=(OutputPath("/lamella/target/app", "bin/app"), OutputPath("/lamella/src/out", "")),
    )


def _pack_op() -> ExecOp:
    return ExecOp(
        commands=(command("cp", "-a", "/in/bin/app", "/packed"),),
        mounts=(BindMount(1, "/in"),),
        outputs=(OutputPath("/packed", ""),),
    )
