"""Signing by a program: how it is called, and what its failure says."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamella.errors import AuthError
from lamella.images.attest.cosign import find_cosign

DIGEST = f"sha256:{'a' * 64}"


def install(folder: Path, script: str) -> dict[str, str]:
    """A program called cosign, and the environment that finds it."""
    program = folder / "cosign"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


@pytest.mark.parametrize(
    ("extra", "key"),
    [
        ({}, ""),
        ({"COSIGN_PRIVATE_KEY": "-----BEGIN"}, "--key env://COSIGN_PRIVATE_KEY "),
        ({"LAMELLA_COSIGN_KEY": "keys/release.key", "COSIGN_PRIVATE_KEY": "x"}, "--key keys/release.key "),
        ({"LAMELLA_COSIGN_KEY": "k", "LAMELLA_COSIGN_TLOG": "false"}, "--key k --tlog-upload=false "),
        ({"LAMELLA_COSIGN_KEY": "k", "LAMELLA_COSIGN_TLOG": "true"}, "--key k "),
    ],
)
def test_it_signs_a_digest_with_the_key_that_is_set(tmp_path: Path, extra: dict[str, str], key: str) -> None:
    environ = install(tmp_path, f'echo "$@" > {tmp_path}/called') | extra
    cosign = find_cosign(environ)
    assert cosign is not None
    cosign.sign("registry.example/acme/shop", DIGEST)
    assert (tmp_path / "called").read_text() == f"sign --yes {key}registry.example/acme/shop@{DIGEST}\n"


def test_its_own_words_say_why_it_did_not_sign(tmp_path: Path) -> None:
    cosign = find_cosign(install(tmp_path, "echo 'Error: no identity token' >&2; exit 1"))
    assert cosign is not None
    with pytest.raises(AuthError, match="no identity token") as caught:
        cosign.sign("registry.example/acme/shop", DIGEST)
    assert "COSIGN_PRIVATE_KEY" in caught.value.hint


def test_cosign_3_is_told_to_leave_its_configuration_too(tmp_path: Path) -> None:
    """Its words as of 3.1.1 (signcommon.LoadTrustedMaterialAndSigningConfig)."""
    words = "Error: --tlog-upload=false is not supported with --signing-config or --use-signing-config. Provide a"
    script = f"""
    echo "$@" >> {tmp_path}/called
    case "$*" in *--use-signing-config=false*) exit 0 ;; esac
    echo '{words}' >&2
    exit 1"""
    cosign = find_cosign({**install(tmp_path, script), "LAMELLA_COSIGN_TLOG": "false"})
    assert cosign is not None
    cosign.sign("registry.example/acme/shop", DIGEST)
    flags = [line.split()[2:-1] for line in (tmp_path / "called").read_text().splitlines()]
    assert flags == [["--tlog-upload=false"], ["--tlog-upload=false", "--use-signing-config=false"]]


def test_a_log_that_does_not_answer_can_be_left_out(tmp_path: Path) -> None:
    words = 'Error: signing digest: Post "https://rekor.example/api/v1/log/entries": no such host'
    cosign = find_cosign(install(tmp_path, f"echo '{words}' >&2; exit 1"))
    assert cosign is not None
    with pytest.raises(AuthError, match="no such host") as caught:
        cosign.sign("registry.example/acme/shop", DIGEST)
    assert "LAMELLA_COSIGN_TLOG=false" in caught.value.hint


def test_where_it_is_not_installed_there_is_none(tmp_path: Path) -> None:
    assert find_cosign({"PATH": str(tmp_path)}) is None
