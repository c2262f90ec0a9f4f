"""What is read of compose files."""

from __future__ import annotations

import pytest

from lamella.errors import ConfigError
from lamella.sources.compose import ComposeService, read_compose


def service(text: str, file: str = "compose.yaml") -> ComposeService:
    (found,) = read_compose(f"services:\n  web:\n{text}".encode(), file=file)
    return found


def test_where_a_service_is_built() -> None:
    found = service("    build: ./api\n", "deploy/compose.yaml")
    assert (found.context, found.dockerfile) == ("deploy/api", "deploy/api/Dockerfile")
    found = service(
        "    build:\n      context: ..\n      dockerfile: docker/api.Dockerfile\n      target: prod\n", "d/c.yaml"
    )
    assert (found.context, found.dockerfile, found.target) == (".", "docker/api.Dockerfile", "prod")
    assert service("    image: postgres:16\n").context == ""


def test_ports_in_all_forms() -> None:
    text = "    ports: [8080:80, '3000', '127.0.0.1:9000:9000/tcp', {target: 70, published: 71}, 4000-4010:4000-4010]\n"
    assert service(text).ports == (
        "8080:80",
        "3000",
        "127.0.0.1:9000:9000/tcp",
        "71:70",
    )


def test_environment_keeps_what_is_written_and_names_what_is_not() -> None:
    text = (
        "    environment:\n      A: '1'\n      B: ${B}\n      C: ${C:-three}\n      D:\n      E: true\n      F: $$x\n"
    )
    found = service(text)
    assert dict(found.environment) == {"A": "1", "C": "three", "E": "true", "F": "$x"}
    assert found.open_environment == ("B", "D")
    assert dict(service("    environment: [A=1, B]\n").environment) == {"A": "1"}


def test_volumes_health_user_and_command() -> None:
    found = service(
        "    volumes:\n      - data:/data\n      - {type: bind, source: ./c, target: /c, read_only: true}\n"
        "      - {type: tmpfs, target: /tmp}\n    user: 1000:1000\n    command: serve --port 80\n"
        '    healthcheck:\n      test: ["CMD", "curl", "-f", "http://localhost:80/up"]\n'
    )
    assert found.volumes == ("data:/data", "./c:/c:ro")
    assert (found.user, found.command, found.health, found.health_port) == (
        "1000:1000",
        ("serve", "--port", "80"),
        "/up",
        80,
    )


@pytest.mark.parametrize("data", [b"", b"- a\n", b"services: 3\n", b"services:\n  a: 3\n", b"version: '3'\n"])
def test_other_documents_have_no_services(data: bytes) -> None:
    assert read_compose(data, file="compose.yaml") == ()


def test_broken_yaml_is_named_with_its_place() -> None:
    with pytest.raises(ConfigError, match=r"compose\.yaml:2:\d+: not YAML"):
        read_compose(b"services:\n  a: }\n", file="compose.yaml")
