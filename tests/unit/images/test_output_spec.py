"""The grammar of ``-o`` is buildx's, and a wrong one says what is wrong."""

from __future__ import annotations

import pytest

from lamella.errors import ConfigError
from lamella.images.outputs.spec import STDOUT, Output, parse_output


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("out", Output("dir", "out")),
        ("-", Output("tar", STDOUT, packed=True)),
        ("type=oci,dest=a.tar", Output("oci", "a.tar", packed=True)),
        ("type=oci,dest=a,tar=false", Output("oci", "a")),
        ("type=oci,dest=a.tar,compression=zstd", Output("oci", "a.tar", packed=True, compressor="zstd")),
        ("type=oci,dest=a.tar,compression=uncompressed", Output("oci", "a.tar", packed=True, compressor="none")),
        ("type=oci", Output("oci", STDOUT, packed=True)),
        ("type=docker-archive,dest=a.tar", Output("docker-archive", "a.tar", packed=True)),
        ("type=docker,dest=a.tar", Output("docker-archive", "a.tar", packed=True)),
        ("type=docker", Output("load", "")),
        ("type=local,dest=out", Output("dir", "out")),
        ("type=tar,dest=-", Output("tar", STDOUT, packed=True)),
        ('type=tar,"dest=a,b.tar"', Output("tar", "a,b.tar", packed=True)),
        ("dest=out,type=dir", Output("dir", "out")),
    ],
)
def test_what_buildx_writes_is_understood(text: str, output: Output) -> None:
    assert parse_output(text) == output


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("type=ocii,dest=a", "unknown type 'ocii'", "did you mean 'oci'?"),
        ("type=oci,dst=a", "unknown key 'dst'", "did you mean 'dest'?"),
        ("type=dir", "no dest", "dest=PATH"),
        ("type=oci,tar=false", "no dest", "dest=PATH"),
        ("dest=a", "no type", "one of oci"),
        ("type=dir,dest=-", "standard output", "folder"),
        ("type=oci,dest=a,tar=maybe", "neither true nor false", ""),
        ("type=tar,dest=a,tar=false", "type=oci only", ""),
        ("type=tar,dest=a,compression=gzip", "type=oci only", ""),
        ("type=oci,dest=a,compression=brotli", "unknown compression 'brotli'", "gzip"),
        ("type=oci,dest=a,dest=b", "given twice", ""),
        ("type=oci,push", "not of the form KEY=VALUE", ""),
        ("type=oci,,dest=a", "empty part", ""),
        ("", "empty part", ""),
        ('type=oci,"dest=a', "one line of comma separated fields", ""),
        ("type=registry", "not yet supported", "publish"),
        ("type=image,push=true", "unknown key 'push'", ""),
    ],
)
def test_a_wrong_output_says_what_is_wrong(text: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_output(text)
    assert hint in caught.value.hint
