"""Which wheels share a layer: by size, by platform, under a layer budget. Deterministic, and calm under version bumps.

A wheel bump should move only that wheel's bytes, but an image may hold at most 127 layers and pulls suffer long before
that. So what is heavy has a layer of its own; the light rest is two layers, one of which (pure Python) is the same for
every architecture.
"""

from __future__ import annotations

import re

from lamella.graph.op import Wheel
from lamella.sources.wheel_tags import is_pure
from lamella.values import dataclass

__all__ = ["HEAVY_BYTES", "HEAVY_LAYERS", "WheelGroup", "group_wheels"]

HEAVY_BYTES = 30_000_000
"""A wheel of at least this many compressed bytes is worth a layer of its own."""

HEAVY_LAYERS = 8
"""Layers for heavy wheels; when there are more of them, the smaller ones share the last."""

_KNOWN_HEAVY = re.compile(
    r"torch|torchvision|nvidia-.*|triton(-.*)?|pytorch-triton.*|jaxlib|jax-cuda.*|tensorflow(-(cpu|gpu|intel|rocm).*)?|"
    r"vllm|flash-attn|xformers|bitsandbytes|cupy-.*|paddlepaddle.*|mxnet.*|scipy|pyarrow|pyspark|ray|polars(-.*)?|"
    r"opencv-.*|llvmlite|xgboost|catboost|playwright|faiss-(gpu|cpu).*|open3d|pyqt[56].*|pyside6.*|cmake|ziglang|"
    r"onnxruntime-.*|duckdb|sentencepiece-.*|spacy-model.*|tensorrt.*|deepspeed|pymupdf.*|vtk|usd-core"
)
"""Names that are heavy where a lock holds no sizes (HTML indexes give none)."""


@dataclass(frozen=True, slots=True)
class WheelGroup:
    """Wheels of one layer. ``pure`` groups fit every platform."""

    name: str
    wheels: tuple[Wheel, ...]
    pure: bool


def group_wheels(wheels: tuple[Wheel, ...]) -> tuple[WheelGroup, ...]:
    """Groups in layer order: heavy ones by name, then ``native``, then ``pure``; empty ones left out."""
    heavy = sorted((wheel for wheel in wheels if _is_heavy(wheel)), key=lambda wheel: (-wheel.size, wheel.name))
    own = heavy if len(heavy) <= HEAVY_LAYERS else heavy[: HEAVY_LAYERS - 1]
    shared = heavy[len(own) :]
    light = [wheel for wheel in wheels if not _is_heavy(wheel)]
    groups = [_group(wheel.name, [wheel]) for wheel in sorted(own, key=lambda wheel: wheel.name)]
    groups.append(_group("heavy", shared))
    groups.append(_group("native", [wheel for wheel in light if not is_pure(wheel.filename)]))
    groups.append(_group("pure", [wheel for wheel in light if is_pure(wheel.filename)]))
    return tuple(group for group in groups if group.wheels)


def _group(name: str, wheels: list[Wheel]) -> WheelGroup:
    ordered = tuple(sorted(wheels, key=lambda wheel: wheel.name))
    return WheelGroup(name, ordered, all(is_pure(wheel.filename) for wheel in ordered))


def _is_heavy(wheel: Wheel) -> bool:
    if wheel.size:
        return wheel.size >= HEAVY_BYTES
    return _KNOWN_HEAVY.fullmatch(wheel.name) is not None
