"""What the user configured for HTTP. Nothing is read from the environment here."""

from __future__ import annotations

from pathlib import Path

from lamella.values import dataclass

__all__ = ["HttpSettings", "proxy_for"]


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """``ca_bundle`` is a PEM file trusted beside the system's own. Proxies are URLs, empty for none.

    ``no_proxy`` are host names (with their subdomains), or ``*``. Time-outs are seconds, and always set.
    """

    user_agent: str = "lamella"
    ca_bundle: Path | None = None
    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: tuple[str, ...] = ()
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    connections: int = 16


def proxy_for(settings: HttpSettings, scheme: str, host: str) -> str:
    """The proxy's URL for a request, empty for a direct one. Loopback is always direct."""
    proxy = settings.https_proxy if scheme == "https" else settings.http_proxy
    name = host.lower().strip("[]")
    if not proxy or name in ("localhost", "::1") or name.startswith("127."):
        return ""
    for entry in settings.no_proxy:
        suffix = entry.strip().lower().lstrip("*").lstrip(".")
        if entry.strip() == "*" or (suffix and (name == suffix or name.endswith(f".{suffix}"))):
            return ""
    return proxy
