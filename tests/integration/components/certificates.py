"""A certificate authority of a test run, made with openssl(1)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tests.integration.components.processes import run_command

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
_HOST_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


@dataclass(frozen=True, slots=True)
class Authority:
    """An authority whose files lie in one folder: ca.pem, ca.key, and NAME.pem, NAME.key of whom it vouches for."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> Authority:
        folder.mkdir(parents=True)
        made = cls(folder)
        ca = ("-keyout", str(folder / "ca.key"), "-out", str(made.certificate))
        run_command("openssl", "req", "-x509", *_NEW_KEY, "-subj", "/CN=components", *ca)
        return made

    @property
    def certificate(self) -> Path:
        return self.folder / "ca.pem"

    def issue(self, name: str, address: str = "") -> tuple[Path, Path]:
        """Certificate and key for a client, or for a server at an IP address."""
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        signer = ("-CA", str(self.certificate), "-CAkey", str(self.folder / "ca.key"))
        alternative = ("-addext", f"subjectAltName=IP:{address}") if address else ()
        files = ("-keyout", str(key), "-out", str(certificate))
        run_command(
            "openssl", "req", "-x509", *_NEW_KEY, "-subj", f"/CN={name}", *signer, *alternative,
            "-addext", "basicConstraints=critical,CA:FALSE", *files,
        )  # fmt: skip
        return certificate, key


def host_bundle() -> bytes:
    """The authorities that this machine trusts (SSL_CERT_FILE, else Debian's place), PEM; empty when it has none."""
    path = Path(os.environ.get("SSL_CERT_FILE") or _HOST_BUNDLE)
    return path.read_bytes() if path.exists() else b""
