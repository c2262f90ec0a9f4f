"""Software bills of materials: one list of components as CycloneDX 1.6 and as SPDX 2.3, both JSON.

Both are functions of the image: the same digest gives the same bytes, so that publishing twice adds nothing. Times and
serial numbers come from the image as well.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lamella import __version__
from lamella.canonical import canonical_json
from lamella.images.attest.components import Component
from lamella.values import dataclass

if TYPE_CHECKING:
    from cyclonedx.model.component import Component as CycloneComponent

__all__ = ["CYCLONEDX", "SPDX", "Subject", "cyclonedx_json", "purl", "spdx_json"]

CYCLONEDX = "application/vnd.cyclonedx+json"
SPDX = "application/spdx+json"
"""Media types as IANA has them."""

_NAMESPACE = uuid.UUID("6e1c7a52-7a0f-5c39-9d0b-1f4f0f6f9c11")
"""Name space of the serial numbers (RFC 9562, 5.5)."""

_SPDX_ALGORITHMS = {"sha-1": "SHA1", "sha-256": "SHA256", "sha-384": "SHA384", "sha-512": "SHA512"}


@dataclass(frozen=True, slots=True)
class Subject:
    """The image that a document is about. ``repository`` is ``registry/path``, ``created`` RFC 3339."""

    repository: str
    digest: str
    title: str
    version: str
    platform: str
    created: str

    @property
    def purl(self) -> str:
        """The image as a package-url of type ``oci``."""
        from packageurl import PackageURL

        name = self.repository.rpartition("/")[2].lower()
        architecture = self.platform.split("/")[1]
        return PackageURL(
            "oci", None, name, self.digest, {"arch": architecture, "repository_url": self.repository}
        ).to_string()


def purl(component: Component) -> str:
    """The package-url of a component."""
    from packageurl import PackageURL

    return PackageURL(
        component.kind,
        component.namespace or None,
        component.name,
        component.version or None,
        dict(component.qualifiers) or None,
    ).to_string()


def cyclonedx_json(subject: Subject, found: Sequence[Component]) -> bytes:
    """The components as a CycloneDX document."""
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component as CycloneComponent
    from cyclonedx.model.component import ComponentType
    from cyclonedx.model.tool import ToolRepository
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    image = CycloneComponent(
        name=subject.title,
        version=subject.version or subject.digest,
        type=ComponentType.CONTAINER,
        bom_ref=subject.purl,
        purl=PackageURL.from_string(subject.purl),
    )
    tool = CycloneComponent(name="lamella", version=__version__, type=ComponentType.APPLICATION, bom_ref="lamella")
    unique = {purl(item): item for item in reversed(found)}
    bom = Bom(
        serial_number=uuid.uuid5(_NAMESPACE, f"{subject.repository}@{subject.digest}"),
        metadata=BomMetaData(
            component=image,
            timestamp=datetime.fromisoformat(subject.created),
            tools=ToolRepository(components=[tool]),
        ),
        components=[_cyclone(text, item) for text, item in sorted(unique.items())],
    )
    bom.register_dependency(image, bom.components)
    return canonical_json(json.loads(JsonV1Dot6(bom).output_as_string()))


def _cyclone(text: str, item: Component) -> CycloneComponent:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component as CycloneComponent
    from cyclonedx.model.component import ComponentType
    from packageurl import PackageURL

    return CycloneComponent(
        name=item.name,
        version=item.version or None,
        group=item.namespace or None,
        type=ComponentType.FILE if item.kind == "generic" else ComponentType.LIBRARY,
        bom_ref=text,
        purl=PackageURL.from_string(text),
        hashes=[HashType(alg=HashAlgorithm(alg.upper()), content=value) for alg, value in item.hashes],
        properties=[Property(name="lamella:layer", value=item.layer)] if item.layer else None,
    )


def spdx_json(subject: Subject, found: Sequence[Component]) -> bytes:
    """The components as an SPDX document (SPDX 2.3, annex on JSON)."""
    image = "SPDXRef-image"
    packages: list[dict[str, Any]] = [
        {
            "SPDXID": image,
            "name": subject.title,
            "versionInfo": subject.version or subject.digest,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": False,
            "licenseConcluded": "NOASSERTION",
            "licenseDeclared": "NOASSERTION",
            "copyrightText": "NOASSERTION",
            "primaryPackagePurpose": "CONTAINER",
            "checksums": [{"algorithm": "SHA256", "checksumValue": subject.digest.partition(":")[2]}],
            "externalRefs": [_reference(subject.purl)],
        }
    ]
    unique = {purl(item): item for item in reversed(found)}
    packages += [_spdx_package(text, item) for text, item in sorted(unique.items())]
    document = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{subject.repository}@{subject.digest}",
        "documentNamespace": f"urn:uuid:{uuid.uuid5(_NAMESPACE, f'spdx {subject.repository}@{subject.digest}')}",
        "creationInfo": {"created": subject.created, "creators": [f"Tool: lamella-{__version__}"]},
        "documentDescribes": [image],
        "packages": packages,
        "relationships": [
            {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": image},
            *(
                {"spdxElementId": image, "relationshipType": "CONTAINS", "relatedSpdxElement": package["SPDXID"]}
                for package in packages[1:]
            ),
        ],
    }
    return canonical_json(document)


def _spdx_package(text: str, item: Component) -> dict[str, Any]:
    location = dict(item.qualifiers).get("download_url") or dict(item.qualifiers).get("vcs_url") or "NOASSERTION"
    package: dict[str, Any] = {
        "SPDXID": f"SPDXRef-{re.sub('[^A-Za-z0-9.-]+', '-', item.kind + '-' + item.name)}-{_short(text)}",
        "name": f"{item.namespace}/{item.name}" if item.kind == "npm" and item.namespace else item.name,
        "downloadLocation": location,
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "externalRefs": [_reference(text)],
    }
    if item.version:
        package["versionInfo"] = item.version
    if item.hashes:
        package["checksums"] = [
            {"algorithm": _SPDX_ALGORITHMS[algorithm], "checksumValue": value} for algorithm, value in item.hashes
        ]
    return package


def _short(text: str) -> str:
    return uuid.uuid5(_NAMESPACE, text).hex[:12]


def _reference(text: str) -> dict[str, str]:
    return {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": text}
