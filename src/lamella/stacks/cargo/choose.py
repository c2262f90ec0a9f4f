"""Which package and binary a layer means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from lamella.project.spec import CargoSpec, LayerSpec
from lamella.stacks.base import layer_error
from lamella.stacks.cargo.package import Package
from lamella.stacks.cargo.places import joined
from lamella.stacks.cargo.workspace import Workspace

__all__ = ["check_features", "choose_binary", "choose_package"]


def choose_package(workspace: Workspace, layer: LayerSpec, spec: CargoSpec) -> Package:
    """The named package, else the only one with the named binary, else the only one with a binary.

    Without a name the package in ``dir`` and the workspace's default members are looked at before all members,
    as Cargo does. Raises ConfigError that names the choices.
    """
    if spec.package is not None:
        return _named(workspace, layer, spec.package)
    directory = joined("", spec.dir)
    for candidates in _narrow_to_wide(workspace, directory):
        packages = [workspace.package(member) for member in candidates]
        found = [p for p in packages if p.binaries and (spec.bin is None or _has(p, spec.bin))]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(sorted(package.name for package in found))
            what = f"several packages have a binary {spec.bin!r}" if spec.bin else "several packages have binaries"
            raise layer_error(layer, f"{what}: {names}", hint="set cargo.package to one of them")
    if spec.bin is None:
        raise layer_error(layer, f"no package of {workspace.root.path} has a binary", hint="set cargo.dir")
    binaries = sorted({binary.name for member in workspace.members for binary in workspace.package(member).binaries})
    raise layer_error(layer, f"no package has a binary {spec.bin!r}", hint=_choices(spec.bin, binaries))


def _narrow_to_wide(workspace: Workspace, directory: str) -> Iterator[tuple[str, ...]]:
    """The package in ``directory``, the default members, all members; the last reads every manifest, so it is
    made last.
    """
    yield (directory,) if directory in workspace.listed else ()
    written = (workspace.root.workspace or {}).get("default-members", ())
    wanted = {joined(workspace.directory, str(entry)) for entry in written}
    yield tuple(member for member in workspace.listed if member in wanted)
    yield workspace.members


def _has(package: Package, binary: str) -> bool:
    return any(found.name == binary for found in package.binaries)


def _named(workspace: Workspace, layer: LayerSpec, name: str) -> Package:
    """Looks at members whose manifest holds the name at all before reading every manifest of a large workspace."""
    found = _by_name(workspace, workspace.mentioning(name), name) or _by_name(workspace, workspace.members, name)
    if found is not None:
        return found
    names = sorted(workspace.package(member).name for member in workspace.members)
    raise layer_error(layer, f"no member of {workspace.root.path} is named {name!r}", hint=_choices(name, names))


def _by_name(workspace: Workspace, members: Iterable[str], name: str) -> Package | None:
    return next((package for member in members if (package := workspace.package(member)).name == name), None)


def choose_binary(layer: LayerSpec, spec: CargoSpec, package: Package) -> str:
    """The named binary, else the package's ``default-run``, else its only one; raises ConfigError with the
    choices.
    """
    names = [binary.name for binary in package.binaries]
    if spec.bin is not None:
        if spec.bin in names:
            return spec.bin
        raise layer_error(layer, f"package {package.name} has no binary {spec.bin!r}", hint=_choices(spec.bin, names))
    if package.default_run:
        return package.default_run
    if len(names) == 1:
        return names[0]
    if not names:
        raise layer_error(layer, f"package {package.name} has no binary", hint="set cargo.package to one that has")
    what = f"package {package.name} has several binaries and no default-run: {', '.join(names)}"
    raise layer_error(layer, what, hint="set cargo.bin to one of them")


def check_features(layer: LayerSpec, spec: CargoSpec, package: Package) -> None:
    """Raises ConfigError for a feature that the package does not have; ``name/feature`` of others is left to
    Cargo.
    """
    known = package.implied_features
    for feature in spec.features:
        owner, slash, inner = feature.partition("/")
        name = inner if slash and owner == package.name else feature
        if "/" not in name and name not in known:
            what = f"package {package.name} has no feature {name!r}"
            raise layer_error(layer, what, hint=_choices(name, sorted(known)))


def _choices(wanted: str, names: Iterable[str]) -> str:
    ordered = list(names)
    near = get_close_matches(wanted, ordered, 1)
    listed = f"there are: {', '.join(ordered)}" if ordered else "there is none"
    return f"did you mean {near[0]!r}? {listed}" if near else listed
