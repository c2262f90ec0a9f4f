"""The service over HTTP, with the committed model."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

import train
from digits.model import Model
from digits.service import MODEL_PATH, make_app


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(make_app(Model(MODEL_PATH)))


def test_health_names_the_model(client: TestClient) -> None:
    answer = client.get("/healthz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "model": Model(train.TARGET).version}


def test_it_greets(client: TestClient) -> None:
    assert client.get("/").json()["post"] == "/predict"


def test_it_reads_several_digits_at_once(client: TestClient) -> None:
    _, images, _, digits = train.load_data()
    answer = client.post("/predict", json={"images": images[:5].tolist()})
    assert answer.status_code == 200
    assert [reading["digit"] for reading in answer.json()] == digits[:5].tolist()
    assert all(reading["confidence"] == max(reading["probabilities"]) for reading in answer.json())


@pytest.mark.parametrize("images", [[], [[0.0] * 63], [[17.0] * 64], "seven", [[0.0] * 64] * 101])
def test_it_refuses_what_is_no_image(client: TestClient, images: object) -> None:
    assert client.post("/predict", json={"images": images}).status_code == 422
