"""All checks, and the repairs that follow from what they found."""

from __future__ import annotations

from collections.abc import Iterable

from lamella.doctor import machine, surroundings
from lamella.doctor.values import Doctor, Finding
from lamella.values import dataclass, replace

__all__ = ["Repair", "examine", "repair_of", "uses_builder"]

_CHECKS = (
    machine.system,
    machine.programs,
    machine.identity,
    machine.disk,
    machine.store,
    machine.sandbox,
    surroundings.uv,
    surroundings.certificates,
    surroundings.credentials,
    surroundings.docker,
    surroundings.builder,
    surroundings.host_tools,
    surroundings.project,
)
"""In an order that reads from the ground up."""


@dataclass(frozen=True, slots=True)
class Repair:
    """What ``--fix`` does: commands as root, after Debian ``packages`` were installed."""

    packages: tuple[str, ...] = ()
    commands: tuple[tuple[str, ...], ...] = ()

    @property
    def argvs(self) -> tuple[tuple[str, ...], ...]:
        """Every command in order; to be run as root."""
        if not self.packages:
            return self.commands
        install = ("apt-get", "install", "-q", "-y", "--no-install-recommends", *self.packages)
        return (("apt-get", "update", "-q"), install, *self.commands)


def examine(doctor: Doctor) -> tuple[Finding, ...]:
    """All findings. Raises nothing for what is wrong with the host.

    Where a builder answers, steps run there, so what only the embedded engine needs is no error.
    """
    found = tuple(finding for check in _CHECKS for finding in check(doctor))
    if not any(finding.serves for finding in found):
        return found
    return tuple(
        replace(finding, state="warning") if finding.state == "error" and finding.needed_by else finding
        for finding in found
    )


def uses_builder(findings: Iterable[Finding]) -> bool:
    """Whether steps run on a builder because the embedded engine cannot run them here."""
    found = tuple(findings)
    missing = any(one.name in ("system", "sandbox") and one.state != "ok" for one in found)
    return missing and any(one.serves for one in found)


def repair_of(findings: Iterable[Finding]) -> Repair:
    """What can be repaired of the findings that are not well; each package and command once."""
    fixes = [finding.fix for finding in findings if finding.fix is not None and finding.state != "ok"]
    return Repair(
        tuple(dict.fromkeys(package for fix in fixes for package in fix.packages)),
        tuple(dict.fromkeys(command for fix in fixes for command in fix.commands)),
    )
