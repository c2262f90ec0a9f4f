"""Artefacts from elsewhere: ADD where a checksum is written, else a stage with curl, checksum file and archive."""

from __future__ import annotations

import posixpath
import re

from lamella.canonical import FrozenMap
from lamella.eject.dockerfile_text import shell_word
from lamella.eject.values import Instruction, Mount, Part, Run, Script, Stage, Workdir
from lamella.eject.work import OUT, Product, Work, refused
from lamella.errors import HostileInputError
from lamella.graph.op import FetchOp, FetchSource
from lamella.graph.vertex import Vertex
from lamella.stacks.toolchain import apt_commands

__all__ = ["FETCH_BASE", "fetch_product", "is_plain"]

FETCH_BASE = "debian:trixie-slim"
"""Where downloads are checked and unpacked; nothing of it gets into an image."""

HUB_CLIENT = "huggingface_hub>=0.34,<2"
"""The client of model hubs, as pip asks for it."""

_UNPACKERS = {".zip": "unzip", ".xz": "xz-utils", ".txz": "xz-utils", ".bz2": "bzip2", ".zst": "zstd"}


def is_plain(op: FetchOp) -> bool:
    """Whether one ADD with a checksum does it all."""
    (first, *rest) = op.sources
    return not rest and bool(first.url and first.sha256) and not (first.extract or first.secret or _is_hub(first))


def _is_hub(source: FetchSource) -> bool:
    return source.url.startswith("hub:")


def fetch_product(work: Work, vertex: Vertex, op: FetchOp) -> Product:
    """The stage that downloads an artefact to ``/out/NAME``."""
    layer = vertex.info.layer
    sources = [source for source in op.sources if source.url]
    if not sources:
        raise refused(layer, "none of its files is there, and it has no URL", vertex.info.advice)
    if _is_hub(sources[0]):
        return _hub_product(work, layer, sources[0].url.removeprefix("hub:"), op.name)
    packages = {"ca-certificates", "curl"}
    for source in sources:
        packages |= {name for ending, name in _UNPACKERS.items() if source.extract and source.url.endswith(ending)}
    place = f"{OUT}/{op.name}"
    ways = [_way(source, place, op.mode) for source in sources]
    secrets: tuple[Mount, ...] = tuple(work.secret(name) for name in dict.fromkeys(s.secret for s in sources) if name)
    commands = tuple(Script(line) for line in ways[0])
    if len(ways) > 1:
        commands = (Script(" || ".join(f"( {' && '.join(way)} )" for way in ways)),)
    items: tuple[Instruction, ...] = (
        Run(
            tuple(command.argv for command in apt_commands(tuple(packages))),
            env=FrozenMap({"DEBIAN_FRONTEND": "noninteractive"}),
        ),
        Workdir("/fetch"),
        Run(commands, secrets),
    )
    remark = f"layer {layer}: {op.name}, downloaded{' and checked' if all(_is_checked(s) for s in sources) else ''}"
    number = work.stages.add(f"{layer}-fetch", Stage(FETCH_BASE, items, remark), work.cell)
    return ((op.name, Part(number, place, folder=False)),)


def _hub_product(work: Work, layer: str, name: str, target: str) -> Product:
    """A model of a hub at the commit that the lock holds, by the hub's own client."""
    repository, _, commit = name.partition("@")
    place = f"{OUT}/{target}"
    items: tuple[Instruction, ...] = (
        Run(
            tuple(command.argv for command in apt_commands(("ca-certificates", "python3-venv"))),
            env=FrozenMap({"DEBIAN_FRONTEND": "noninteractive"}),
        ),
        Run(
            (
                ("python3", "-m", "venv", "/opt/hub"),
                ("/opt/hub/bin/pip", "install", "--no-cache-dir", "--disable-pip-version-check", HUB_CLIENT),
            )
        ),
        Run(
            (
                ("/opt/hub/bin/hf", "download", repository, "--revision", commit, "--local-dir", place),
                ("rm", "-rf", f"{place}/.cache"),
            )
        ),
    )
    remark = f"layer {layer}: the model {repository} at the commit of lamella.lock"
    number = work.stages.add(f"{layer}-fetch", Stage(FETCH_BASE, items, remark), work.cell)
    return (("", Part(number, place, folder=True)),)


def _is_checked(source: FetchSource) -> bool:
    return bool(source.sha256 or source.sums)


def _way(source: FetchSource, place: str, mode: int) -> list[str]:
    """One way to get an artefact, as commands."""
    name = posixpath.basename(source.url.partition("?")[0]) or "artefact"
    lines = [_download(source.url, name, source.secret)]
    if source.sha256:
        lines.append(f"echo {shell_word(f'{source.sha256}  {name}')} | sha256sum --check --strict -")
    elif source.sums:
        if not re.fullmatch(r"[\w.+~@%-]+", name):
            raise HostileInputError(f"{name!r} cannot be looked up in a checksum file by a Dockerfile")
        lines.append(_download(source.sums, "SUMS", source.secret))
        lines.append(f"""awk '$2 == "{name}" || $2 == "*{name}"' SUMS | sha256sum --check --strict -""")
    found = name
    if source.extract:
        found = source.extract.strip("/")
        unpack = ("unzip", "-q", name, found) if name.endswith(".zip") else ("tar", "--extract", "--file", name, found)
        lines.append(" ".join(shell_word(word) for word in unpack))
    if source.extract.endswith("/"):
        return [*lines, f"mkdir -p {OUT}", f"cp -R {shell_word(found)} {shell_word(place)}"]
    return [*lines, f"install -D -m {mode:04o} {shell_word(found)} {shell_word(place)}"]


def _download(url: str, name: str, secret: str) -> str:
    words = ["curl", "--fail", "--location", "--silent", "--show-error", "--retry", "3", "--output", name, url]
    text = " ".join(shell_word(word) for word in words)
    if not secret:
        return text
    return f'{text} --header "Authorization: Bearer $(cat {shell_word(f"/run/secrets/{secret}")})"'
