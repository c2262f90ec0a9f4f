"""Root file systems as stages: bases, packages and users on them, ``run`` layers, toolchains."""

from __future__ import annotations

import shlex
from itertools import groupby

from lamella.canonical import FrozenMap
from lamella.eject.dockerfile_text import shell_word
from lamella.eject.values import CONTEXT, Env, Instruction, Mount, Part, Run, Script, Stage, User
from lamella.eject.work import Root, Work, refused
from lamella.graph.mount import BindMount, CacheMount, SecretMount, TmpfsMount
from lamella.graph.op import BootstrapOp, Command, ExecOp, HostOp, ImageOp, NewUser, SourceOp, UsersOp
from lamella.graph.vertex import Vertex
from lamella.stacks.base import SRC
from lamella.stacks.toolchain import BASE_PATH, apt_commands

__all__ = ["as_root", "command_of", "root_of", "step_mounts"]

_STEP_ONLY = ("DEBIAN_FRONTEND",)
"""Variables of package steps that nothing after them shall see."""


def root_of(work: Work, key: str, *, native: bool = False) -> Root:
    """The stage of a root file system, one per layer of its chain. ``native``: on the builder's own platform."""
    known = work.roots.get((key, native))
    if known is not None:
        return known
    chain = [(name, work.definition[name]) for name in work.definition.chain(key)]
    groups = [list(group) for _, group in groupby(chain, key=lambda item: item[1].info.layer)]
    if len(groups) > 1 and len(groups[0]) == 1:  # a root that several layers share, under the name of one of them
        groups[:2] = [[*groups[0], *groups[1]]]
    root: Root | None = None
    for group in groups:
        root = _layer(work, root, group, native)
    assert root is not None  # noqa: S101 - a chain has its own end
    work.roots[key, native] = root
    return root


def _layer(work: Work, below: Root | None, group: list[tuple[str, Vertex]], native: bool) -> Root:
    """The stage of one layer of a chain."""
    vertices = [vertex for _, vertex in group]
    first, last = vertices[0], vertices[-1]
    items: list[Instruction] = []
    in_image = group[-1][0] in work.in_image
    remark = f"{_what(work, last, in_image=in_image)}layer {last.info.layer}" if last.info.layer else "base"
    base: str | int
    extra: tuple[str, ...] = ()
    if below is None:
        base, env, extra, why = _reference(work, first)
        remark = f"{remark}: {why}" if why else remark
    else:
        base, env = below.stage, below.env
    if (
        below is not None
        and isinstance(last.op, ExecOp)
        and all(
            isinstance(vertex.op, ExecOp) and all(_is_there(work, vertex, one) for one in vertex.op.commands)
            for vertex in vertices
        )
    ):
        return below
    for vertex in vertices:
        if isinstance(vertex.op, ExecOp):
            run, env = _step(work, vertex, vertex.op, env, extra, in_image=in_image)
            items += run
            extra = ()
        elif isinstance(vertex.op, UsersOp):
            if extra:
                items.append(_packages(extra))
                extra = ()
            items.append(Run(_user_commands(work, vertex.op.users)))
    if extra:
        items.append(_packages(extra))
    if in_image:
        items = as_root(work, items)
    stage = Stage(base, tuple(items), remark, native and below is None)
    return Root(work.stages.add(_hint(work, last), stage, work.cell), env)


def _what(work: Work, vertex: Vertex, *, in_image: bool) -> str:
    kind = work.kind(vertex)
    if kind == "run":
        return "commands of "
    return "" if in_image or kind == "base" else "toolchain of "


def _hint(work: Work, vertex: Vertex) -> str:
    name = vertex.info.layer or "base"
    return name if work.kind(vertex) in ("base", "run", "") else f"{name}-toolchain"


def as_root(work: Work, items: list[Instruction]) -> list[Instruction]:
    """Instructions of an image's stage with the user that Lamella's own steps have, where the base has another one."""
    user = work.facts.runtime.user
    if user in ("", "root", "0", "0:0") or not any(isinstance(item, Run) for item in items):
        return items
    return [User("0:0"), *items, User(user)]


def _packages(names: tuple[str, ...]) -> Run:
    argvs = tuple(command.argv for command in apt_commands(names))
    return Run(argvs, env=FrozenMap({"DEBIAN_FRONTEND": "noninteractive"}))


