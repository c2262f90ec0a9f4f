"""The examples' locks pin everything and leave the choice of the index to the user."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.examples.conftest import EXAMPLES


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_python_locks_pin_with_digests_and_name_no_address(name: str) -> None:
    text = (EXAMPLES / "python-ml" / name).read_text()
    pins = re.findall(r"^[\w.-]+==\S+", text, re.MULTILINE)
    assert len(pins) > 10
    assert text.count("--hash=sha256:") >= len(pins)
    assert "://" not in text


def test_the_image_needs_no_training_tools() -> None:
    text = (EXAMPLES / "python-ml/requirements.lock").read_text()
    assert not re.search(r"^(scikit-learn|onnx|pytest|scipy)==", text, re.MULTILINE)


def test_the_development_lock_runs_what_the_image_runs() -> None:
    image, development = (
        set(re.findall(r"^[\w.-]+==\S+", (EXAMPLES / "python-ml" / name).read_text(), re.MULTILINE))
        for name in ("requirements.lock", "requirements-dev.lock")
    )
    assert image <= development


def test_the_page_lock_names_no_address() -> None:
    assert "://" not in (EXAMPLES / "service-ui/ui/bun.lock").read_text()


def test_cargo_lock_has_a_checksum_for_every_crate_from_outside() -> None:
    packages = tomllib.loads((EXAMPLES / "service-ui/Cargo.lock").read_text())["package"]
    outside = [package for package in packages if "source" in package]
    assert outside
    assert all("checksum" in package for package in outside)
    assert {package["name"] for package in packages if "source" not in package} == {
        "shelf", "shelf-assets", "shelf-store", "shelf-web",
    }  # fmt: skip
