r"""The one serialiser of Dockerfiles: every value passes one of the quoting functions here.

Rules of the syntax: the Dockerfile reference (docs.docker.com/reference/dockerfile), and for words and escapes
BuildKit's frontend/dockerfile/shell (double quotes keep ``\``, ``"`` and ``$`` by a backslash) and parser.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping

from lamella.eject.text import check_text, wrapped
from lamella.eject.values import (
    CONTEXT,
    Add,
    ArchSwitch,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    Health,
    Inline,
    Instruction,
    Label,
    Mount,
    Prefixed,
    Remark,
    Run,
    Script,
    Stage,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from lamella.errors import HostileInputError
from lamella.oci.config import Healthcheck

__all__ = ["exec_form", "instruction_lines", "quoted_word", "shell_word", "stage_lines"]

_PLAIN = re.compile(r"[A-Za-z0-9_./:@=+,%-]+")
_MOUNT = re.compile(r"[A-Za-z0-9_./:@+~-]*(?:\$\{TARGETARCH\})?")
_HEREDOC_MARKS = ("EOF", "END", "TEXT", "LAMELLA")
_INSTALL = {("apt-get", "install"), ("dnf", "install"), ("zypper", "--non-interactive"), ("apk", "add")}
_CLEANING = re.compile(r"(?:rm|dnf|zypper) (?:[\w ./*-]|&&)+")
_WIDTH = 110
_SECOND = 1_000_000_000


def quoted_word(text: str, where: str) -> str:
    r"""A value of ENV, LABEL, USER, WORKDIR and the like: bare where that is safe, else in double quotes, never
    expanded.

    >>> quoted_word('a "b" $c', "ENV")
    '"a \\"b\\" \\$c"'
    """
    check_text(text, where)
    if _PLAIN.fullmatch(text):
        return text
    return '"' + re.sub(r'([\\"$])', r"\\\1", text) + '"'


def exec_form(argv: tuple[str, ...], where: str) -> str:
    """A JSON array of words; JSON has an escape for tabs and newlines."""
    for word in argv:
        check_text(word, where, breaks=True)
    return json.dumps(list(argv), ensure_ascii=False)


def shell_word(text: str, where: str = "RUN") -> str:
    """One word of a POSIX shell, on one line."""
    return shlex.quote(check_text(text, where))


def stage_lines(stage: Stage, name: str, names: Mapping[int, str]) -> list[str]:
    """A stage: its remark, FROM and its instructions."""
    lines = wrapped(stage.remark) if stage.remark else []
    for arch, number in stage.base.stages.items() if isinstance(stage.base, ArchSwitch) else ():
        if names[number] != f"{name}-{arch}":
            lines.append(f"FROM {names[number]} AS {name}-{arch}")
    platform = "--platform=$BUILDPLATFORM " if stage.native else ""
    lines.append(f"FROM {platform}{_base(stage, name, names)} AS {name}")
    for item in stage.instructions:
        lines += instruction_lines(item, names)
    return lines


def _base(stage: Stage, name: str, names: Mapping[int, str]) -> str:
    if isinstance(stage.base, ArchSwitch):
        return f"{name}-${{TARGETARCH}}"
    if isinstance(stage.base, int):
        return names[stage.base]
    text = check_text(stage.base, "FROM")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*", text):
        raise HostileInputError(f"{text!r} is no name of a base image")
    return text


def instruction_lines(item: Instruction, names: Mapping[int, str]) -> list[str]:
    """One instruction as lines."""
    if isinstance(item, Copy):
        return _copy(item, names)
    if isinstance(item, Run):
        return _run(item, names)
    writer: Callable[..., list[str]] = _WRITERS[type(item)]
    return writer(item)


def _remark(item: Remark) -> list[str]:
    return wrapped(item.text)


def _arg(item: Arg) -> list[str]:
    return [f"ARG {item.name}"]


def _pairs(word: str, pairs: list[str]) -> list[str]:
    """``WORD a=b`` with each further pair on a line of its own."""
    indent = " " * (len(word) + 1)
    return [
        f"{word + ' ' if not number else indent}{pair}{' ' + chr(92) if number < len(pairs) - 1 else ''}"
        for number, pair in enumerate(pairs)
    ]


def _env(item: Env) -> list[str]:
    return _pairs("ENV", [f"{_name(name)}={_value(name, value)}" for name, value in item.values.items()])


def _name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", name):
        raise HostileInputError(f"{name!r} cannot be a variable of a Dockerfile")
    return name


def _value(name: str, value: str | Prefixed) -> str:
    if isinstance(value, str):
        return quoted_word(value, f"variable {name}")
    front = quoted_word(value.front, f"variable {name}")
    return f'{front[:-1]}:${{{name}}}"' if front.startswith('"') else f"{front}:${{{name}}}"


def _label(item: Label) -> list[str]:
    pairs = [f"{_label_name(name)}={quoted_word(value, f'label {name}')}" for name, value in item.values.items()]
    return _pairs("LABEL", pairs)


def _label_name(name: str) -> str:
    if "=" in name or not name:
        raise HostileInputError(f"{name!r} cannot be the name of a label in a Dockerfile")
    return quoted_word(name, "label")


def _copy(item: Copy, names: Mapping[int, str]) -> list[str]:
    flags = _file_flags(item)
    if item.stage != CONTEXT:
        flags.append(f"--from={names[item.stage]}")
    words = [_glob_free(source, item.stage) for source in item.sources]
    words.append(_path_text(item.target))
    if all(_PLAIN.fullmatch(word) for word in words):
        return [" ".join(["COPY", *flags, *words])]
    return [" ".join(["COPY", *flags, exec_form(tuple(words), "COPY")])]


def _file_flags(item: Copy | Inline | Add) -> list[str]:
    flags = ["--link"] if item.link else []
    for flag, value in (("chown", item.chown), ("chmod", item.chmod)):
        if value and not re.fullmatch(r"[A-Za-z0-9_.:-]+", value):
            raise HostileInputError(f"{value!r} cannot be written as --{flag}")
        flags += [f"--{flag}={value}"] if value else []
    return flags


def _path_text(path: str) -> str:
    """A word in COPY, ADD or VOLUME, where dollars, quotes and backslashes are BuildKit's also in JSON."""
    return re.sub(r"([\\$'\"])", r"\\\1", check_text(path, "COPY"))


