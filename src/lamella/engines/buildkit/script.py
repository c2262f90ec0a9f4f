"""The script that one step runs inside BuildKit: POSIX sh, for dash and BusyBox alike (no ``local``, no arrays).

A step is one RUN, because what its commands write into binds must live until the last one. So everything that the
local engine's helper does around the commands is done here: environment from nothing, working directory, ``unless``,
captured evidence, times of sources, the copy of outputs. Lines that begin with the step's mark tell the engine how far
it came; they are read by ``progress``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.engines.local.certificates import BUNDLE_PLACES, CA_TARGET
from lamella.engines.local.environment import command_environment
from lamella.errors import ConfigError, HostileInputError
from lamella.graph.mount import BindMount, SecretMount
from lamella.graph.op import Command, ExecOp, OutputPath
from lamella.values import dataclass

__all__ = [
    "CA_SOURCE",
    "OUT",
    "STEP_PATH",
    "TOOL_PATH",
    "StepScript",
    "evidence_files",
    "given_secrets",
    "packages_script",
    "quote",
    "secret_file",
    "step_script",
]

STEP_PATH = "/lamella/step"
"""Where the script itself is mounted."""
OUT = "/lamella/out"
"""Where a step with outputs leaves ``product``, ``evidence`` and ``wrote``."""
CA_SOURCE = "/lamella/ca.pem"
"""Where the user's CA bundle is mounted."""

TOOL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where the script finds its own tools."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
_RPM_QUERY = r"rpm --query --all --queryformat '%{NAME} %{EPOCHNUM}:%{VERSION}-%{RELEASE} %{ARCH}\n'"

_HEAD = f"""\
PATH={TOOL_PATH}
export PATH
unset CDPATH LD_PRELOAD LD_LIBRARY_PATH
umask 022
ulimit -c 0 2>/dev/null
say() {{ printf '%s %s\\n' "$mark" "$*" >&2; }}
now() {{ read -r uptime rest </proc/uptime || uptime=0; }}
fail() {{ say "$@"; exit 1; }}
"""

_EXEC = 'exec "$0" "$@"'

_RUN = """\
run() {
  now; say "begin $1 $uptime"
  if "unless_$1" </dev/null >/dev/null 2>&1; then now; say "skip $1 $uptime"; return 0; fi
  if [ -n "$2" ]; then ( "command_$1" ) </dev/null >>"$2"; else ( "command_$1" ) </dev/null; fi
  code=$?
  now; say "end $1 $uptime $code"
  [ "$code" -eq 0 ] || exit "$code"
}
"""

_COLLECT = f"""\
collect() {{
  if [ -d "$2" ]; then
    mkdir -p -- "{OUT}/product/$3" && cp -a -- "$2/." "{OUT}/product/$3/" || fail "copy $1"
  elif [ -f "$2" ]; then
    mkdir -p -- "{OUT}/product/$5" && cp -pL -- "$2" "{OUT}/product/$4" || fail "copy $1"
  elif [ -e "$2" ]; then fail "kind $1"
  else fail "missing $1"
  fi
}}
"""

_TRUST = f"""\
cat {{own}} {CA_SOURCE} >{CA_TARGET} || fail "trust"
trust() {{{{
  [ -f "$2" ] && [ ! -L "$2" ] && [ -w "$2" ] || return 0
  cp -p -- "$2" "/run/lamella/own-$1" && cat {CA_SOURCE} >>"$2" && cp -- "$2" "/run/lamella/seen-$1"
}}}}
distrust() {{{{
  [ -f "/run/lamella/seen-$1" ] || return 0
  if cmp -s -- "$2" "/run/lamella/seen-$1"; then cp -p -- "/run/lamella/own-$1" "$2"; fi
}}}}
"""

_PACKAGES = f"""\
PATH={TOOL_PATH}
export PATH
umask 022
out={OUT}/packages
mkdir -p "$out" || exit 1
if [ -f /var/lib/dpkg/status ]; then cp -L /var/lib/dpkg/status "$out/dpkg-status" || exit 1; fi
if [ -d /var/lib/dpkg/status.d ]; then cp -RL /var/lib/dpkg/status.d "$out/dpkg-status.d" || exit 1; fi
if [ -f /lib/apk/db/installed ]; then cp -L /lib/apk/db/installed "$out/apk-installed" || exit 1; fi
for folder in /usr/lib/sysimage/rpm /var/lib/rpm; do
  for file in "$folder"/*; do
    if [ -e "$file" ]; then
      env -i PATH="$PATH" {_RPM_QUERY} </dev/null >"$out/rpm" || rm -f "$out/rpm"
      break 2
    fi
  done
done
"""


