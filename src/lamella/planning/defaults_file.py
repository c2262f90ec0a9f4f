"""The YAML file with an image's runtime defaults (SCHEMA.md, image.N.defaults)."""

from __future__ import annotations

import io
from typing import Any

from lamella.project.spec import DefaultsSpec

__all__ = ["plain_value", "render_defaults"]


def plain_value(value: Any) -> Any:
    """A default's value as plain dicts and lists."""
    if isinstance(value, tuple):
        return [plain_value(item) for item in value]
    if hasattr(value, "items"):
        return {key: plain_value(item) for key, item in value.items()}
    return value


def render_defaults(defaults: DefaultsSpec) -> bytes:
    """The defaults as YAML 1.2, in written order, strings quoted where YAML would read something else."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 4096
    out = io.BytesIO()
    yaml.dump(plain_value(defaults.values), out)
    return out.getvalue()
