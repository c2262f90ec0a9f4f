"""``lamella doctor``."""

from __future__ import annotations

import json
import os

import click

from lamella.cli.messages import paint, say
from lamella.cli.options import format_option
from lamella.cli.report import table
from lamella.cli.session import command_settings
from lamella.cli.settings import Settings
from lamella.doctor import Finding, examine
from lamella.doctor.checks import Doctor
from lamella.errors import SandboxError

__all__ = ["command"]

_MARKS = {"ok": ("ok", "green"), "warning": ("warn", "yellow"), "error": ("ERROR", "red")}


@click.command("doctor")
@click.option("--fix", is_flag=True, help="Install what is missing (needs root or sudo).")
@format_option
def command(fix: bool, output_format: str) -> int:
    """Check whether this host can build: programs, sandbox, disk; repair what can be.

    Exits 8 when something is missing that builds need.
    """
    settings = command_settings()
    findings = examine(_doctor(settings))
    packages = tuple(p for item in findings if item.fix for p in item.fix.packages)
    if fix and packages:
        _install(packages, settings)
        findings = examine(_doctor(settings))
    if output_format == "json":
        rows = [
            {"name": f.name, "state": f.state, "text": f.text, "fix": f.fix.words if f.fix else ""} for f in findings
        ]
        click.echo(json.dumps({"findings": rows}, indent=2, ensure_ascii=False))
    else:
        for line in _lines(findings):
            click.echo(line)
    broken = [item for item in findings if item.state == "error"]
    return SandboxError.exit_code if broken else 0


def _doctor(settings: Settings) -> Doctor:
    from lamella.api.sandbox import probe_sandbox
    from lamella.cli.session import session_options

    return Doctor(settings.store, settings.environ, lambda: probe_sandbox(session_options(settings)))


def _lines(findings: tuple[Finding, ...]) -> list[str]:
    rows = [(_MARKS[item.state][0], item.name, item.text) for item in findings]
    lines = []
    for item, line in zip(findings, table(rows), strict=True):
        mark, style = _MARKS[item.state]
        lines.append(line.replace(mark, paint(mark, style), 1))
        if item.fix is not None:
            lines.append(f"       {paint('hint:', 'cyan')} {item.fix.words}")
    return lines


def _install(packages: tuple[str, ...], settings: Settings) -> None:
    """Installs Debian packages, through sudo when not root."""
    from lamella.process import run, which

    if which("apt-get", settings.environ) is None:
        raise SandboxError(
            f"cannot install {', '.join(packages)}: this system has no apt-get", hint="install them with its own tool"
        )
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    if sudo and which("sudo", settings.environ) is None:
        raise SandboxError(
            f"cannot install {', '.join(packages)} without root or sudo", hint="become root and run again"
        )
    env = {**settings.environ, "DEBIAN_FRONTEND": "noninteractive"}
    say(f"installing {', '.join(packages)}")
    run([*sudo, "apt-get", "update", "-q"], env=env, timeout=600)
    run([*sudo, "apt-get", "install", "-q", "-y", "--no-install-recommends", *packages], env=env, timeout=1200)
