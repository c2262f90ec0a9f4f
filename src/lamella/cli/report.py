"""How a build's report reads: a summary for people, an object for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from lamella.cli.messages import format_seconds, format_size, paint
from lamella.oci.digest import is_digest, short_digest

if TYPE_CHECKING:
    from lamella.build.options import BuildReport
    from lamella.engines.base import EngineUse
    from lamella.graph.explain import Change

__all__ = [
    "build_summary",
    "change_json",
    "change_lines",
    "engine_json",
    "engine_words",
    "file_lines",
    "report_json",
    "table",
]

_SHOWN_FILES = 10
_SHOWN_TEXT = 100


def table(rows: Sequence[tuple[str, ...]], *, right: frozenset[int] = frozenset()) -> list[str]:
    """Rows as aligned lines; columns in ``right`` are right-aligned."""
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.rjust(widths[i]) if i in right else cell.ljust(widths[i]) for i, cell in enumerate(row)]
        lines.append("  ".join(cells).rstrip())
    return lines


def build_summary(report: BuildReport, written: tuple[tuple[str, str], ...], seconds: str = "") -> list[str]:
    """Images, what was written, and one line of what was reused, restored and built, and by which engine.

    ``seconds`` is what the line says instead of the report's time.
    """
    lines = []
    for image in report.images:
        state = "" if image.changed else paint(" (unchanged)", "dim")
        lines.append(
            f"{paint('image', 'bold')} {image.names[0]}  {image.manifest.digest[:19]}  "
            f"{len(image.layers)} layers, {format_size(image.size)}{state}"
        )
    lines += [f"wrote {what} {where}" for what, where in written]
    counts = [f"{report.count(outcome)} {outcome}" for outcome in ("reused", "restored", "built")]
    took = seconds or format_seconds(report.seconds)
    lines.append(f"{', '.join(counts)} in {took}{engine_words(report.engine)}")
    return lines


def report_json(report: BuildReport, written: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """The report with buildx's names where it has them."""
    return {
        "format": 1,
        "seconds": round(report.seconds, 3),
        "engine": engine_json(report.engine),
        "counts": {name: report.count(name) for name in ("reused", "restored", "built")},
        "images": [
            {
                "image.name": ",".join(image.names),
                "image": image.name,
                "cell": image.cell,
                "platform": image.platform,
                "containerimage.digest": image.manifest.digest,
                "containerimage.config.digest": image.config_digest,
                "containerimage.descriptor": image.manifest.to_json(),
                "changed": image.changed,
                "size": image.size,
                "layers": [{"name": name, "diff_id": diff_id, "size": size} for name, diff_id, size in image.layers],
            }
            for image in report.images
        ],
        "vertices": [
            {
                "name": row.name,
                "layer": row.layer,
                "outcome": row.outcome,
                "seconds": round(row.seconds, 3),
                "key": row.key,
                "why": row.why,
                "evidence": list(row.evidence),
            }
            for row in report.vertices
        ],
        "outputs": [{"type": what, "dest": where} for what, where in written],
        "warnings": list(report.warnings),
    }


def engine_words(engine: EngineUse | None) -> str:
    """The end of a summary line: what ran steps, nothing when none ran."""
    return f" (engine: {engine.short})" if engine else ""


def engine_json(engine: EngineUse | None) -> dict[str, str] | None:
    """What ran steps; null when none ran."""
    if engine is None:
        return None
    return {
        "name": engine.name,
        "builder": engine.builder,
        "driver": engine.driver,
        "level": engine.level,
        "why": engine.why,
    }


def change_lines(changes: Iterable[Change]) -> list[str]:
    """What changed in a key, one line per part, with the files behind an input."""
    lines = []
    for change in changes:
        values = "" if change.files else f": {_shown(change.before)} -> {_shown(change.after)}"
        lines.append(f"{change.part}{values}")
        lines += [f"  {line}" for line in file_lines([(file.path, file.what) for file in change.files])]
    return lines


def file_lines(files: Sequence[tuple[str, str]]) -> list[str]:
    """The first of some changed files, (path, what happened), and how many more there are."""
    lines = [f"{path} ({what})" for path, what in files[:_SHOWN_FILES]]
    return [*lines, f"... and {len(files) - _SHOWN_FILES} more"] if len(files) > _SHOWN_FILES else lines


def _shown(text: str) -> str:
    """A value in one short line."""
    if is_digest(text):
        return short_digest(text)
    flat = " ".join(text.split())
    return (flat if len(flat) <= _SHOWN_TEXT else f"{flat[:_SHOWN_TEXT]}...") or "nothing"


def change_json(change: Change) -> dict[str, Any]:
    """A changed part of a key for programs."""
    files = [{"path": file.path, "what": file.what} for file in change.files]
    return {"part": change.part, "before": change.before, "after": change.after, "files": files}
