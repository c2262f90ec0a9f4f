"""The record of a release: as JSON for programs, as Markdown notes for people. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.images.index import CellPlan
from lamella.images.publish import ImageState, PublishOutcome, TagState
from lamella.oci.digest import short_digest
from lamella.project.delivery import DeviceSpec
from lamella.project.devices import devices_of, docker_flags, plain_text
from lamella.project.spec import ImageSpec
from lamella.values import dataclass

__all__ = ["RELEASE_FORMAT", "ReleaseFacts", "notes_markdown", "release_json"]

RELEASE_FORMAT = 1
"""Major version of the JSON form."""

_GONE = ("waiting", "failed")


@dataclass(frozen=True, slots=True)
class ReleaseFacts:
    """What a release is of. ``specs`` are the images by cell, ``created`` RFC 3339 or empty.

    ``unchecked`` are gates that a channel wants and that did not run; ``notes`` lines for people (no signature made).
    """

    project: str
    version: str = ""
    commit: str = ""
    channel: str = ""
    prerelease: bool = False
    created: str = ""
    require: str = "all"
    unchecked: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    specs: Mapping[Any, ImageSpec] = EMPTY_MAP
    devices: FrozenMap[str, DeviceSpec] = EMPTY_MAP


def release_json(facts: ReleaseFacts, outcome: PublishOutcome) -> dict[str, Any]:
    """The release record. ``releasable`` is what ``require`` of the channel asks: all cells, or any."""
    there = [image for image in outcome.images if image.state in ("published", "unchanged")]
    bad = [image for image in outcome.images if image.fatal]
    return {
        "format": RELEASE_FORMAT,
        "project": facts.project,
        "version": facts.version,
        "commit": facts.commit,
        "channel": facts.channel,
        "prerelease": facts.prerelease,
        "created": facts.created,
        "complete": outcome.is_complete,
        "releasable": bool(there) if facts.require == "any" else not bad,
        "images": [_image(image, outcome, facts) for image in outcome.images],
        "tags": [_tag(tag) for tag in outcome.tags],
        "checks": dict.fromkeys(facts.unchecked, "not run"),
        "notes": list(facts.notes),
        "transfer": {
            **outcome.freight.blobs,
            "bytes": outcome.freight.sent_bytes,
            "blobs": [
                {"repository": repository, "digest": digest, "size": size, "action": action}
                for repository, digest, size, action in outcome.freight.log
            ],
        },
    }


def _image(image: ImageState, outcome: PublishOutcome, facts: ReleaseFacts) -> dict[str, Any]:
    plan = image.plan
    found: dict[str, Any] = {
        "image": plan.where.image,
        "cell": dict(plan.where.cell),
        "repository": plan.repository,
        "state": image.state,
    }
    if image.error is not None:
        found |= {"error": image.error.message, "allowed_to_fail": plan.where.allow_failure}
    if image.release is not None:
        manifest = image.release.parcel.manifest
        found |= {
            "digest": image.release.descriptor.digest,
            "size": sum(layer.size for layer in manifest.layers),
            "layers": [
                {"name": name, "digest": layer.digest, "size": layer.size}
                for name, layer in zip(image.release.layers, manifest.layers, strict=True)
            ],
            "tags": [tag.plan.tag for tag in _tags_of(plan, outcome)],
        }
        reference = _reference(plan, outcome)
        if reference:
            found |= {"pull": f"docker pull {reference}", "run": _run_line(plan, reference, facts)}
    return found


def _tag(tag: TagState) -> dict[str, Any]:
    found = {
        "tag": str(tag.plan),
        "state": tag.state,
        "digest": tag.digest,
        "before": tag.before,
        "platforms": list(tag.platforms),
    }
    return {**found, "why": tag.why} if tag.why else found


def _tags_of(plan: CellPlan, outcome: PublishOutcome) -> list[TagState]:
    """The tags that now name a cell's image, exact ones first."""
    found = [tag for tag in outcome.tags if plan in tag.plan.cells and tag.state in ("moved", "unchanged")]
    return sorted(found, key=lambda tag: not tag.plan.wanted.exact)


