"""The HTTP service. Settings come from the environment: ``DIGITS_MODEL``, ``DIGITS_HOST``, ``DIGITS_PORT``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI
from pydantic import BaseModel, Field

from digits.model import PIXELS, Model

GREETING = "Send me a digit"
MODEL_PATH = Path(__file__).resolve().parents[2] / "model" / "digits.onnx"

Pixel = Annotated[float, Field(ge=0, le=16)]
Image = Annotated[list[Pixel], Field(min_length=PIXELS, max_length=PIXELS)]


class Question(BaseModel):
    """Images to read, at most a hundred at once."""

    images: Annotated[list[Image], Field(min_length=1, max_length=100)]


class Answer(BaseModel):
    """What the model reads in one image."""

    digit: int
    confidence: float
    probabilities: list[float]


class Health(BaseModel):
    """Alive, and with which model."""

    status: str
    model: str


def make_app(model: Model) -> FastAPI:
    """The service around a loaded model."""
    app = FastAPI(title="digits", version="1.0.0")

    @app.get("/")
    def greet() -> dict[str, str]:
        return {"message": GREETING, "post": "/predict", "docs": "/docs"}

    @app.get("/healthz")
    def health() -> Health:
        blank = model.read([[0.0] * PIXELS])  # a model that cannot answer is not healthy
        return Health(status="ok" if len(blank) == 1 else "broken", model=model.version)

    @app.post("/predict")
    def predict(question: Question) -> list[Answer]:
        return [
            Answer(digit=reading.digit, confidence=reading.confidence, probabilities=list(reading.probabilities))
            for reading in model.read(question.images)
        ]

    return app


def main() -> None:
    """Serve until told to stop."""
    import uvicorn

    model = Model(Path(os.environ.get("DIGITS_MODEL", MODEL_PATH)))
    uvicorn.run(
        make_app(model), host=os.environ.get("DIGITS_HOST", "0.0.0.0"), port=int(os.environ.get("DIGITS_PORT", "8000"))
    )
