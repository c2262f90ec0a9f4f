"""``lamella doctor``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

from lamella.cli.messages import paint, say
from lamella.cli.options import format_option
from lamella.cli.report import table
from lamella.cli.session import command_settings, session_options
from lamella.cli.settings import Settings
from lamella.doctor import Doctor, Finding, Repair, examine, repair_of, uses_builder
from lamella.errors import SandboxError
from lamella.process import run, which

__all__ = ["command"]

_MARKS = {"ok": ("ok", "green"), "warning": ("warn", "yellow"), "error": ("ERROR", "red")}
_SHOWN_TOOLS = ("cargo", "rustc", "cc", "node", "npm", "bun", "pnpm", "python", "uv")


@click.command("doctor")
@click.option("--fix", is_flag=True, help="Install and set up what is missing (as root, or with sudo).")
@format_option
def command(fix: bool, output_format: str) -> int:
    """Check whether this host can build: programs, ids, sandbox, disk, store, certificates, credentials.

    Nothing is changed without --fix. Exits 8 when something is missing that builds need.

    \b
    lamella doctor                    look
    lamella doctor --fix              install missing packages, give the user ids to map
    """
    settings = command_settings()
    doctor = _doctor(settings)
    findings = examine(doctor)
    repair = repair_of(findings)
    if fix and repair.argvs:
        _do(repair, settings)
        findings = examine(doctor)
    if output_format == "json":
        click.echo(json.dumps(_json(findings), indent=2, ensure_ascii=False))
    else:
        for line in _lines(findings):
            click.echo(line)
        _say_verdict(findings, repair, fixed=fix)
    return SandboxError.exit_code if any(item.state == "error" for item in findings) else 0


def _say_verdict(findings: tuple[Finding, ...], repair: Repair, *, fixed: bool) -> None:
    counts = {state: sum(item.state == state for item in findings) for state in ("error", "warning")}
    if uses_builder(findings) and not counts["error"]:
        say("this host can build: steps run on the builder, since the sandbox cannot be had here")
    elif not any(counts.values()):
        say("this host can build")
    elif not counts["error"]:
        say(f"this host can build; {counts['warning']} of the checks warn")
    else:
        say(f"this host cannot build yet: {counts['error']} of the checks failed")
    if repair.argvs and not fixed:
        say("lamella doctor --fix would run, as root:")
        for argv in repair.argvs:
            say(f"  {' '.join(argv)}")


def _json(findings: tuple[Finding, ...]) -> dict[str, object]:
    rows = [
        {
            "name": item.name,
            "state": item.state,
            "text": item.text,
            "fix": item.fix.words if item.fix else "",
            "fixable": bool(item.fix and item.fix.can_be_done),
        }
        for item in findings
    ]
    return {"format": 1, "ok": all(item.state != "error" for item in findings), "findings": rows}


def _doctor(settings: Settings) -> Doctor:
    from lamella.api.engines import describe_builder
    from lamella.api.sandbox import probe_sandbox
    from lamella.host.probes import os_release

    options = session_options(settings)
    return Doctor(
        store=settings.store,
        environ=settings.environ,
        find=lambda name: which(name, settings.environ),
        uid=os.geteuid() if hasattr(os, "geteuid") else 1,
        user=_user() if hasattr(os, "geteuid") else "",
        linux=sys.platform.startswith("linux"),
        release=os_release(),
        ca_bundle=settings.ca_bundle,
        docker_config=settings.docker_config,
        open_store=lambda: _store(settings),
        probe=lambda: probe_sandbox(options),
        tools=lambda: _tools(settings),
        builder=lambda: describe_builder(options),
        project=_project,
    )


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a number without a name, as in containers
        return str(os.geteuid())


def _store(settings: Settings) -> str:
    from lamella.api.options import open_store

    with open_store(session_options(settings)):
        return str(settings.store)


def _tools(settings: Settings) -> str:
    """Names and versions of tools for ``host = true``, the short way."""
    from lamella.api.host import LocalHost

    parts = LocalHost(settings.environ).tools().parts
    toolchains = [name.removeprefix("rustc ") for name in parts if name.startswith("rustc ")]
    shown = [name for name in _SHOWN_TOOLS if name in parts and not (name == "rustc" and toolchains)]
    found = [f"{name} {_version(parts[name])}".strip() for name in shown]
    return ", ".join(found) + (f"; Rust toolchains {', '.join(toolchains)}" if toolchains else "")


def _version(text: str) -> str:
    """The first word of a version's text that holds a digit."""
    words = text.partition("\n")[0].replace(",", " ").split()
    return next((word.strip("()") for word in words if any(char.isdigit() for char in word) and "." in word), "")


def _project() -> str:
    from lamella.api.files import PROJECT_NAME, find_project_file, read_project_bytes
    from lamella.project.load import parse_project

    here = Path.cwd()
    if not any((folder / PROJECT_NAME).is_file() for folder in (here, *here.parents)):
        return ""
    path = find_project_file(None, here)
    project = parse_project(read_project_bytes(path), file=str(path))
    return f"{path}, layers: {len(project.layers)}, images: {len(project.images)}"


def _lines(findings: tuple[Finding, ...]) -> list[str]:
    rows = [(_MARKS[item.state][0], item.name, item.text) for item in findings]
    lines = []
    for item, line in zip(findings, table(rows), strict=True):
        mark, style = _MARKS[item.state]
        lines.append(line.replace(mark, paint(mark, style), 1))
        if item.fix is not None:
            lines.append(f"       {paint('hint:', 'cyan')} {item.fix.words}")
    return lines


def _do(repair: Repair, settings: Settings) -> None:
    """Runs the repairs, through sudo when not root. Raises SandboxError with the commands when that cannot be."""
    pasted = tuple(f"sudo {' '.join(argv)}" for argv in repair.argvs)
    if repair.packages and which("apt-get", settings.environ) is None:
        names = ", ".join(repair.packages)
        raise SandboxError(f"this system has no apt-get to install {names}", hint="install them with its own tool")
    front: tuple[str, ...] = ()
    if os.geteuid() != 0:
        front = ("sudo", "-n")
        sudo = which("sudo", settings.environ)
        if sudo is None or run((sudo, "-n", "true"), env=settings.environ, check=False, timeout=20).code != 0:
            raise SandboxError(
                "repairs need root, and sudo does not work without a password",
                hint="run these yourself",
                details=pasted,
            )
    env = {**settings.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for argv in repair.argvs:
        say(" ".join((*front, *argv)))
        run((*front, *argv), env=env, timeout=1800, error=SandboxError, hint="correct what it says and run it again")
