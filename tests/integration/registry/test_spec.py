"""The cases of the specification against real registries: what our own is held against, they are held against, too."""

from __future__ import annotations

import pytest

from tests.unit.registry.spec_cases import (
    CASES,
    CLEAN_LIST,
    ORDER,
    PAGES,
    REFERRERS,
    TAG_DELETES,
    WHOLE,
    Case,
    Wire,
)

LACKS = {
    # docker-registry 2.8: chunks are appended whatever their range says, lists come whole, no referrers API,
    # and a delete of a tag is a digest that is invalid
    "docker_registry": {ORDER, PAGES, REFERRERS, TAG_DELETES},
    # ociregistry's in-memory server: missing blobs are a 500, and a deleted manifest's tags stay in the list
    "oci_registry": {WHOLE, CLEAN_LIST},
}


@pytest.mark.parametrize("name", LACKS)
@pytest.mark.parametrize("number", range(len(CASES)), ids=[case.name for case in CASES])
def test_a_real_registry(request: pytest.FixtureRequest, name: str, number: int) -> None:
    case: Case = CASES[number]
    if case.needs & LACKS[name]:
        pytest.skip(f"{name} does not offer: {', '.join(sorted(case.needs))}")
    address: str = request.getfixturevalue(name)
    case.run(Wire(address, f"spec/case-{number}"))
