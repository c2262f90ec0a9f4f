"""The resolver's question for a layer without a lock file of its own, and the answer in ``lamella.lock``."""

from __future__ import annotations

from packaging.utils import canonicalize_name

from lamella.canonical import FrozenMap
from lamella.errors import ConfigError
from lamella.graph.op import Wheel
from lamella.project.spec import PythonSpec
from lamella.sources.wheel_request import NamedIndex, ResolveRequest
from lamella.sources.wheel_tags import Target
from lamella.stacks.base import LowerContext, layer_error
from lamella.stacks.python.requirements import RequirementLine, Requirements, exact_version, read_requirements
from lamella.stacks.python.resolved import Artifact, Selection, SourceBuild
from lamella.stacks.python.stale import check_coverage, holds
from lamella.stacks.python.wishes import Wishes

__all__ = ["LAMELLA_LOCK", "UnlockedSetError", "answered", "libc_tag", "locked_set", "resolve_request"]

LAMELLA_LOCK = "lamella.lock"


class UnlockedSetError(ConfigError):
    """A layer's set is not in ``lamella.lock``; ``request`` is what the resolver must be asked."""

    def __init__(self, error: ConfigError, request: ResolveRequest) -> None:
        super().__init__(error.message, hint=error.hint, details=error.details, problems=error.problems)
        self.request = request


def resolve_request(context: LowerContext, spec: PythonSpec, wishes: Wishes, target: Target) -> ResolveRequest:
    """What the resolver is asked for a layer without a lock file of its own."""
    exclude = frozenset(canonicalize_name(name) for name in spec.exclude)
    wanted = wishes.requirements.without(exclude)
    lines = [line for line in wanted.lines if holds(line, target)]
    pins = _read_pins(context, spec, lines, target)
    constraints = [line for line in (*wanted.constraints, *pins) if holds(line, target)]
    above = context.above.details.get("versions", FrozenMap()) if context.above is not None else FrozenMap()
    assert isinstance(above, FrozenMap)  # noqa: S101 - set by this adapter
    hashed = (*lines, *pins)
    return ResolveRequest(
        requirements=tuple(sorted({line.text for line in lines})),
        constraints=tuple(sorted({line.text for line in constraints} | {f"{n}=={v}" for n, v in above.items() if v})),
        python=target.full or target.python,
        platform=target.platform,
        libc=libc_tag(target),
        default_index=wanted.index,
        indexes=_indexes(spec, wanted),
        options=wanted.options,
        exclude=tuple(sorted(exclude)),
        hashes=tuple(sorted({(line.name, digest) for line in hashed for digest in line.hashes})),
        layer=context.layer.name,
    )


def libc_tag(target: Target) -> str:
    """``manylinux_2_36`` or ``musllinux_1_2``: the newest platform tag that fits."""
    kind = "musllinux" if target.libc == "musl" else "manylinux"
    return "_".join((kind, *map(str, target.libc_version)))


def _read_pins(
    context: LowerContext, spec: PythonSpec, wanted: list[RequirementLine], target: Target
) -> tuple[RequirementLine, ...]:
    """A pinned requirement file that ``lock`` names decides versions; ``lamella.lock`` adds which wheels those are."""
    if spec.lock == LAMELLA_LOCK:
        return ()
    if not context.tree.exists(spec.lock):
        raise layer_error(
            context.layer,
            f"lock file {spec.lock!r} is not there",
            hint=f"make it: uv pip compile --generate-hashes {' '.join(spec.requirements)} -o {spec.lock}",
        )
    pins = read_requirements(context.tree, (spec.lock,))
    if not pins.is_pinned:
        loose = next((line for line in pins.lines if not line.hashes), None)
        raise layer_error(
            context.layer,
            f"{spec.lock} is no lock: {loose.text if loose else 'a line'} has no exact version with a hash",
            hint="make it with: uv pip compile --generate-hashes",
        )
    versions = {line.name: exact_version(line) for line in pins.lines if holds(line, target)}
    try:
        check_coverage(wanted, versions, target)
    except ValueError as error:
        hint = f"run: uv pip compile --generate-hashes {' '.join(spec.requirements)} -o {spec.lock}"
        raise layer_error(context.layer, f"{spec.lock}: {error}", hint=hint) from error
    return pins.lines


def _indexes(spec: PythonSpec, wanted: Requirements) -> tuple[NamedIndex, ...]:
    bound = [
        NamedIndex(index.url, tuple(sorted(canonicalize_name(name) for name in index.packages)))
        for index in spec.indexes
    ]
    return (*bound, *(NamedIndex(url) for url in wanted.extra_indexes))


def answered(context: LowerContext, request: ResolveRequest, wishes: Wishes) -> Selection:
    """What ``lamella.lock`` answers; raises UnlockedSetError when it has no answer to this very request."""
    folders = [SourceBuild(project.name, "", folder=project.folder) for project in wishes.packages]
    asked = set(request.requirements)
    commits = [SourceBuild(line.name, "", direct=line.text) for line in wishes.commits if line.text in asked]
    own = (*commits, *folders)
    if not request.requirements:
        return Selection((), own)
    found = locked_set(context, request, "its packages")
    wheels = tuple(item for item in found if item.filename.endswith(".whl"))
    sdists = tuple(_source(item) for item in found if not item.filename.endswith(".whl"))
    return Selection(wheels, (*sdists, *own))


def locked_set(context: LowerContext, request: ResolveRequest, what: str) -> tuple[Wheel, ...]:
    """The set that answers a request; raises UnlockedSetError, which says that ``what`` is missing or stale."""
    found = context.lock.python_set(request.digest)
    if found is not None:
        return found
    known = context.lock.python_sets_of(request.layer)
    text = f"is stale: what the layer asks for has changed ({what})" if known else f"does not hold {what}"
    raise UnlockedSetError(layer_error(context.layer, f"lamella.lock {text}", hint="run: lamella lock"), request)


def _source(item: Wheel) -> SourceBuild:
    archive = Artifact(item.filename, item.sha256, item.url, item.size)
    return SourceBuild(item.name, item.version, sdist=archive)
