"""The committed model is good, and is what the script makes."""

from __future__ import annotations

import numpy as np
import pytest

import train
from digits.model import Model


@pytest.fixture(scope="module")
def committed() -> Model:
    return Model(train.TARGET)


def test_it_reads_held_out_digits(committed: Model) -> None:
    _, images, _, digits = train.load_data()
    read = [reading.digit for reading in committed.read(images.tolist())]
    assert np.mean(np.array(read) == digits) > 0.95


def test_probabilities_are_probabilities(committed: Model) -> None:
    (reading,) = committed.read([[8.0] * 64])
    assert sum(reading.probabilities) == pytest.approx(1, abs=1e-5)
    assert reading.confidence == max(reading.probabilities)


def test_the_script_makes_the_committed_model_again() -> None:
    fresh = train.to_onnx(*train.train_weights())
    assert fresh.SerializeToString(deterministic=True) == train.TARGET.read_bytes()


def test_the_model_is_small_enough_to_commit() -> None:
    assert train.TARGET.stat().st_size < 8_192
