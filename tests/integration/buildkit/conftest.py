"""Builders that buildx itself keeps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.buildkit.container import IMAGE, ContainerBuilder, create_builder, make_image
from tests.integration.components.tools import DockerEngine


@pytest.fixture(scope="session")
def container_builder(
    docker28: DockerEngine, base_reference: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ContainerBuilder]:
    """A BuildKit in a container of Docker Engine 28; it sleeps until somebody builds."""
    folder = tmp_path_factory.mktemp("container-builder")
    make_image(docker28, base_reference, folder)
    builder = create_builder(docker28, folder / "buildx", "boxed")
    yield builder
    builder.remove()
    docker28.cli("rmi", "--force", IMAGE)