def _reference(work: Work, vertex: Vertex) -> tuple[str, FrozenMap[str, str], tuple[str, ...], str]:
    """FROM, environment, packages that must be added, and a remark for a chain's root."""
    op, layer = vertex.op, vertex.info.layer
    path = FrozenMap({"PATH": BASE_PATH})
    match op:
        case BootstrapOp():
            return _stand_in(op), path, op.include, _bootstrap_remark(op)
        case ImageOp():
            if op.location.startswith(("oci-layout:", "oci-archive:")):
                hint = "push it to a registry, or hand it to the build: --build-context NAME=oci-layout://PATH"
                raise refused(layer, f"its base {op.location} is a local layout, which FROM cannot name", hint)
            pin = work.shared.lock.bases.get(op.location)
            digest = pin.index if pin is not None else op.digest
            env = FrozenMap({"PATH": BASE_PATH, **(dict(pin.env) if pin is not None else {})})
            name = op.location.partition("@")[0]
            return f"{name}@{digest}", env, (), "its digest is that of lamella.lock and stands for every platform"
        case HostOp():
            hint = "write from or bootstrap in the layer that 'on' names, or leave 'on' out"
            raise refused(layer, "it runs with this machine's own tools (host = true)", hint)
        case _:
            return "scratch", FrozenMap(), (), ""


def _stand_in(op: BootstrapOp) -> str:
    """The image of a suite that comes nearest to a bootstrapped one."""
    return f"debian:{op.suite}-slim" if op.distribution == "debian" else f"{op.distribution}:{op.suite}"


def _bootstrap_remark(op: BootstrapOp) -> str:
    name, include = _stand_in(op), ",".join(op.include)
    date = f" as of {op.snapshot}" if op.snapshot else ""
    text = (
        f"Lamella makes {op.suite}{date} from the distribution's archive; a Dockerfile cannot, so the image of the "
        "same suite stands in.\nTo stand on the very same files, import them under its name before building:\n"
        f"  mmdebstrap --variant={op.variant} --include={include} {op.suite} base.tar && docker import base.tar {name}"
    )
    return f"{text}\nThe date is not kept: pin the image by digest for that." if date else text


def _step(
    work: Work,
    vertex: Vertex,
    op: ExecOp,
    env: FrozenMap[str, str],
    extra: tuple[str, ...],
    *,
    in_image: bool,
) -> tuple[list[Instruction], FrozenMap[str, str]]:
    """A step that changes the root file system, and the environment after it.

    In an image its variables are exported for the commands alone; a toolchain keeps them for the steps on it.
    """
    fresh = {name: value for name, value in op.env.items() if env.get(name) != value}
    fresh = {name: value for name, value in fresh.items() if not name.startswith("npm_config_")}
    kept = {} if in_image else {name: value for name, value in fresh.items() if name not in _STEP_ONLY}
    wanted = [command for command in op.commands if not _is_there(work, vertex, command)]
    if not wanted:
        return [], env
    commands = [command_of(_with_packages(command, extra)) for command in wanted]
    if extra and not any(command.argv[:2] == ("apt-get", "install") for command in op.commands):
        commands = [*(command.argv for command in apt_commands(extra)), *commands]
    if op.cwd != "/":
        commands.insert(0, ("cd", op.cwd))
    is_run = work.kind(vertex) == "run"
    items: list[Instruction] = [Env(FrozenMap(kept))] if kept else []
    exported = FrozenMap({name: value for name, value in fresh.items() if name not in kept})
    mounts = step_mounts(work, vertex, op)
    if is_run:
        mounts = (*mounts, *_agents(work, vertex.info.layer))
    items.append(Run(tuple(commands), mounts, exported, "none" if is_run and op.network == "none" else ""))
    return items, env.with_items(kept)


def _agents(work: Work, layer: str) -> tuple[Mount, ...]:
    """SSH agents that a ``run`` layer may use."""
    return tuple(Mount((("type", "ssh"), ("id", name))) for name in work.layers[layer].layer.ssh)


def _is_there(work: Work, vertex: Vertex, command: Command) -> bool:
    """Whether a command would only install a program that a layer below has installed by its very name."""
    if len(command.unless) != 2 or command.unless[1] != "--version":
        return False
    below = (work.definition[key].op for key in work.definition.chain(vertex.inputs[0].vertex))
    words = (word for op in below if isinstance(op, ExecOp) for one in op.commands for word in one.argv)
    return any(word.startswith(f"{command.unless[0]}@") for word in words)