def _reference(plan: CellPlan, outcome: PublishOutcome) -> str:
    """The name to pull an image by."""
    found = _tags_of(plan, outcome)
    return f"{plan.repository}:{found[0].plan.tag}" if found else ""


def _devices(plan: CellPlan, facts: ReleaseFacts) -> tuple[DeviceSpec, ...]:
    """The devices of a cell's axis values."""
    return devices_of((value for _, value in plan.where.cell), facts.devices)


def _run_line(plan: CellPlan, reference: str, facts: ReleaseFacts) -> str:
    """A ``docker run`` that starts the image as the project does."""
    spec = facts.specs.get(plan.where)
    argv = ["docker", "run", "--rm"]
    for device in _devices(plan, facts):
        argv += docker_flags(device)
    if spec is not None:
        for port in spec.run.ports or tuple(
            f"{text.partition('/')[0]}:{text.partition('/')[0]}" for text in spec.expose
        ):
            argv += ["--publish", port]
        for volume in spec.run.volumes:
            argv += ["--volume", volume]
        argv += ["--init"] if spec.init else []
        argv += ["--read-only"] if spec.read_only else []
    return shlex.join([*argv, reference])


def notes_markdown(facts: ReleaseFacts, outcome: PublishOutcome) -> str:
    """The release notes."""
    title = " ".join(part for part in (facts.project, facts.version or facts.channel) if part)
    lines = [f"# {title}{' (prerelease)' if facts.prerelease else ''}", ""]
    if facts.commit:
        lines += [f"Commit `{facts.commit}`.", ""]
    there = [image for image in outcome.images if image.release is not None and image.state != "failed"]
    if there:
        lines += ["| Image | Variant | Platform | Size | Digest |", "|---|---|---|---|---|"]
        lines += [_row(image) for image in there]
        lines.append("")
    elif tagged := [tag for tag in outcome.tags if tag.state in ("moved", "unchanged")]:
        lines += ["| Tag | Digest |", "|---|---|"]
        lines += [f"| `{tag.plan}` | `{short_digest(tag.digest)}` |" for tag in tagged]
        lines.append("")
    shown: set[str] = set()
    for image in there:
        reference = _reference(image.plan, outcome)
        if reference and reference not in shown:
            shown.add(reference)
            lines += _section(image.plan, reference, facts)
    lines += _listed("Not released", _failures(outcome))
    lines += _listed("Notes", (*(f"gate `{name}` did not run" for name in facts.unchecked), *facts.notes))
    return "\n".join(lines).rstrip() + "\n"


def _row(image: ImageState) -> str:
    plan, release = image.plan, image.release
    size = sum(layer.size for layer in release.parcel.manifest.layers) if release else 0
    digest = short_digest(release.descriptor.digest) if release else ""
    return f"| {plan.where.image} | {_variant(plan)} | {plan.platform} | {size / 1e6:.1f} MB | `{digest}` |"


def _variant(plan: CellPlan) -> str:
    return ", ".join(value for axis, value in plan.where.cell if axis != "platform")


def _section(plan: CellPlan, reference: str, facts: ReleaseFacts) -> list[str]:
    lines = [f"## {plan.where.image}: {_variant(plan)}", ""]
    for device in _devices(plan, facts):
        lines += [
            f"{name}: {plain_text(text)}"
            for name, text in (("For", device.title), ("Needs", device.hardware), ("Note", device.note))
            if text
        ]
        lines.append("")
    return [*lines, "```sh", f"docker pull {reference}", _run_line(plan, reference, facts), "```", ""]


def _failures(outcome: PublishOutcome) -> Iterable[str]:
    for image in outcome.images:
        if image.state == "failed":
            allowed = " (allowed to fail)" if image.plan.where.allow_failure else ""
            yield f"{image.plan.where}{allowed}: {image.error.message if image.error else 'failed'}"
    for tag in outcome.tags:
        if tag.state in _GONE:
            yield f"`{tag.plan}` was not moved: {tag.why}"


def _listed(title: str, items: Iterable[str]) -> list[str]:
    found = [f"- {item}" for item in items]
    return [f"## {title}", "", *found, ""] if found else []
