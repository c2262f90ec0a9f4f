from __future__ import annotations

import pytest

from lamella.errors import RegistryError
from lamella.sources.checksums import find_checksum

A, B = "a" * 64, "B" * 64


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        (f"{A}  tool.tar.gz\n{B}  other", "a" * 64),
        (f"{B} *tool.tar.gz\r\n", "b" * 64),
        (f"{A}  ./dist/tool.tar.gz", "a" * 64),
        (f"SHA256 (tool.tar.gz) = {A}", "a" * 64),
        (f"MD5 (tool.tar.gz) = {'0' * 32}\nSHA256 (dist/tool.tar.gz) = {A}", "a" * 64),
        (f"{'0' * 40}  tool.tar.gz\n{A}  tool.tar.gz", "a" * 64),
        (f"{A}\n", "a" * 64),
        (f"{A}  tool.tar.gz\n{A}  mirror/tool.tar.gz", "a" * 64),
    ],
)
def test_the_sum_of_a_file(text: str, digest: str) -> None:
    assert find_checksum(text, "tool.tar.gz", where="SUMS") == digest


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "no sha256 sum"),
        (f"{A}  nottool.tar.gz", "no sha256 sum"),
        (f"{A}  tool.tar.gz.sig", "no sha256 sum"),
        (f"{A}  a/tool.tar.gz\n{B}  b/tool.tar.gz", "several different"),
        (f"{A}\n{B}", "no sha256 sum"),
        ("<html>not found</html>", "no sha256 sum"),
    ],
)
def test_without_one_sum_it_is_an_error(text: str, match: str) -> None:
    with pytest.raises(RegistryError, match=match):
        find_checksum(text, "tool.tar.gz", where="SUMS")


def test_an_escaped_name() -> None:
    assert find_checksum(f"\\{A}  odd\\\\name\\n", "odd\\name\n", where="SUMS") == "a" * 64
