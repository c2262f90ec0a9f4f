"""A project's build backend: locked like everything else, called in a step without network (PEP 517, PEP 518)."""

from __future__ import annotations

from packaging.requirements import InvalidRequirement
from packaging.utils import canonicalize_name

from lamella.errors import ConfigError, Problem
from lamella.graph.op import Wheel
from lamella.sources.wheel_request import ResolveRequest
from lamella.sources.wheel_tags import Target
from lamella.stacks.base import LowerContext, layer_error
from lamella.stacks.python.pyproject import Pyproject, read_pyproject
from lamella.stacks.python.request import libc_tag, locked_set
from lamella.stacks.python.requirements import RequirementLine, parse_line
from lamella.stacks.python.resolved import Selection
from lamella.stacks.python.stale import holds

__all__ = ["BACKEND_ENV", "backend_argv", "backend_wheels", "build_requests"]

BACKEND_ENV = "/lamella/build"
"""Where a step finds the backend's environment."""

_DRIVER = """\
import importlib, os, site, sys
backend, paths, folder, out, env, packages = sys.argv[1:]
if os.path.isdir(packages):
    site.addsitedir(packages)
    sys.path.remove(packages)
    sys.path.insert(0, packages)
    os.makedirs(env + '/bin', exist_ok=True)
    if not os.path.lexists(env + '/bin/python'):
        os.symlink(sys.executable, env + '/bin/python')
    os.environ['PATH'] = env + '/bin:' + os.environ.get('PATH', '/usr/bin:/bin')
    os.environ['PYTHONPATH'] = packages
os.chdir(folder)
sys.path[:0] = [os.path.abspath(path) for path in paths.split(':') if path]
name, _, attribute = backend.partition(':')
hooks = importlib.import_module(name)
for part in filter(None, attribute.split('.')):
    hooks = getattr(hooks, part)
print('built', hooks.build_wheel(out))
"""
"""A PEP 517 front end in small: the backend's environment comes first, its programs are on PATH."""


def backend_argv(project: Pyproject, folder: str, out: str, python: str) -> tuple[str, ...]:
    """The command that builds the wheel of ``folder`` (absolute, in the step) into ``out``."""
    packages = f"{BACKEND_ENV}/lib/python{python}/site-packages"
    paths = ":".join(project.backend_path)
    return ("python3", "-c", _DRIVER, project.build_backend, paths, folder, out, BACKEND_ENV, packages)


def backend_wheels(context: LowerContext, project: Pyproject, target: Target) -> tuple[Wheel, ...]:
    """What the backend is made of. Raises UnlockedSetError, and ConfigError for a requirement without a wheel."""
    request = _request(context, project, target)
    if request is None:
        return ()
    found = locked_set(context, request, f"the build requirements of {project.name!r}")
    sources = [item.filename for item in found if not item.filename.endswith(".whl")]
    if sources:
        raise layer_error(
            context.layer,
            f"{project.path} is built with {sources[0]}, which has no wheel",
            hint="let the step fetch and build it: network = true in the layer",
        )
    return found


def build_requests(context: LowerContext, selection: Selection, target: Target) -> tuple[str, ...]:
    """Digests of the requests that the folders of a selection have in the lock."""
    projects = [read_pyproject(context.tree, build.folder) for build in selection.builds if build.folder]
    requests = [_request(context, project, target) for project in projects if project is not None]
    return tuple(dict.fromkeys(request.digest for request in requests if request is not None))


def _request(context: LowerContext, project: Pyproject, target: Target) -> ResolveRequest | None:
    """What a backend needs, as a question to the resolver; None without requirements or with the network."""
    lines = [line for line in _lines(project) if holds(line, target)]
    if context.layer.network or not lines:
        return None
    return ResolveRequest(
        requirements=tuple(sorted({line.text for line in lines})),
        constraints=(),
        python=target.python,
        platform=context.execution,
        libc=libc_tag(target),
        layer=f"{context.layer.name}:build",
    )


def _lines(project: Pyproject) -> list[RequirementLine]:
    """The declared build requirements; setuptools before 70.1 asks for ``wheel`` only when it is called."""
    try:
        found = [parse_line(text, file=project.path) for text in project.build_requires]
    except InvalidRequirement as error:
        problem = Problem(project.path, 0, 0, f"build-system.requires: {str(error).splitlines()[0]}")
        raise ConfigError.from_problems((problem,)) from None
    if project.build_backend.split(".")[0] == "setuptools":
        found.append(parse_line("wheel", file=project.path))
    return [line for line in found if line.name != canonicalize_name(project.name)]
