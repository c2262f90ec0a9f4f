"""Health checks that mean the same with another program: which one is taken depends on what is known of the base."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress

from lamella.eject.dockerfile_text import instruction_lines
from lamella.eject.values import Health
from lamella.errors import ConfigError
from lamella.graph.facts import BaseFacts, Interpreter
from lamella.images.healthcheck import healthcheck_test
from lamella.oci.config import Healthcheck
from lamella.project.spec import HealthcheckSpec

__all__ = ["probe_spellings", "same_probes"]

_ANY = "python"
_PYTHON = re.compile(r'^(  CMD \[)"/[^"]*/python3[\d.]*"', re.MULTILINE)


def probe_spellings(wanted: HealthcheckSpec, port: int | None) -> dict[str, str]:
    """Every line that asks for the same, and the one that stands for all of them; nothing for a check with ``cmd``."""
    if wanted.cmd:
        return {}
    bases = [BaseFacts(tools=(name,)) for name in ("curl", "wget", "busybox", "bash")]
    bases.append(BaseFacts(interpreters=(Interpreter("python", _ANY, "3"),)))
    lines = []
    for facts in bases:
        with suppress(ConfigError):  # not every program can do every check
            lines.append(_line(healthcheck_test(wanted, port, facts)))
    return dict.fromkeys(lines, lines[0] if lines else "")


def _line(test: tuple[str, ...]) -> str:
    return instruction_lines(Health(Healthcheck(test)), {})[1]


def same_probes(text: str, spellings: Mapping[str, str]) -> str:
    """A Dockerfile in which checks that mean the same are spelled the same."""
    plain = _PYTHON.sub(rf'\1"{_ANY}"', text)
    return "\n".join(spellings.get(line, line) for line in plain.split("\n"))