@dataclass(frozen=True, slots=True)
class StepScript:
    """What a script is made of. ``mark`` begins its lines for the engine.

    ``secrets`` are the ids that have a value; ``open_network`` says that the step's RUN has the network.
    ``nonce`` makes BuildKit run a step again that it has. ``step_env`` and ``ca_bundle`` are for commands with an
    open network, as in the local engine.
    """

    op: ExecOp
    mark: str
    secrets: frozenset[str] = frozenset()
    step_env: FrozenMap[str, str] = EMPTY_MAP
    ca_bundle: bool = False
    nonce: str = ""


def quote(text: str) -> str:
    """``text`` as one word of sh (POSIX 2.2.2). Raises HostileInputError for NUL, which no argument can hold."""
    if "\0" in text:
        raise HostileInputError(f"a NUL character cannot be passed to a program: {text[:40]!r}")
    return "'" + text.replace("'", "'\\''") + "'"


def given_secrets(op: ExecOp, values: frozenset[str]) -> tuple[SecretMount, ...]:
    """Secret mounts whose ids are among ``values``, in the order of the op."""
    return tuple(mount for mount in op.mounts if isinstance(mount, SecretMount) and mount.id in values)


def secret_file(number: int) -> str:
    """Where the secret of a step that is wanted as a variable is mounted, by its place among the secrets."""
    return f"/lamella/secret-{number}"


def evidence_files(op: ExecOp) -> FrozenMap[str, str]:
    """Names of evidence to files below ``OUT``: numbers, since a name may hold anything."""
    names = dict.fromkeys(command.capture for command in op.commands if command.capture)
    return FrozenMap({name: f"evidence/{number}" for number, name in enumerate(names)})


def step_script(script: StepScript) -> bytes:
    """The whole script. Equal ops give equal bytes; nothing of this machine is in it."""
    op = script.op
    lines = [f": again {quote(script.nonce)}"] if script.nonce else []
    lines += [f"mark={quote(script.mark)}", _HEAD.rstrip()]
    lines += _given(script)
    if script.ca_bundle and any(_is_open(op, command) for command in op.commands):
        lines += _trust(op)
    lines += [_touch(op, mount) for mount in op.mounts if isinstance(mount, BindMount) and mount.touch]
    if op.outputs:
        lines.append(f"mkdir -p {OUT}/product {OUT}/evidence && : >{OUT}/stamp || fail out")
    lines += [*_starters(script), _RUN.rstrip()]
    for number, command in enumerate(op.commands):
        lines += _command(script, number, command)
    if op.outputs:
        lines += _collect(op)
    elif script.ca_bundle:
        lines += [f"distrust {number} {quote(path)}" for number, path in _trusted(op)]
    lines.append("say done")
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")


def packages_script() -> bytes:
    """Lays the databases of installed packages out at ``OUT``; for a stage of its own on a root file system."""
    return _PACKAGES.encode()


def _given(script: StepScript) -> list[str]:
    """Secrets are there, or the step ends: old daemons ignore ``required``."""
    given = given_secrets(script.op, script.secrets)
    places = [mount.target for mount in given if mount.target]
    places += [secret_file(number) for number, mount in enumerate(given) if mount.env]
    return [f"[ -f {quote(place)} ] || fail {quote(f'secret {n}')}" for n, place in enumerate(places)]


def _is_open(op: ExecOp, command: Command) -> bool:
    return command.network or op.network != "none"


def _trusted(op: ExecOp) -> tuple[tuple[int, str], ...]:
    return tuple(enumerate(BUNDLE_PLACES)) if any(_is_open(op, command) for command in op.commands) else ()


def _trust(op: ExecOp) -> list[str]:
    """The user's CA bundle joined with what the root file system trusts, at its own place and the usual ones."""
    lines = ["own=/dev/null"]
    lines += [f"[ -f {quote(path)} ] && own={quote(path)}" for path in reversed(BUNDLE_PLACES)]
    lines.append(_TRUST.format(own='"$own"').rstrip())
    return lines + [f"trust {number} {quote(path)}" for number, path in _trusted(op)]


def _touch(op: ExecOp, mount: BindMount) -> str:
    """New times for sources, not for what is mounted inside of them."""
    return f"find {_below(op, mount)} \\( -type f -o -type d \\) -exec touch {{}} + || fail touch"


def _below(op: ExecOp, mount: BindMount) -> str:
    """Arguments of find(1): a mount's target, then tests that leave out what is mounted inside of it."""
    inside = sorted({m.target for m in op.mounts if m.target.startswith(mount.target.rstrip("/") + "/")})
    tests = " -o ".join(f"-path {quote(_literal(path))}" for path in inside)
    return f"{quote(mount.target)} \\( {tests} \\) -prune -o" if inside else quote(mount.target)