def _with_packages(command: Command, extra: tuple[str, ...]) -> Command:
    """The install command with packages that a bootstrapped base has and the image in its place has not."""
    if not extra or command.argv[:2] != ("apt-get", "install"):
        return command
    flags = tuple(word for word in command.argv[2:] if word.startswith("-"))
    names = {word for word in command.argv[2:] if not word.startswith("-")} | set(extra)
    return Command(("apt-get", "install", *flags, *sorted(names)))


def command_of(command: Command) -> tuple[str, ...] | Script:
    """A command for RUN, with its folder and its condition."""
    text = shlex.join(command.argv) if command.cwd or command.unless else ""
    if not text:
        return command.argv
    for word in (*command.argv, *command.unless, command.cwd):
        shell_word(word)
    if command.cwd:
        text = f"cd {shlex.quote(command.cwd)} && {text}"
    if command.unless:
        return Script(f"{{ {shlex.join(command.unless)} >/dev/null 2>&1 || {text}; }}")
    return Script(f"({text})")


def step_mounts(work: Work, vertex: Vertex, op: ExecOp) -> tuple[Mount, ...]:
    """The mounts of a step as mounts of RUN."""
    found: list[Mount] = []
    for mount in op.mounts:
        match mount:
            case BindMount():
                found += _binds(work, vertex, mount, writable=bool(op.scratch))
            case CacheMount():
                found.append(work.cache(mount.id, mount.target, locked=mount.sharing == "locked"))
            case SecretMount():
                found.append(work.secret(mount.id, target=mount.target, env=mount.env))
            case TmpfsMount():
                found.append(Mount((("type", "tmpfs"), ("target", mount.target))))
            case _:
                found.append(work.cache(mount.id.replace(" ", "-")[:60], mount.target, by_arch=False, locked=True))
    return tuple(found)


def _binds(work: Work, vertex: Vertex, mount: BindMount, *, writable: bool) -> list[Mount]:
    edge = vertex.inputs[mount.input]
    op = work.definition[edge.vertex].op
    if isinstance(op, SourceOp) and not op.strip:
        found = work.context.folders(op.patterns)
        return [
            work.bind(Part(CONTEXT, item.path, item.folder), _joined(mount.target or SRC, item.path), writable=writable)
            for item in found
        ]
    binds = []
    for inner, part in work.product(edge.vertex):
        if mount.source and not _within(inner, mount.source):
            continue
        path = f"{part.path}/{mount.source}" if mount.source and not inner else part.path
        rest = inner.removeprefix(mount.source).strip("/") if mount.source else inner
        place = Part(part.stage, path, part.folder)
        binds.append(work.bind(place, f"{mount.target}/{rest}" if rest else mount.target))
    return binds


def _within(inner: str, wanted: str) -> bool:
    return not inner or inner == wanted or inner.startswith(f"{wanted}/")


def _joined(target: str, path: str) -> str:
    return target if path == "." else f"{target}/{path}"


# ---- users -----------------------------------------------------------------------------------------------------------


def _user_commands(work: Work, users: tuple[NewUser, ...]) -> tuple[tuple[str, ...] | Script, ...]:
    """Users as the base's own tools add them: useradd(8), or adduser of BusyBox on Alpine."""
    busybox = work.facts.os_release.get("ID") == "alpine"
    out: list[tuple[str, ...] | Script] = []
    for user in users:
        home, shell = user.home or f"/home/{user.name}", user.shell or "/usr/sbin/nologin"
        uid, gid = str(user.uid), str(user.gid)
        if busybox:
            out.append(("addgroup", "-g", gid, user.name))
            out.append(("adduser", "-D", "-H", "-u", uid, "-G", user.name, "-h", home, "-s", shell, user.name))
        else:
            if gid != "0":
                out.append(("groupadd", "--gid", gid, user.name))
            line = ("useradd", "--uid", uid, "--gid", gid, "--no-log-init", "--no-create-home")
            out.append((*line, "--home-dir", home, "--shell", shell, user.name))
        if home not in ("/", "/nonexistent", "/dev/null"):
            out.append(("install", "-d", "-m", "0755", "-o", uid, "-g", gid, home))
        if user.sudo:
            rule = shell_word(f"{user.name} ALL=(ALL:ALL) NOPASSWD:ALL")
            place = shell_word(f"/etc/sudoers.d/{user.name.replace('.', '_')}")
            out.append(Script(f"printf '%s\\n' {rule} > {place}"))
            out.append(("chmod", "0440", f"/etc/sudoers.d/{user.name.replace('.', '_')}"))
    return tuple(out)
