"""The environment of a command: built from nothing (DESIGN 7b.1)."""

from __future__ import annotations

from collections.abc import Mapping

from lamella.engines.local.certificates import CA_TARGET, CA_VARIABLES

__all__ = ["STEP_BASE", "command_environment"]

STEP_BASE = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "SOURCE_DATE_EPOCH": "315532800",
}
"""What every command has unless its op says otherwise; part of the meaning of ExecOp, so a change raises its schema.

The time is 1980-01-01, the first moment that a zip archive can name.
"""


def command_environment(
    op_env: Mapping[str, str],
    *,
    network: bool,
    step_env: Mapping[str, str],
    with_bundle: bool,
    secrets: Mapping[str, str],
) -> dict[str, str]:
    """All variables of one command.

    The user's ``step_env`` (proxies) and the names of the CA bundle are only there while the network is open, and
    never in place of what the op sets: they are in no key. ``secrets`` are those asked for as variables.
    """
    env = dict(STEP_BASE)
    if network:
        if with_bundle:
            env |= dict.fromkeys(CA_VARIABLES, CA_TARGET)
        env |= step_env
    return {**env, **op_env, **secrets}
