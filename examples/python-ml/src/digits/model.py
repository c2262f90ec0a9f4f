"""The model: 64 pixels in, ten probabilities out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

onnxruntime.disable_telemetry_events()

PIXELS = 64
"""An image is eight rows of eight pixels, each from 0 (paper) to 16 (ink)."""


@dataclass(frozen=True)
class Reading:
    """What the model sees in one image."""

    digit: int
    probabilities: tuple[float, ...]

    @property
    def confidence(self) -> float:
        return self.probabilities[self.digit]


class Model:
    """An ONNX graph, loaded once and used by all requests."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        self.version = hashlib.sha256(data).hexdigest()[:12]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # a matrix of 64 x 10 is not worth a second thread
        self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def read(self, images: Sequence[Sequence[float]]) -> list[Reading]:
        """One reading per image of 64 pixels."""
        (probabilities,) = self._session.run(None, {"pixels": np.asarray(images, dtype=np.float32)})
        return [Reading(int(row.argmax()), tuple(float(value) for value in row)) for row in probabilities]