def _literal(path: str) -> str:
    """A pattern that matches just ``path`` (fnmatch(3))."""
    return "".join(f"\\{char}" if char in "*?[\\" else char for char in path)


def _command(script: StepScript, number: int, command: Command) -> list[str]:
    cwd = command.cwd or script.op.cwd or "/"
    start = f"{_starter(script.op, command)} {quote(cwd)}"
    unless = f"( {start} {_words(command.unless)} )" if command.unless else "return 1"
    capture = f"{OUT}/{evidence_files(script.op)[command.capture]}" if command.capture else ""
    return [
        f"[ -d {quote(cwd)} ] || fail {quote(f'cwd {number}')}",
        f"unless_{number}() {{ {unless}; }}",
        f"command_{number}() {{ {start} {_words(command.argv)}; }}",
        f"run {number} {quote(capture)}",
    ]


def _starter(op: ExecOp, command: Command) -> str:
    return "start_open" if _is_open(op, command) else "start_closed"


def _words(argv: tuple[str, ...]) -> str:
    """Arguments after a starter. env(1) would take a program whose name holds ``=`` for a variable."""
    indirect = ["/bin/sh", "-c", quote(_EXEC)] if "=" in argv[0] else []
    return " ".join([*indirect, *(quote(word) for word in argv)])


def _starters(script: StepScript) -> list[str]:
    """Functions that go to a directory and replace the shell by a program with just its own environment."""
    inner = _secret_variables(script)
    shell = f"/bin/sh -c {quote(inner + _EXEC)} " if inner else ""
    lines = []
    for name in sorted({_starter(script.op, command) for command in script.op.commands}):
        variables = _environment(script, network=name == "start_open")
        lines += [
            f"{name}() {{",
            '  cd -- "$1" || exit 1',
            "  shift",
            "  exec env -i \\",
            *(f"    {variable} \\" for variable in ('"PWD=$PWD"', *variables)),
            f'    {shell}"$@"',
            "}",
        ]
    return lines


def _environment(script: StepScript, *, network: bool) -> list[str]:
    """Variables in the order in which later ones win; proxies come from the builder, which keeps them out of keys."""
    base = command_environment({}, network=network, step_env={}, with_bundle=script.ca_bundle, secrets={})
    proxies = [f'${{{name}+"{name}=${name}"}}' for low in _PROXIES for name in (low, low.upper())] if network else []
    own = {**(script.step_env if network else {}), **script.op.env}
    return [*_assignments(base), *proxies, *_assignments(own)]


def _assignments(env: Mapping[str, str]) -> list[str]:
    for name in env:
        if not name or "=" in name:
            raise HostileInputError(f"{name!r} cannot be the name of a variable")
    return [quote(f"{name}={env[name]}") for name in sorted(env)]


def _secret_variables(script: StepScript) -> str:
    """Values of secrets never stand in a program's arguments, where ps(1) shows them."""
    text = ""
    for number, mount in enumerate(given_secrets(script.op, script.secrets)):
        if not mount.env:
            continue
        if _VARIABLE.fullmatch(mount.env) is None:
            raise ConfigError(
                f"secret {mount.id!r} cannot become the variable {mount.env!r} on BuildKit",
                hint="use letters, digits and underscores",
            )
        text += f"{mount.env}=$(PATH={TOOL_PATH} cat {secret_file(number)}) && export {mount.env} && "
    return text


def _collect(op: ExecOp) -> list[str]:
    """Outputs, then what was written below binds, as far as a newer time shows it (BusyBox compares whole seconds)."""
    lines = [_COLLECT.rstrip()]
    for number, output in enumerate(op.outputs):
        place = _file_place(output)
        parent = place.rpartition("/")[0]
        words = (output.source, output.target, place, parent)
        lines.append(f"collect {number} {' '.join(quote(word) for word in words)}")
    lines.append(f"find {OUT}/product -type s -exec rm -f {{}} + 2>/dev/null")
    lines += [
        f"find {_below(op, mount)} \\( -type f -o -type l \\) -newer {OUT}/stamp -print0 >>{OUT}/wrote 2>/dev/null"
        for mount in op.mounts
        if isinstance(mount, BindMount)
    ]
    lines.append(f"rm -f {OUT}/stamp")
    return lines


def _file_place(output: OutputPath) -> str:
    """Where an output that is a file goes in the product."""
    return output.target or output.source.rpartition("/")[2]
