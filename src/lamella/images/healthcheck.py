"""The command of a health check: the first program that the base facts know (SCHEMA.md, question 3)."""

from __future__ import annotations

from lamella.errors import ConfigError
from lamella.graph.facts import BaseFacts
from lamella.project.spec import HealthcheckSpec

__all__ = ["healthcheck_test"]

_PYTHON = "import urllib.request as r; r.urlopen({url!r}, timeout={timeout})"
_PYTHON_TCP = "import socket; socket.create_connection(('127.0.0.1', {port}), {timeout}).close()"
_BASH = (
    "exec 3<>/dev/tcp/127.0.0.1/{port} && printf 'GET {path} HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3 && "
    "read -r _ code _ <&3 && [[ $code == 2* || $code == 3* ]]"
)


def healthcheck_test(wanted: HealthcheckSpec, port: int | None, facts: BaseFacts) -> tuple[str, ...]:
    """Docker's ``Test`` list. Raises ConfigError when no port is known or no program of the base can probe."""
    if wanted.cmd:
        return ("CMD", *wanted.cmd)
    if port is None:
        raise ConfigError("the health check has no port", hint="add expose = [PORT] to the image")
    if wanted.http is None:
        return _tcp(port, wanted.timeout, facts)
    path = wanted.http if wanted.http.startswith("/") else f"/{wanted.http}"
    url = f"http://127.0.0.1:{port}{path}"
    tools = facts.tools
    if "curl" in tools:
        return ("CMD", "curl", "--fail", "--silent", "--show-error", "--output", "/dev/null", url)
    if "wget" in tools:
        return ("CMD", "wget", "--quiet", "--output-document=/dev/null", "--tries=1", url)
    if "busybox" in tools:
        return ("CMD", "busybox", "wget", "-q", "-O", "/dev/null", url)
    python = _python(facts)
    if python:
        return ("CMD", python, "-c", _PYTHON.format(url=url, timeout=wanted.timeout))
    if "bash" in tools and "'" not in path and "%" not in path:
        return ("CMD", "bash", "-c", _BASH.format(port=port, path=path))
    raise ConfigError(
        "the base has no curl, wget, busybox, python or bash to probe with",
        hint='write healthcheck = { cmd = ["/app/tool", "health"] }, or add curl to the base',
    )


def _tcp(port: int, timeout: int, facts: BaseFacts) -> tuple[str, ...]:
    python = _python(facts)
    if python:
        return ("CMD", python, "-c", _PYTHON_TCP.format(port=port, timeout=timeout))
    if "bash" in facts.tools:
        return ("CMD", "bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}")
    raise ConfigError(
        "the base has no python or bash to open a connection with",
        hint='write healthcheck = { cmd = ["/app/tool", "health"] }',
    )


def _python(facts: BaseFacts) -> str:
    return next((found.path for found in facts.interpreters if found.language == "python"), "")
