"""Facts of a base that was never built here, from the project file and the lock: enough for users and health checks.

What is recorded of a base is exact and wins; this is what a fresh machine knows.
"""

from __future__ import annotations

from collections.abc import Iterable

from lamella.canonical import FrozenMap
from lamella.graph.definition import Definition
from lamella.graph.facts import BaseFacts, Group, Interpreter, User
from lamella.graph.op import BootstrapOp, ExecOp, ImageOp, ScratchOp, UsersOp
from lamella.oci.config import RuntimeConfig
from lamella.planning.lowering import ImagePlan
from lamella.project.lock import Lock
from lamella.stacks.toolchain import BASE_PATH

__all__ = ["guessed_facts"]

_PROBES = ("curl", "wget", "busybox", "bash")
_WITH = {"alpine": ("busybox", "wget"), "fedora": ("bash", "curl"), "rhel": ("bash", "curl")}
"""Programs that every image of a family has."""

_MANAGERS = {"apt-get": "debian", "dnf": "fedora", "zypper": "opensuse", "apk": "alpine"}


def guessed_facts(plan: ImagePlan, definition: Definition, lock: Lock) -> BaseFacts:
    """What the base of an image must be like, as far as the project says it."""
    users, groups = [User("root", 0, 0, "/root")], [Group("root", 0)]
    family: list[str] = []
    tools: set[str] = set()
    found: list[Interpreter] = []
    runtime = RuntimeConfig()
    for key in definition.chain(plan.base):
        op = definition[key].op
        match op:
            case BootstrapOp():
                family = [op.distribution]
                runtime = RuntimeConfig(env=(f"PATH={BASE_PATH}",), cmd=("/bin/sh",))
            case ImageOp():
                pin = lock.bases.get(op.location)
                family = (pin.os_family.split() if pin else []) or _family_by_name(op.location)
                found += pin.interpreters.get(plan.cell.platform, ()) if pin else ()
                env = {"PATH": BASE_PATH, **(dict(pin.env) if pin else {})}
                runtime = RuntimeConfig(env=tuple(f"{name}={value}" for name, value in env.items()))
            case ExecOp():
                tools |= {word for command in op.commands for word in command.argv if word in _PROBES}
                managers = (command.argv[0] for command in op.commands)
                family = family or [_MANAGERS[name] for name in managers if name in _MANAGERS][:1]
            case UsersOp():
                users += [User(user.name, user.uid, user.gid, user.home, user.shell) for user in op.users]
                groups += [Group(user.name, user.gid) for user in op.users]
            case ScratchOp():
                family = ["scratch"]
    tools |= {tool for name in family for tool in _WITH.get(name, ())}
    if family != ["scratch"] and "alpine" not in family:
        tools.add("bash")
    found += _required(plan)
    known = _named(plan, users)
    release = FrozenMap({"ID": family[0] if family else "", "ID_LIKE": " ".join(family[1:])})
    return BaseFacts(
        platform=plan.cell.platform,
        users=(*users, *known),
        groups=tuple(groups),
        os_release=release,
        interpreters=tuple(sorted(set(found))),
        tools=tuple(sorted(tools)),
        runtime=runtime,
    )


def _family_by_name(reference: str) -> list[str]:
    """The family of a base that the lock does not know: by what its name says, else nothing."""
    if "distroless" in reference or "/static" in reference:
        return ["scratch"]
    return [family for family in ("alpine", "debian", "ubuntu", "fedora", "opensuse") if family in reference][:1]


def _required(plan: ImagePlan) -> Iterable[Interpreter]:
    """Interpreters that layers of the image stand on: without them the image would not build."""
    for need in plan.requirements:
        if need.kind == "interpreter":
            language, version, path = (*need.value.split(), "", "")[:3]
            yield Interpreter(language, path, version)


def _named(plan: ImagePlan, users: list[User]) -> tuple[User, ...]:
    """The image's user where only the base knows it; its numbers are not known, so nothing is owned by them."""
    name = (plan.image.user or "").partition(":")[0]
    if not name or name.isdigit() or any(user.name == name for user in users):
        return ()
    return (User(name, -1, -1),)
