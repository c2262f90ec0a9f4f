"""Train the model and write it as ONNX: ``python scripts/train.py [FILE]``.

The data ships inside scikit-learn (1,797 scanned digits of 8 x 8 pixels). The loss is convex and solved to the end,
and the weights are rounded to three decimals: another processor's last bits do not give another file.
Only this script needs scikit-learn and onnx: the service runs on onnxruntime alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

SCALE = np.float32(1 / 16)
TARGET = Path(__file__).resolve().parents[1] / "model" / "digits.onnx"

Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def load_data() -> Data:
    """Training images, held-out images, and their digits; always the same split."""
    images, digits = load_digits(return_X_y=True)
    train, held_out, train_digits, held_out_digits = train_test_split(
        images.astype(np.float32), digits, test_size=0.25, random_state=7, stratify=digits
    )
    return train, held_out, train_digits, held_out_digits


def train_weights() -> tuple[np.ndarray, np.ndarray]:
    """Weights (64 x 10) and bias (10), rounded."""
    images, _, digits, _ = load_data()
    regression = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-10)
    regression.fit(images.astype(np.float64) * float(SCALE), digits)
    weights, bias = regression.coef_.T, regression.intercept_
    return np.round(weights, 3).astype(np.float32), np.round(bias, 3).astype(np.float32)


def to_onnx(weights: np.ndarray, bias: np.ndarray) -> onnx.ModelProto:
    """``softmax(pixels / 16 @ weights + bias)`` as a graph."""
    constants = {"scale": SCALE, "weights": weights, "bias": bias}
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["pixels", "scale"], ["scaled"]),
            helper.make_node("Gemm", ["scaled", "weights", "bias"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
        ],
        "digits",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["images", 64])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["images", 10])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="digits")
    model.ir_version = 8  # the oldest that knows this operator set: old runtimes read it too
    onnx.checker.check_model(model)
    return model


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(to_onnx(*train_weights()).SerializeToString(deterministic=True))
    print(f"{target}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
