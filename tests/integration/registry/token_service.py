"""A token service for docker-registry (distribution, "Token Authentication Implementation"), signed with openssl(1)."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.integration.components.presence import require_program

ISSUER, SERVICE = "test issuer", "test registry"


class TokenService:
    """Gives tokens with those rights of ``rights`` that are asked for: actions by user name, or by ``USER:REPOSITORY``
    where a user has others than elsewhere.

    ``certificate`` is what the registry trusts; ``asked`` the scopes of each request, with who asked.
    """

    def __init__(self, folder: Path, rights: Mapping[str, str]) -> None:
        self.certificate, self._key = folder / "token.pem", folder / "token.key"
        argv = [require_program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        argv += ["-subj", "/CN=token", "-keyout", str(self._key), "-out", str(self.certificate)]
        subprocess.run(argv, check=True, capture_output=True)
        self._rights = rights
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.url = ""

    def token(self, user: str, scopes: list[str]) -> str:
        """A signed token."""
        self.asked.append((user, tuple(scopes)))
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            rights = self._rights.get(f"{user}:{name}", self._rights.get(user, "")).split(",")
            allowed = [action for action in actions.split(",") if action in rights]
            access.append({"type": kind, "name": name, "actions": allowed})
        now = int(time.time())
        claims = {
            "iss": ISSUER, "sub": user, "aud": SERVICE, "iat": now, "nbf": now - 10, "exp": now + 300,
            "jti": str(len(self.asked)), "access": access,
        }  # fmt: skip
        lines = self.certificate.read_text().splitlines()
        header = {"typ": "JWT", "alg": "RS256", "x5c": ["".join(lines[1:-1])]}
        signed = f"{_part(header)}.{_part(claims)}"
        argv = [require_program("openssl"), "dgst", "-sha256", "-sign", str(self._key)]
        done = subprocess.run(argv, input=signed.encode(), check=True, capture_output=True)
        return f"{signed}.{_encoded(done.stdout)}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _part(value: Any) -> str:
    return _encoded(json.dumps(value).encode())


@contextmanager
def serving(service: TokenService, password: str) -> Iterator[TokenService]:
    """Serves the tokens on loopback; every user has the same password, who has none is ``nobody``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = self.headers.get("authorization", "").removeprefix("Basic ")
            user, _, secret = base64.b64decode(given).decode().partition(":")
            if given and secret != password:
                self._answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "who are you"}]})
                return
            scopes = parse_qs(urlsplit(self.path).query).get("scope", [])
            self._answer(200, {"token": service.token(user or "nobody", scopes), "expires_in": 300})

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

        def _answer(self, status: int, document: Any) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_address[1]}/token"
    yield service
    server.shutdown()
    server.server_close()
    thread.join()
