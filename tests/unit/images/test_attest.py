"""SBOM and provenance: what is in them, that they are well formed, and that they are functions of the image."""

from __future__ import annotations

import json
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from lamella.canonical import FrozenMap
from lamella.graph.definition import DefinitionBuilder
from lamella.graph.facts import BaseFacts
from lamella.graph.op import (
    ExecOp,
    FetchOp,
    FetchSource,
    ImageOp,
    InlineFile,
    InlineOp,
    PlaceOp,
    Wheel,
    WheelsOp,
)
from lamella.graph.vertex import AllPaths, Input, RootfsOf, Vertex
from lamella.images.attest.components import Component, components
from lamella.images.attest.javascript import LOCKS, JsPackage
from lamella.images.attest.provenance import BuildFacts, materials, provenance_json
from lamella.images.attest.sbom import Subject, cyclonedx_json, purl, spdx_json
from lamella.planning.lowering import ImagePart, ImagePlan
from lamella.project.cells import Cell
from lamella.project.spec import ImageSpec

SUBJECT = Subject(
    "registry.example/acme/shop", f"sha256:{'a' * 64}", "shop", "1.2.0", "linux/amd64", "1970-01-01T00:00:00Z"
)
FACTS = BaseFacts(
    os_release=FrozenMap({"ID": "debian", "VERSION_ID": "12"}),
    packages=FrozenMap({"libc6": "2.36-9+deb12u7", "zlib1g": "1:1.2.13.dfsg-1"}),
)
CARGO_LOCK = b"""version = 4

[[package]]
name = "own"
version = "0.0.0"
dependencies = [
 "serde",
]

[[package]]
name = "serde"
version = "1.0.200"
source = "registry+https://github.com/rust-lang/index"
checksum = "0000000000000000000000000000000000000000000000000000000000000001"
"""


def wheel(name: str, version: str) -> Wheel:
    return Wheel(name, version, f"{name}-{version}-py3-none-any.whl", "b" * 64)


def sample() -> tuple[ImagePlan, DefinitionBuilder]:
    """An image of a wheel layer, a fetched file and a Rust binary, whose toolchain has a wheel of its own."""
    graph = DefinitionBuilder()
    base = graph.add(Vertex(ImageOp("registry.example/debian:12", f"sha256:{'1' * 64}"), ()))
    tools = graph.add(Vertex(WheelsOp((wheel("maturin", "1.0"),), "3.11", "/env"), ()))
    lock = graph.add(Vertex(InlineOp((InlineFile("Cargo.lock", CARGO_LOCK),)), ()))
    step = ExecOp((), outputs=(), observer="python", observed=FrozenMap({"wheels": "Built_One==2.0"}))
    edges = (Input(base, RootfsOf(), "on"), Input(lock, AllPaths(), "skeleton"), Input(tools, AllPaths(), "tools"))
    built = graph.add(Vertex(step, edges))
    url = "https://user:secret@files.example/tool-1.tar.gz?token=hidden"
    fetched = graph.add(Vertex(FetchOp((FetchSource(url, sha256="c" * 64),), "tool"), ()))
    wheels = graph.add(Vertex(WheelsOp((wheel("Flask", "3.0"),), "3.11", "/opt/venv"), ()))
    parts = []
    for layer, product in (("app", built), ("tool", fetched), ("deps", wheels)):
        place = graph.add(Vertex(PlaceOp(f"/{layer}"), (Input(product, AllPaths(), "product"),)))
        parts.append(ImagePart(layer, place))
    cell = Cell(FrozenMap({"profile": "prod", "platform": "linux/amd64"}))
    return ImagePlan(ImageSpec("shop"), cell, base, tuple(parts)), graph


def found() -> tuple[Component, ...]:
    plan, graph = sample()
    return components(plan, graph.build(), FACTS)


def test_components_are_those_of_the_image_and_not_of_what_built_it() -> None:
    assert [(item.kind, item.name, item.version, item.layer) for item in found()] == [
        ("cargo", "serde", "1.0.200", "app"),
        ("deb", "libc6", "2.36-9+deb12u7", ""),
        ("deb", "zlib1g", "1:1.2.13.dfsg-1", ""),
        ("generic", "tool-1.tar.gz", "", "tool"),
        ("pypi", "built-one", "2.0", "app"),
        ("pypi", "flask", "3.0", "deps"),
    ]


