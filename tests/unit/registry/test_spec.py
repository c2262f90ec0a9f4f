"""The in-memory registry is an honest one: each case of the specification holds."""

from __future__ import annotations

import http.client

import pytest

from lamella.testing.registry import MemoryRegistry
from tests.unit.registry.spec_cases import CASES, Case, Wire, sha256


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_the_registry_in_memory(registry: MemoryRegistry, case: Case) -> None:
    case.run(Wire(registry.address, "spec/case"))


def test_a_body_of_unknown_length_comes_in_chunks_of_http(registry: MemoryRegistry) -> None:
    """Docker pushes so: one PATCH whose length nobody knows beforehand."""
    wire = Wire(registry.address, "spec/chunked")
    place = wire.begin().location
    connection = http.client.HTTPConnection(registry.address, timeout=20)
    pieces = iter([b"first,", b"second,", b"third"])
    connection.request("PATCH", place, pieces, {"Transfer-Encoding": "chunked"}, encode_chunked=True)
    assert connection.getresponse().status == 202
    connection.close()
    wire.finish(place, sha256(b"first,second,third")).expect(201)
