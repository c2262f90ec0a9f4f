"""Programs of others use the in-memory registry as they use any: skopeo pushes, reads, copies and deletes."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamella.testing.registry import Account, MemoryRegistry
from tests.integration.components.tools import Skopeo, ToolError

OWNER = Account.owner("me", "s3cret-password")


@pytest.mark.parametrize("tokens", [False, True], ids=["basic", "tokens"])
def test_skopeo_pushes_and_reads_with_a_login(tmp_path: Path, skopeo: Skopeo, tokens: bool) -> None:
    with MemoryRegistry(accounts=[OWNER], tokens=tokens) as registry:
        image = registry.add_image("acme/shop", "1", layers=[b"one" * 1000, b"two" * 1000])
        source, target = (f"docker://{registry.address}/acme/{name}:1" for name in ("shop", "copy"))
        login = ["--src-creds", "me:s3cret-password", "--src-tls-verify=false"]
        skopeo.run("copy", *login, source, f"oci:{tmp_path}/layout:1")
        login = ["--dest-creds", "me:s3cret-password", "--dest-tls-verify=false"]
        skopeo.run("copy", *login, f"oci:{tmp_path}/layout:1", target)
        assert registry.manifests["acme/copy", "1"] == registry.manifests["acme/shop", "1"]
        with pytest.raises(ToolError, match=r"authentication required|unauthorized|denied"):
            skopeo.inspect(target, raw=True)
        skopeo.run("delete", "--creds", "me:s3cret-password", "--tls-verify=false", target)
        assert ("acme/copy", image.manifest.digest) not in registry.manifests