def test_package_urls() -> None:
    assert [purl(item) for item in found()] == [
        "pkg:cargo/serde@1.0.200",
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u7?distro=debian-12",
        "pkg:deb/debian/zlib1g@1:1.2.13.dfsg-1?distro=debian-12",
        "pkg:generic/tool-1.tar.gz?download_url=https://files.example/tool-1.tar.gz",
        "pkg:pypi/built-one@2.0",
        "pkg:pypi/flask@3.0",
    ]


def test_cyclonedx_is_valid_and_the_same_each_time() -> None:
    data = cyclonedx_json(SUBJECT, found())
    assert data == cyclonedx_json(SUBJECT, found())
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(data.decode()) is None
    document = json.loads(data)
    assert document["metadata"]["component"]["name"] == "shop"
    assert {item["purl"] for item in document["components"]} == {purl(item) for item in found()}


def test_spdx_names_every_package_once_and_relates_it_to_the_image() -> None:
    document: dict[str, Any] = json.loads(spdx_json(SUBJECT, found()))
    ids = [package["SPDXID"] for package in document["packages"]]
    assert len(set(ids)) == len(ids) == len(found()) + 1
    contained = {r["relatedSpdxElement"] for r in document["relationships"] if r["relationshipType"] == "CONTAINS"}
    assert contained == set(ids) - {"SPDXRef-image"}
    assert spdx_json(SUBJECT, found()) == spdx_json(SUBJECT, found())


def test_provenance_names_materials_and_no_secret() -> None:
    plan, graph = sample()
    taken = materials(graph.build(), plan.targets)
    facts = BuildFacts("shop", plan.cell.values, f"sha256:{'2' * 64}", commit="3" * 40, arguments=("TOKEN",))
    data = provenance_json(SUBJECT, facts, taken)
    statement = json.loads(data)
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert statement["subject"][0]["digest"] == {"sha256": "a" * 64}
    uris = [item["uri"] for item in statement["predicate"]["buildDefinition"]["resolvedDependencies"]]
    assert "oci:registry.example/debian:12" in uris
    assert "https://files.example/tool-1.tar.gz" in uris
    for secret in (b"secret", b"hidden"):
        for document in (data, cyclonedx_json(SUBJECT, found()), spdx_json(SUBJECT, found())):
            assert secret not in document


def names(lock: str, text: str) -> list[tuple[str, str]]:
    return [(package.name, package.version) for package in LOCKS[lock](text.encode())]


def test_npm_lock_without_what_is_for_development() -> None:
    packages = {
        "": {"name": "ui"},
        "node_modules/a": {"version": "1.0.0", "integrity": "sha512-AAEC"},
        "node_modules/a/node_modules/@x/b": {"version": "2.0.0"},
        "node_modules/vite": {"version": "5.0.0", "dev": True},
        "node_modules/own": {"link": True, "resolved": "packages/own"},
    }
    text = json.dumps({"lockfileVersion": 3, "packages": packages})
    assert names("package-lock.json", text) == [("a", "1.0.0"), ("@x/b", "2.0.0")]
    assert next(LOCKS["package-lock.json"](text.encode())) == JsPackage("a", "1.0.0", (("sha-512", "000102"),))


def test_bun_lock_follows_production_dependencies() -> None:
    document = {
        "workspaces": {"": {"dependencies": {"a": "^1"}, "devDependencies": {"vite": "^5"}}},
        "packages": {
            "a": ["a@1.0.0", "", {"dependencies": {"b": "^1"}}, "sha512-AAEC"],
            "b": ["b@2.0.0", "", {}, "sha512-AAEC"],
            "a/b": ["b@1.5.0", "", {}, "sha512-AAEC"],
            "vite": ["vite@5.0.0", "", {}, "sha512-AAEC"],
        },
    }
    assert names("bun.lock", json.dumps(document)) == [("a", "1.0.0"), ("b", "1.5.0")]


def test_pnpm_lock_follows_production_dependencies() -> None:
    text = """
lockfileVersion: '9.0'
importers:
  .:
    dependencies:
      a: {specifier: ^1, version: 1.0.0(b@2.0.0)}
    devDependencies:
      vite: {specifier: ^5, version: 5.0.0}
packages:
  a@1.0.0: {resolution: {integrity: sha512-AAEC}}
  b@2.0.0: {resolution: {integrity: sha512-AAEC}}
  vite@5.0.0: {resolution: {integrity: sha512-AAEC}}
snapshots:
  a@1.0.0(b@2.0.0):
    dependencies: {b: 2.0.0}
  b@2.0.0: {}
  vite@5.0.0: {}
"""
    assert names("pnpm-lock.yaml", text) == [("a", "1.0.0"), ("b", "2.0.0")]