def _glob_free(path: str, stage: int) -> str:
    """A source of COPY that stands for itself. A bracket has a spelling in BuildKit's patterns; the other wildcards
    have none that both the transfer of the context and the copy read alike.
    """
    if re.search(r"[\\*?]", path):
        raise HostileInputError(
            f"COPY: the path {path!r} holds a wildcard or a backslash, which a Dockerfile cannot take literally",
            hint="rename it, or copy the folder that it is in",
        )
    text = path.replace("[", "[[]")
    return _path_text(text if stage == CONTEXT or text.startswith("/") else f"/{text}")


def _inline(item: Inline) -> list[str]:
    data = check_text(item.data, f"file {item.target}", breaks=True)
    lines = data.split("\n")
    mark = next((word for word in _HEREDOC_MARKS if word not in lines), "")
    if not mark or lines.pop() != "":
        raise HostileInputError(f"file {item.target}: its text cannot stand in a here-document")
    target = _path_text(item.target)
    if not _PLAIN.fullmatch(target):
        raise HostileInputError(f"file {item.target}: the path of a here-document must be plain")
    return [" ".join(["COPY", *_file_flags(item), f"<<'{mark}'", target]), *lines, mark]


def _add(item: Add) -> list[str]:
    flags = [*_file_flags(item), f"--checksum=sha256:{item.sha256}"]
    if not re.fullmatch(r"[0-9a-f]{64}", item.sha256):
        raise HostileInputError(f"{item.sha256!r} is no sha256")
    return [" ".join(["ADD", *flags, exec_form((_path_text(item.url), _path_text(item.target)), "ADD")])]


def _workdir(item: Workdir) -> list[str]:
    return [f"WORKDIR {quoted_word(item.path, 'WORKDIR')}"]


def _user(item: User) -> list[str]:
    return [f"USER {quoted_word(item.name, 'USER')}"]


def _expose(item: Expose) -> list[str]:
    return [f"EXPOSE {' '.join(quoted_word(port, 'EXPOSE') for port in item.ports)}"]


def _volume(item: Volume) -> list[str]:
    return [f"VOLUME {exec_form(tuple(_path_text(path) for path in item.paths), 'VOLUME')}"]


def _entrypoint(item: Entrypoint) -> list[str]:
    return [f"ENTRYPOINT {exec_form(item.argv, 'ENTRYPOINT')}"]


def _cmd(item: Cmd) -> list[str]:
    return [f"CMD {exec_form(item.argv, 'CMD')}"]


