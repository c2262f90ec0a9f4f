"""The last stage of an image: its layers in their order, then its configuration."""

from __future__ import annotations

import posixpath

from lamella.canonical import FrozenMap
from lamella.eject.fetched import is_plain
from lamella.eject.python import PythonLayer, install_above, venv_stage
from lamella.eject.roots import as_root, root_of
from lamella.eject.values import (
    Add,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    Health,
    Inline,
    Instruction,
    Label,
    Prefixed,
    Remark,
    Run,
    Stage,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from lamella.eject.work import Product, Work
from lamella.graph.op import FetchOp, InlineOp, PlaceOp
from lamella.graph.vertex import Vertex
from lamella.images.compose import runtime_config
from lamella.oci.config import RuntimeConfig
from lamella.planning.lowering import ImagePlan
from lamella.project.spec import ImageSpec

__all__ = ["final_stage"]

_LINKS = ("bin", "lib", "lib32", "lib64", "sbin", "tmp", "root")
"""Directories at the top of a base that are symlinks or have a mode of their own: COPY --link would replace them."""

_LINKS_IN_VAR = ("var/run", "var/lock", "var/tmp")


def final_stage(work: Work, plan: ImagePlan, labels: FrozenMap[str, str]) -> Stage:
    """The stage that is the image."""
    root = root_of(work, plan.base)
    files, folders = _layers(work, plan)
    runtime = runtime_config(plan, work.facts, labels)
    made = as_root(work, [*files, *_folder_run(folders)])
    items = [*made, *_config(plan, work.facts.runtime, runtime)]
    return Stage(root.stage, tuple(items), f"image {plan.image.name}")


def _layers(work: Work, plan: ImagePlan) -> tuple[list[Instruction], list[tuple[str, str]]]:
    """Instructions for the image's layers above its base, and the empty directories with their owners."""
    items: list[Instruction] = []
    folders: list[tuple[str, str]] = []
    done: set[str] = set()
    for part in plan.parts:
        vertex = work.definition[part.vertex]
        place = vertex.op
        assert isinstance(place, PlaceOp)  # noqa: S101 - every part of an image is a placement
        product = work.definition[vertex.inputs[0].vertex]
        found = work.layers.get(part.layer)
        if found is not None and found.layer.kind == "python":
            if part.layer not in done:
                items += _python(work, plan, part.layer)
            done.add(part.layer)
        elif isinstance(product.op, InlineOp):
            files, dirs = _inline(work, plan, product.op, place)
            items += files
            folders += dirs
        elif isinstance(product.op, FetchOp) and is_plain(product.op):
            items.append(_add(work, plan, product.op, place))
        else:
            items += _copies(work, plan, work.product(vertex.inputs[0].vertex), place)
    return items, folders


def _python(work: Work, plan: ImagePlan, name: str) -> list[Instruction]:
    wheels: list[Vertex] = []
    for part in plan.parts:
        product = work.definition[work.definition[part.vertex].inputs[0].vertex]
        if part.layer == name and product.op.kind == "wheels":
            wheels.append(product)
    layer = PythonLayer(work.layers[name], tuple(wheels), plan.base)
    if layer.spec.above is not None:
        return install_above(work, layer)
    venv = layer.detail("venv")
    owner = _chown(work, layer.found.layer.owner)
    stage = venv_stage(work, layer)
    return [Copy((venv,), venv, stage, _linkable(plan, venv, owner), owner)]


def _inline(
    work: Work, plan: ImagePlan, op: InlineOp, place: PlaceOp
) -> tuple[list[Instruction], list[tuple[str, str]]]:
    """Files that planning makes: runtime defaults; directories of ``dirs`` with their owner."""
    items: list[Instruction] = []
    folders: list[tuple[str, str]] = []
    for file in op.files:
        target = place.target if place.rename else posixpath.join(place.target, file.path)
        if file.directory:
            folders.append((target, place.owner))
        else:
            owner = _chown(work, place.owner)
            link = _linkable(plan, target, owner)
            items.append(Inline(file.data.decode(), target, link, owner, place.mode or "0644"))
    return items, folders


def _folder_run(folders: list[tuple[str, str]]) -> list[Instruction]:
    commands = []
    for path, owner in folders:
        user, _, group = owner.partition(":")
        flags = ("-o", user, "-g", group or user) if owner not in ("", "root", "0", "0:0", "root:root") else ()
        commands.append(("install", "-d", "-m", "0755", *flags, path))
    return [Run(tuple(commands))] if commands else []


def _add(work: Work, plan: ImagePlan, op: FetchOp, place: PlaceOp) -> Add:
    source = op.sources[0]
    mode = place.mode or f"{op.mode:04o}"
    owner = _chown(work, place.owner)
    return Add(source.url, source.sha256, place.target, _linkable(plan, place.target, owner), owner, mode)


def _copies(work: Work, plan: ImagePlan, product: Product, place: PlaceOp) -> list[Instruction]:
    """COPY of a product's parts; files of one folder together."""
    owner = _chown(work, place.owner)
    link = _linkable(plan, place.target, owner)
    items: list[Instruction] = []
    loose: dict[tuple[int, str], list[str]] = {}
    modes: list[str] = []
    for inner, part in product:
        source, rest = part.path, inner
        if place.source:
            if inner and inner != place.source and not inner.startswith(f"{place.source}/"):
                continue
            source = part.path if inner else posixpath.join(part.path, place.source)
            rest = inner.removeprefix(place.source).strip("/")
        if place.rename:
            items.append(Copy((source,), place.target, part.stage, link, owner, place.mode))
            continue
        target = posixpath.join(place.target, rest) if rest else place.target
        if part.folder:
            items.append(Copy((source,), _folder(target), part.stage, link, owner))
            modes += [target] if place.mode else []
        else:
            loose.setdefault((part.stage, posixpath.dirname(target)), []).append(source)
    for (stage, folder), sources in loose.items():
        items.append(Copy(tuple(sources), _folder(folder), stage, link, owner, place.mode))
    if modes:
        items.append(Run((("find", *modes, "-type", "f", "-exec", "chmod", place.mode, "{}", "+"),)))
    return items


def _folder(path: str) -> str:
    return path if path.endswith("/") else f"{path}/"


def _chown(work: Work, owner: str) -> str:
    """An owner in numbers, which need no look at the base; a name where only the base knows it; root's is left out."""
    ids = work.facts.owner_ids(owner)
    if ids is None or ids[0] < 0:
        return owner
    return "" if ids == (0, 0) else f"{ids[0]}:{ids[1]}"


def _linkable(plan: ImagePlan, target: str, owner: str) -> bool:
    """Whether COPY --link gives what COPY would; ``owner`` as :func:`_chown` writes it.

    A linked copy brings the directories above its target, owned like its files and of mode 0755, and follows no
    symlink of the base: so only for root's files, below directories that are root's and plain.
    """
    path = target.strip("/")
    if owner and ("/" in path or not owner.replace(":", "").isdigit()):
        return False
    if path.split("/")[0] in _LINKS or path.startswith(_LINKS_IN_VAR) or path.startswith("home/"):
        return False
    return not any(f"/{path}".startswith(f"{folder.rstrip('/')}/") for folder in plan.image.dirs)


# ---- configuration ---------------------------------------------------------------------------------------------------


def _config(plan: ImagePlan, base: RuntimeConfig, wanted: RuntimeConfig) -> list[Instruction]:
    """What the image's configuration has beyond its base's, as instructions."""
    image = plan.image
    before = dict(entry.partition("=")[::2] for entry in base.env)
    pairs = (entry.partition("=")[::2] for entry in wanted.env)
    env = {name: _variable(name, value, before) for name, value in pairs if before.get(name) != value}
    labels = {name: value for name, value in wanted.labels.items() if base.labels.get(name) != value}
    items: list[Instruction] = []
    items += [Label(FrozenMap(labels))] if labels else []
    items += [Env(FrozenMap(env))] if env else []
    items += [Volume(new)] if (new := _beyond(wanted.volumes, base.volumes)) else []
    items += [Expose(new)] if (new := _beyond(wanted.exposed_ports, base.exposed_ports)) else []
    items += [Workdir(image.workdir)] if image.workdir else []
    items += [User(image.user)] if image.user else []
    items += [StopSignal(image.stop_signal)] if image.stop_signal else []
    if image.healthcheck is not None and wanted.healthcheck is not None:
        items += _health_remark(image)
        items.append(Health(wanted.healthcheck))
    return items + _start(base, wanted)


def _health_remark(image: ImageSpec) -> list[Instruction]:
    check = image.healthcheck
    if check is None or check.device is None:
        return []
    text = f"device {check.device}: lamella run looks for it on the host; the check itself goes on without it"
    return [Remark(text)]


def _beyond(wanted: tuple[str, ...], base: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(item for item in wanted if item not in base)


def _variable(name: str, value: str, before: dict[str, str]) -> str | Prefixed:
    """``/opt/venv/bin:$PATH`` where the value is something before the base's own."""
    tail = f":{before.get(name, '')}"
    if len(tail) > 1 and value.endswith(tail) and name == "PATH":
        return Prefixed(value.removesuffix(tail))
    return value


def _start(base: RuntimeConfig, wanted: RuntimeConfig) -> list[Instruction]:
    """ENTRYPOINT takes away the base's CMD, so that one is written again where it is kept."""
    items: list[Instruction] = []
    if wanted.entrypoint != base.entrypoint:
        items.append(Entrypoint(wanted.entrypoint))
        if wanted.cmd:
            items.append(Cmd(wanted.cmd))
    elif wanted.cmd and (wanted.cmd != base.cmd or base.cmd == ("/bin/sh",)):
        items.append(Cmd(wanted.cmd))  # a bootstrapped base starts sh, the image in its place another shell
    return items
