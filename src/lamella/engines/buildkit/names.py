"""Which builders there are by name, from buildx's own files: nothing is started, nobody is contacted.

buildx keeps a builder as ``instances/NAME`` below BUILDX_CONFIG, else below ``buildx`` of Docker's configuration folder
(its ``store`` package; names are lower case there), and each context of the docker command line is a builder too:
``default``, and those whose ``meta.json`` lies below ``contexts/meta`` (docker's ``cli/context/store``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from lamella.errors import ConfigError

__all__ = ["builder_names", "check_name", "unknown_builder"]

_DEFAULT = "default"


def check_name(name: str, environ: Mapping[str, str], docker_config: Path) -> ConfigError | None:
    """The error (exit code 2) of a name that no builder has; None for one that is there, or where files do not tell."""
    try:
        if (_instances(environ, docker_config) / name.lower()).is_file():
            return None
        names = builder_names(environ, docker_config)
    except (OSError, ValueError):
        return None
    return None if name in names else unknown_builder(name, names)


def builder_names(environ: Mapping[str, str], docker_config: Path) -> tuple[str, ...]:
    """All builders, as ``docker buildx ls`` lists them. Raises OSError, ValueError for files that cannot be read."""
    folder = _instances(environ, docker_config)
    instances = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    contexts = [
        str(json.loads(path.read_bytes())["Name"]) for path in sorted(docker_config.glob("contexts/meta/*/meta.json"))
    ]
    return tuple(dict.fromkeys((_DEFAULT, *contexts, *instances)))


def unknown_builder(name: str, names: tuple[str, ...]) -> ConfigError:
    """The error of a name that no builder has, with the one that was meant or all that there are."""
    from difflib import get_close_matches

    near = get_close_matches(name, names, 1)
    there = f"the builders are {', '.join(names)};" if len(names) > 1 else f"the only builder is {names[0]!r};"
    known = f"did you mean {near[0]!r}?" if near else there
    return ConfigError(f"no builder {name!r} found", hint=f"{known} `docker buildx create --name {name}` makes one")


def _instances(environ: Mapping[str, str], docker_config: Path) -> Path:
    given = environ.get("BUILDX_CONFIG")
    return (Path(given) if given else docker_config / "buildx") / "instances"