def _stop_signal(item: StopSignal) -> list[str]:
    return [f"STOPSIGNAL {quoted_word(item.name, 'STOPSIGNAL')}"]


def _health(item: Health) -> list[str]:
    check = item.check
    if check.test == ("NONE",):
        return ["HEALTHCHECK NONE"]
    flags = [f"--{name}={duration}" for name, duration in _durations(check) if duration]
    flags += [f"--retries={check.retries}"] if check.retries else []
    if not check.test or check.test[0] != "CMD":
        raise HostileInputError("a health check that is a shell's line cannot be written here")
    return [" ".join(["HEALTHCHECK", *flags]) + " \\", f"  CMD {exec_form(check.test[1:], 'HEALTHCHECK')}"]


def _durations(check: Healthcheck) -> list[tuple[str, str]]:
    pairs = (("interval", check.interval), ("timeout", check.timeout), ("start-period", check.start_period))
    return [(name, _duration(nanoseconds)) for name, nanoseconds in pairs]


def _duration(nanoseconds: int) -> str:
    if not nanoseconds:
        return ""
    return f"{nanoseconds // _SECOND}s" if nanoseconds % _SECOND == 0 else f"{nanoseconds}ns"


# ---- RUN -------------------------------------------------------------------------------------------------------------


def _run(item: Run, names: Mapping[int, str]) -> list[str]:
    """``RUN`` with a mount or a command per line."""
    head = [f"--network={item.network}"] if item.network else []
    head += [_mount(mount, names) for mount in item.mounts]
    only = item.commands[0] if len(item.commands) == 1 and not item.env else None
    if isinstance(only, tuple) and any("\n" in word or "\t" in word for word in only):
        body = [exec_form(only, "RUN")]  # JSON has an escape for what a line cannot hold
    else:
        body = _commands(item)
    if head:
        rows = [f"{'RUN' if not number else '   '} {flag} \\" for number, flag in enumerate(head)]
        return [*rows, f"    {body[0]}", *body[1:]]
    return [f"RUN {body[0]}", *body[1:]]


def _commands(item: Run) -> list[str]:
    """Commands joined by ``&&``, one per line, long ones over several."""
    blocks = []
    if item.env:
        words = [f"{_name(name)}={shell_word(value, f'variable {name}')}" for name, value in item.env.items()]
        blocks.append([f"export {' '.join(words)}"])
    blocks += [_command(command) for command in item.commands]
    lines: list[str] = []
    for block in blocks:
        first = block[0] if not lines else f" && {block[0]}"
        if lines:
            lines[-1] += " \\"
        lines += [f"{line} \\" for line in [first, *block[1:]][:-1]] + [[first, *block[1:]][-1]]
    return lines


def _command(command: tuple[str, ...] | Script) -> list[str]:
    if isinstance(command, Script):
        return [check_text(command.text, "RUN")]
    words = [shell_word(word) for word in command]
    if len(command) == 3 and command[:2] == ("sh", "-c") and _CLEANING.fullmatch(command[2]):
        return _filled(command[2].split(" "))  # already a list of plain commands of the same shell
    if command[:2] in _INSTALL:
        count = next((n for n, word in enumerate(words) if n > 2 and not word.startswith("-")), len(words))
        return [" ".join(words[:count]), *(f"      {word}" for word in words[count:])]
    return _filled(words)


def _filled(words: list[str]) -> list[str]:
    """Words over as many lines as they need."""
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) > _WIDTH:
            lines.append(f"      {word}")
        else:
            lines[-1] += f" {word}"
    return lines


def _mount(mount: Mount, names: Mapping[int, str]) -> str:
    fields = list(mount.fields)
    if mount.stage != CONTEXT:
        fields.insert(1, ("from", names[mount.stage]))
    for name, value in fields:
        if not _MOUNT.fullmatch(value):
            raise HostileInputError(f"{value!r} cannot be written as {name} of a mount in a Dockerfile")
    return "--mount=" + ",".join(f"{name}={value}" if value else name for name, value in fields)


_WRITERS: dict[type, Callable[..., list[str]]] = {
    Remark: _remark,
    Arg: _arg,
    Env: _env,
    Label: _label,
    Inline: _inline,
    Add: _add,
    Workdir: _workdir,
    User: _user,
    Expose: _expose,
    Volume: _volume,
    Health: _health,
    Entrypoint: _entrypoint,
    Cmd: _cmd,
    StopSignal: _stop_signal,
}
