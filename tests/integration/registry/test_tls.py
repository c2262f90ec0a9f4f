"""TLS as it is: an unknown authority is refused once and said, the company's bundle opens the way."""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lamella.errors import RegistryError
from lamella.transport.client import Client
from lamella.transport.settings import HttpSettings
from tests.integration.components.presence import require_program


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A PEM file with a certificate for 127.0.0.1 that signed itself; its key lies beside it."""
    openssl = require_program("openssl")
    argv = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    argv += ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
    argv += ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "ca.pem")]
    subprocess.run(argv, check=True, capture_output=True)
    return tmp_path / "ca.pem"


@pytest.fixture
def url(authority: Path) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, authority.with_name("key.pem"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_unknown_authority_is_refused_with_the_way_out(url: str) -> None:
    client = Client()
    with pytest.raises(RegistryError, match="no valid TLS certificate") as caught:
        client.request("GET", url)
    assert "ca_bundle" in caught.value.hint
    client.close()


def test_the_companys_bundle_is_trusted(url: str, authority: Path) -> None:
    client = Client(HttpSettings(ca_bundle=authority))
    assert client.request("GET", url).body == b"ok"
    client.close()
